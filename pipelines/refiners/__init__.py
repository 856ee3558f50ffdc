"""Refiners that read with a language model: what needs both the hits and a model's attention."""
