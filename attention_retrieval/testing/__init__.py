"""What every engine must keep to, and models made by formula: for our tests and for those of plug-in authors."""
