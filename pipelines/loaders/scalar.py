"""Metadata values out of text: numbers and truth values become themselves, all else stays a string."""

from __future__ import annotations

import math
import re

from fovea.rag.types import Scalar

INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+([eE][+-]?\d{1,2})?")


def scalar(text: str) -> Scalar:
    """`"1990"` is 1990, `"true"` is True; `"007"`, `"1.10"`, `"1e999"` and dates stay as they are written."""
    text = text.strip()
    if INTEGER.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text) and ("e" in text.lower() or str(float(text)) == text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def storable(number: int | float) -> int | float | str:
    """The number itself if every store can keep it: 64 bits, finite. Else its digits, so that nothing is rounded."""
    fits = -(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)
    return number if fits else str(number)
