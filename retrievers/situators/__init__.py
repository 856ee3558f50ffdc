"""Situators: one file a way to say where in its document a chunk stands."""
