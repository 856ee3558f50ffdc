"""Vector stores: one file a store. Each is an index that follows the library."""
