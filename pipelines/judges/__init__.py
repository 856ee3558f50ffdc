"""Judges: who grades an answer."""
