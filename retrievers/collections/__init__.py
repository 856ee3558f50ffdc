"""Readers of data sets to retrieve from; each gives a `retrievers.collection.Collection`."""
