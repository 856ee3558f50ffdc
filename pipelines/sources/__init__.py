"""Sources: which file each is, what it is called, and whether it is still there."""
