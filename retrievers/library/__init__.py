"""The library: one SQLite file that holds the truth."""
