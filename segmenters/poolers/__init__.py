"""Poolers: one file a way to make the vectors of a document's chunks."""
