"""Loops over stored rows, compiled by Numba for the CPU; `edges` and `cells` are what they walk, `reference` is each in
plain NumPy."""

from pathlib import Path

from fovea.attention_retrieval.kernels.layout import drop_other_layouts

_HERE = Path(__file__).resolve().parent
drop_other_layouts(_HERE.parent, _HERE)
