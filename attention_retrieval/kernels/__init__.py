"""Loops over stored rows, compiled by Numba for the CPU; `fovea.attention_retrieval.reference` is each in plain
NumPy."""
