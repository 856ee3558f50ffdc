"""How well the times of a passage fit those of a question.

    T = mean over asked [a, b] of  max over stated [s, e] of  exp(-gap / g) / 2
                                 + max over stated [s, e] of  exp(-late / l) / 2

`gap` is the distance of the two intervals, 0 where they overlap; `late` that of a, the day on which the asked interval
begins, from the first year of a stated one. The first term asks whether the passage speaks of that time, the second
whether it tells what began then: texts say when something began far more often than that it went on. A question
without a beginning ("before 1950") has the first term alone, in full. T is 0 where either side names no time.

Who asks of a year looks among years, who asks of a day among days: g is twice the length of the asked interval, l its
length, between `LEAST_YEARS` and two years, and one. A passage a month off fits a question of a year, and hardly one of
a day (in dialogues, where each turn has its day: `benchmarks/dated.py`).

The recency of a passage at a moment is R = 2^(-age / half-life), its age that of the newest interval begun by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf

from fovea.retrievers.time.days import DAYS_A_YEAR, Interval

OPEN_YEARS = 8
"""How far an open side reaches: "before 1950" asks for the eight years before."""
GAP_YEARS, LATE_YEARS = 2.0, 1.0
"""The most that g and l are: the distances, in years, at which the terms fall to 1/e."""
LEAST_YEARS = 0.04
"""The least that they are, a fortnight."""


def closed(interval: Interval, years: float = OPEN_YEARS) -> tuple[float, float]:
    """First and last day, an open side `years` from the other; both are open only where nothing was asked."""
    start, end = interval.start, interval.end
    if start == -inf:
        start = end - years * DAYS_A_YEAR
    if end == inf:
        end = start + years * DAYS_A_YEAR
    return start, end


def fit(asked: Sequence[Interval], stated: Sequence[Interval], *, coarse: bool = False) -> float:
    """T, between 0 and 1; `coarse` for times that nobody named, such as the moment of asking: g and l are then the most
    that they may be. O(asked * stated).
    """
    if not asked or not stated:
        return 0.0
    spans = [closed(one) for one in stated]
    return sum(_fit_one(one, spans, coarse=coarse) for one in asked) / len(asked)


def near(start: float, end: float, spans: Sequence[tuple[float, float]], years: float = GAP_YEARS) -> float:
    """The first term, in full, with g in years: how close the nearest of `spans` lies to the days `start` to `end`."""
    gap = min(max(s - end, start - e, 0.0) for s, e in spans)
    return exp(-gap / DAYS_A_YEAR / years)


def scales(start: float, end: float) -> tuple[float, float]:
    """g and l, in years, of a question that asks of the days `start` to `end`."""
    length = (end - start + 1) / DAYS_A_YEAR
    return max(LEAST_YEARS, min(2 * length, GAP_YEARS)), max(LEAST_YEARS, min(length, LATE_YEARS))


def recency(stated: Sequence[Interval], moment: float, half_life: float) -> float:
    """R at `moment`, both in days: of the newest interval that had begun; 0 where none had. Between 0 and 1."""
    begun = [start for one in stated if (start := closed(one)[0]) <= moment]
    return 2 ** (-(moment - max(begun)) / half_life) if begun else 0.0


def _fit_one(asked: Interval, spans: Sequence[tuple[float, float]], *, coarse: bool) -> float:
    start, end = closed(asked)
    gap_years, late_years = (GAP_YEARS, LATE_YEARS) if coarse else scales(start, end)
    speaks = near(start, end, spans, gap_years)
    if asked.start == -inf:
        return speaks
    late = min(max(s - start, start - min(e, s + DAYS_A_YEAR), 0.0) for s, e in spans)
    return (speaks + exp(-late / DAYS_A_YEAR / late_years)) / 2
