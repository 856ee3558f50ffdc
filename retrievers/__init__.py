"""Retrievers, fusion, re-ranking and selection: one file a method."""
