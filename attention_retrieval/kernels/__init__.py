"""Loops over stored rows, compiled by Numba for the CPU; `attention_retrieval.reference` is each in plain NumPy."""
