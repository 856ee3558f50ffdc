"""Modules of sentence-transformers models; importing one imports torch."""
