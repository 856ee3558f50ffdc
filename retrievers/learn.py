"""Weights of a convex fusion, learnt from questions whose relevant chunks are known.

learnt = learn_weights(runs, gold)
print(learnt.weights, learnt.held_out, learnt.parts)   # put the weights into the YAML if held_out beats every part
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fovea.rag.errors import ConfigError
from fovea.rag.types import Hit
from fovea.retrievers.convex import ConvexFuser

Run = Mapping[str, Sequence[Hit]]
"""What each retriever found for one question."""
Metric = Callable[[Sequence[str], AbstractSet[str]], float]
"""How good a ranking of chunk ids is, given the relevant ones."""
DEPTH = 10


def ndcg(ranking: Sequence[str], relevant: AbstractSet[str]) -> float:
    """Normalised discounted cumulative gain of the first ten, with binary gains (Järvelin and Kekäläinen, 2002)."""
    gain = sum(1 / math.log2(i + 2) for i, found in enumerate(ranking[:DEPTH]) if found in relevant)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(DEPTH, len(relevant))))


@dataclass(frozen=True)
class Learnt:
    """`weights` for the YAML, and the mean metric: `fitted` on the questions learnt from, `held_out` by
    cross-validation (the figure to believe), and of every retriever alone.
    """

    weights: dict[str, float]
    fitted: float
    held_out: float
    parts: dict[str, float]


def learn_weights(
    runs: Sequence[Run], gold: Sequence[AbstractSet[str]], *, metric: Metric = ndcg, steps: int = 10, folds: int = 5
) -> Learnt:
    """The weights of `ConvexFuser` that give the highest mean `metric` over the questions `runs`, whose relevant chunk
    ids are `gold`: every point of the simplex in `steps` steps a side is tried, each retriever alone among them.

    Questions go to `folds` parts in turn, so the result is the same at every run. Raises ConfigError for fewer than
    `folds` questions or one without a relevant chunk. O(questions * hits * steps^(retrievers - 1)).
    """
    _check(runs, gold, folds)
    names = sorted({name for run in runs for name in run})
    grid = [dict(zip(names, point)) for point in simplex(len(names), steps)]
    table = [[_score(run, relevant, weights, metric) for run, relevant in zip(runs, gold)] for weights in grid]
    everyone = range(len(runs))
    held_out = []
    for fold in range(folds):
        row = table[_best(table, [i for i in everyone if i % folds != fold])]
        held_out += row[fold::folds]
    chosen = _best(table, everyone)
    alone = {name: grid.index({n: float(n == name) for n in names}) for name in names}
    return Learnt(
        weights=grid[chosen],
        fitted=_mean(table[chosen]),
        held_out=_mean(held_out),
        parts={name: _mean(table[g]) for name, g in alone.items()},
    )


def simplex(parts: int, steps: int) -> Iterator[tuple[float, ...]]:
    """Every way to share 1 among `parts` in multiples of `1 / steps`."""

    def share(parts: int, left: int) -> Iterator[tuple[int, ...]]:
        if parts == 1:
            yield (left,)
            return
        for first in range(left + 1):
            yield from ((first, *rest) for rest in share(parts - 1, left - first))

    return (tuple(n / steps for n in point) for point in share(parts, steps))


def _check(runs: Sequence[Run], gold: Sequence[AbstractSet[str]], folds: int) -> None:
    if len(runs) != len(gold):
        raise ConfigError(f"{len(runs)} runs but {len(gold)} sets of relevant chunks")
    if len(runs) < folds:
        raise ConfigError(f"{len(runs)} questions are too few to learn weights in {folds} folds", fix="label more")
    if empty := [i for i, relevant in enumerate(gold) if not relevant]:
        raise ConfigError(f"question {empty[0]} has no relevant chunk", fix="leave it out")


def _score(run: Run, relevant: AbstractSet[str], weights: Mapping[str, float], metric: Metric) -> float:
    fuser = ConvexFuser(weights={name: weights[name] for name in run})
    return metric([hit.chunk.id for hit in fuser.combine(run, DEPTH)], relevant)


def _best(table: Sequence[Sequence[float]], questions: Sequence[int]) -> int:
    """The row of highest mean over `questions`; the middle one of several that tie."""
    means = [_mean([row[i] for i in questions]) for row in table]
    ties = [g for g, mean in enumerate(means) if mean >= max(means) - 1e-9]
    return ties[len(ties) // 2]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
