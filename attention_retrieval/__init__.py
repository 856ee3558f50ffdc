"""Attention-aware retrieval inside the model."""
