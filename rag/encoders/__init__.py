"""Encoders: one file a back-end."""
