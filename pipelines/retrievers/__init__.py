"""Retrievers that look inside a language model: what needs both the corpus and a model's attention."""
