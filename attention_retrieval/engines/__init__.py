"""Index engines, one file each: how the keys that a query wants are found."""
