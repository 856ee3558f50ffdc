"""Metadata values out of text: numbers and truth values become themselves where nothing is lost, all else stays text.

`1.10` is a version before it is a number, `01234` a postcode, and a number beyond 2^53 an id: what a number would not
give back digit by digit stays text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from fovea.rag.types import Scalar

EXACT = 2**53
"""Whole numbers beyond this are not exact in every program that reads them."""
_INTEGER = re.compile(r"-?\d{1,16}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,16}\.\d{1,16}", re.ASCII)


def scalar(text: str) -> Scalar:
    """`"1990"` is 1990, `"true"` is True; `"007"`, `"1.10"`, `"1e3"` and dates stay as they are written."""
    text = text.strip()
    readers: tuple[Callable[[str], Scalar | None], ...] = (integer, decimal, truth)
    return next((value for read in readers if (value := read(text)) is not None), text)


def integer(text: str) -> int | None:
    """The whole number that is written exactly as `text`, or None."""
    number = int(text) if _INTEGER.fullmatch(text) else None
    return number if number is not None and str(number) == text and abs(number) <= EXACT else None


def decimal(text: str) -> float | None:
    """The fraction that is written exactly as `text`, or None."""
    number = float(text) if _DECIMAL.fullmatch(text) else None
    return number if number is not None and repr(number) == text else None


def truth(text: str) -> bool | None:
    """True or False, in any case, or None."""
    return {"true": True, "false": False}.get(text.lower())


def number(text: str) -> float | None:
    """A whole number or fraction as a float, or None: for columns that hold both."""
    found = integer(text)
    return decimal(text) if found is None else float(found)


def number_with_comma(text: str) -> float | None:
    """A number with a decimal comma, or None."""
    return None if "." in text else number(text.replace(",", ".", 1))


class Column:
    """The one type of a column: the first of whole number, number, number with comma, truth value, text that all its
    cells allow. Empty cells have none."""

    def __init__(self, comma: bool) -> None:
        self._left: list[Callable[[str], Scalar | None]] = [integer, number, *([number_with_comma] * comma), truth]

    def see(self, cell: str) -> None:
        """Take note of one more cell."""
        if self._left and (cell := cell.strip()):
            self._left = [read for read in self._left if read(cell) is not None]

    def value(self, cell: str) -> Scalar:
        """A cell of this column, once all were seen."""
        value = self._left[0](cell.strip()) if self._left else None
        return cell if value is None else value


def storable(number: int | float) -> int | float | str:
    """The number itself if every store can keep it: 64 bits, finite. Else its digits, so that nothing is rounded."""
    fits = -(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)
    return number if fits else str(number)
