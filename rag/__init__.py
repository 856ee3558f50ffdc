"""Fovea's ground floor: the words everyone speaks. It imports no wing, and no torch, no faiss, no numpy on its own."""
