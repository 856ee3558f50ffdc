"""Generators: one file a way of answering."""
