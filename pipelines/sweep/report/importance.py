"""How much of what differs between trials each parameter explains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.levels import dependents, levels, ordered
from fovea.pipelines.sweep.report.ranking import value, varied

EXACT, ORDERS = 7, 100
"""Up to EXACT parameters every order is gone through, beyond that ORDERS drawn ones and their reverses."""


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of one metric between trials."""

    metric: str
    shares: dict[str, float]
    """By parameter, the largest first. They and `rest` add up to 1, or are all 0 where all trials are equal."""
    rest: float
    """What no single parameter explains: what they do together, and chance."""
    trials: int
    effects: int
    """How many numbers the shares are made of: with fewer than three trials to each, they are a hint and no more."""


def importance(record: Record, metric: str) -> Importance:
    """The share of the variance between complete trials that the main effect of each parameter explains.

    R²(S) is the share that least squares explains with an indicator of every level of every parameter of S. A
    parameter's importance is what it adds, averaged over all orders in which parameters may come in:

        I(p) = mean over orders of  R²(those before p, and p) - R²(those before p)

    In a full grid the order makes no difference, and I(p) is the between-level sum of squares over the total one.
    Elsewhere, what two parameters explain together is shared out between them (R. Lindeman, P. Merenda, R. Gold,
    "Introduction to Bivariate and Multivariate Analysis", 1980; U. Grömping, "Estimators of relative importance in
    linear regression based on variance decomposition", 2007). A number of many values counts by bins.

    A parameter that is there only under a choice of another one explains what differs between trials that have it:
    that they have it is the other one's doing. Where no other parameter says so, "not there" is a level.
    """
    trials = [trial for trial in record.complete if value(trial, metric) is not None]
    names = varied(trials)
    y = np.array([value(trial, metric) for trial in trials], np.float64)
    y = y - y.mean() if len(y) else y
    total = float(y @ y)
    blocks = {name: _columns(trials, name) for name in names}
    if not names or total <= 1e-24 * max(1, len(y)):
        return Importance(metric, dict.fromkeys(names, 0.0), 0.0, len(trials), 0)
    model = _Model(list(blocks.values()), y, total)
    shares = dict(zip(names, _averaged(model, len(names))))
    shares = dict(sorted(shares.items(), key=lambda pair: -pair[1]))
    return Importance(metric, shares, max(0.0, 1 - sum(shares.values())), len(trials), model.rank)


def _columns(trials: Sequence[TrialRecord], name: str) -> np.ndarray:
    """Indicators of the levels `(n, levels)`, centred; of a dependent parameter, over the trials that have it."""
    found = levels(trials, name)
    columns = [[level == one for level in found] for one in ordered(trials, name, found)]
    there = np.array([level is not None for level in found])
    if not there.all() and not any(name in dependents(trials, other) for other in varied(trials) if other != name):
        there[:] = True
    made = np.array(columns, np.float64).T
    made[there] -= made[there].mean(0)
    return made


class _Model:
    """Least squares on any set of blocks of columns, from their products alone."""

    def __init__(self, blocks: Sequence[np.ndarray], y: np.ndarray, total: float) -> None:
        joined = np.concatenate(blocks, axis=1)
        ends = np.cumsum([block.shape[1] for block in blocks])
        self.places = [list(range(end - block.shape[1], end)) for end, block in zip(ends, blocks)]
        self.products, self.with_y, self.total = joined.T @ joined, joined.T @ y, total
        self.rank = int(np.linalg.matrix_rank(joined))
        self.known: dict[frozenset[int], float] = {frozenset(): 0.0}

    def explained(self, blocks: frozenset[int]) -> float:
        """R² of the blocks."""
        if blocks not in self.known:
            at = [place for block in sorted(blocks) for place in self.places[block]]
            inverse = np.linalg.pinv(self.products[np.ix_(at, at)], rcond=1e-10, hermitian=True)
            self.known[blocks] = float(self.with_y[at] @ inverse @ self.with_y[at]) / self.total
        return self.known[blocks]


def _averaged(model: _Model, count: int) -> list[float]:
    gains, orders = np.zeros(count), 0
    for order in _orders(count):
        orders, before = orders + 1, 0.0
        for at, block in enumerate(order):
            now = model.explained(frozenset(order[: at + 1]))
            gains[block] += now - before
            before = now
    return [max(0.0, float(gain)) for gain in gains / orders]


def _orders(count: int) -> Iterable[tuple[int, ...]]:
    if count <= EXACT:
        return permutations(range(count))
    rng = np.random.default_rng(0)
    drawn = [tuple(int(i) for i in rng.permutation(count)) for _ in range(ORDERS)]
    return [*drawn, *(order[::-1] for order in drawn)]
