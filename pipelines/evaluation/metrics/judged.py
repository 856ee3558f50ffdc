"""Judged."""
