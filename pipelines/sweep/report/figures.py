"""How figures are written: the same number of decimals down a column, and a true minus sign."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, isfinite, log10

from fovea.pipelines.sweep.record import Record, Value
from fovea.pipelines.sweep.report.ranking import metrics

LACKING = "–"
"""Where there is no figure."""


def decimals(values: Iterable[float]) -> int:
    """How many decimals show the largest of `values` in four digits (in three under 1), 9 at most."""
    most = max((abs(v) for v in values if isfinite(v) and v), default=1.0)
    size = floor(log10(most))
    return min(9, max(0, 3 - size if size >= 0 else 2 - size))


def number(x: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """`0.731`, `−0.012`, with `sign` `+0.084`; LACKING for None."""
    if x is None or not isfinite(x):
        return LACKING
    rounded = round(x, digits) + 0.0  # no negative zero
    return f"{rounded:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def span(low: float | None, high: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """An interval, `[0.701, 0.762]`; nothing where there is none."""
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        return ""
    return f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def chance(p: float) -> str:
    """A value of p: `0.03`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.995 else "1"


class Figures:
    """The decimals of every metric of a study."""

    def __init__(self, record: Record) -> None:
        trials = record.complete
        self.digits = {m: decimals(t.values[m].mean for t in trials if m in t.values) for m in metrics(record)}

    def mean(self, metric: str, x: float | None, *, sign: bool = False) -> str:
        """A value of a metric or, with `sign`, a difference."""
        return number(x, self.digits.get(metric, 3), sign=sign)

    def span(self, metric: str, low: float | None, high: float | None, *, sign: bool = False) -> str:
        """An interval of it."""
        return span(low, high, self.digits.get(metric, 3), sign=sign)

    def value(self, metric: str, found: Value | None) -> str:
        """Mean and interval: `0.731 [0.701, 0.762]`."""
        if found is None:
            return LACKING
        return f"{self.mean(metric, found.mean)} {self.span(metric, *found.ends)}".rstrip()


def times(ratio: float) -> str:
    """`1.9 times`, and under one `35 % of`."""
    if ratio < 0.995:
        return f"{ratio * 100:.{0 if ratio >= 0.01 else 2}f} % of"
    return "as much as" if ratio < 1.05 else f"{ratio:.2g} times" if ratio < 100 else f"{ratio:.0f} times"


def count(n: int, one: str, many: str = "") -> str:
    """`1 trial`, `3 trials`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
