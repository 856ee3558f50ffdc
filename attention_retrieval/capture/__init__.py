"""A model's own queries, keys and values, written to a file: what indexes are measured on."""
