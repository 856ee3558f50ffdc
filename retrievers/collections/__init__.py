"""Readers of data sets to retrieve from; each gives a `fovea.retrievers.collection.Collection`."""
