"""An axis: from values to places, and round values to mark on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

WIDE = 20
"""Positive values whose largest is over WIDE times the smallest are shown by their logarithm."""


@dataclass(frozen=True)
class Scale:
    """Maps `[low, high]` on `[start, end]`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, x: float) -> float:
        """The place of a value, to a tenth."""
        low, high, at = (log10(v) for v in (self.low, self.high, x)) if self.log else (self.low, self.high, x)
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values between the ends."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _step((self.high - self.low) / most)
        found = [round(i * step, 12) for i in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)]
        return found[: most + 2]


def fitted(values: Sequence[float], start: float, end: float, *, logs: bool = False) -> Scale:
    """A scale with a little room around the values; by the logarithm where `logs` may and they spread widely."""
    low, high = min(values), max(values)
    if logs and low > 0 and high / low > WIDE:
        return Scale(low / 1.15, high * 1.15, start, end, log=True)
    room = (high - low) * 0.06 or abs(low) * 0.1 or 1.0
    return Scale(low - room if low < 0 or low - room > 0 else min(low, 0.0), high + room, start, end)


def _step(least: float) -> float:
    size = 10.0 ** floor(log10(least))
    return next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= least * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    marks = (1, 2, 5) if high / low < 1000 else (1,)
    return [
        t for e in range(floor(log10(low)), ceil(log10(high)) + 1) for m in marks if low <= (t := m * 10.0**e) <= high
    ]


def tick(x: float) -> str:
    """A round value, short."""
    return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.6g}".replace("-", "−")
