"""Loops over stored rows, compiled by Numba for the CPU; `edges` and `cells` are what they walk, `reference` is each in
plain NumPy."""
