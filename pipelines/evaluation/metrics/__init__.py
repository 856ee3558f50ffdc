"""Metrics: one number a question, by name; a file a family."""
