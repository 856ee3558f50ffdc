"""What is needed to add scores of different retrievers: where each list ends, and what each list weighs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from fovea.rag import registry
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ConfigError
from fovea.rag.types import Hit
from fovea.retrievers.joined import Joined

WORTH = 5.0
"""Deviations that the best score of any other scale counts as: that of calibrated fusion."""
DEVIATIONS = frozenset({"adaptive", "calibrated", "event_aware"})
"""Stages whose scores are deviations already; those of `adaptive` about."""
KEEPS_UNIT = frozenset({"time_scope", "recency"})
"""Stages that add to a score in its own unit."""


def _some(weights: dict[str, float]) -> dict[str, float]:
    if weights and not any(weights.values()):
        raise ValueError("at least one weight must be over 0")
    return weights


Weights = Annotated[dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_some)]
"""Weight by retriever; an empty mapping stands for equal weights."""


class Scale(NamedTuple):
    """How a list is read: `last` is the most that a chunk outside it can have, `unit` the difference that counts 1."""

    last: float
    unit: float


def weighted_sum(
    found: Iterable[Joined], scales: Mapping[str, Scale], weights: Mapping[str, float]
) -> Iterator[tuple[float, Joined]]:
    """Each chunk with `sum over its lists of weight * (score - last) / unit`; a list it is not in adds nothing."""
    for one in found:
        yield sum(weights[n] * (s - scales[n].last) / scales[n].unit for n, s in one.scores.items()), one


def last_scores(lists: Mapping[str, Sequence[Hit]], endless: Callable[[str], bool]) -> dict[str, float]:
    """By list, the most that a chunk outside it can have scored.

    A list as long as the longest was cut there, and an `endless` one, which has a score for every chunk,
    ends somewhere too: its last score. Any other shorter list had no more to give: 0, or its last score if lower.
    """
    longest = max(map(len, lists.values()), default=0)
    lasts = {}
    for name, hits in lists.items():
        low = min((hit.score for hit in hits), default=0.0)
        cut = len(hits) == longest or endless(name)
        lasts[name] = low if cut else min(low, 0.0)
    return lasts


def weights_of(names: Iterable[str], weights: Mapping[str, float], fuser: str) -> dict[str, float]:
    """The weight of every list: by its own name or its retriever's; 1 for all where no weights are given.

    Raises ConfigError for a weight of a retriever that is not there, and for a list without a weight.
    """
    names = sorted(names)
    if not weights:
        return dict.fromkeys(names, 1.0)
    known = {*names, *map(retriever_of, names)}
    for got in weights:
        if got not in known:
            what = f"{fuser}: 'weights' names {got!r}, which is none of the retrievers"
            raise ConfigError(what, got=got, allowed=names)
    try:
        return {n: weights[n] if n in weights else weights[retriever_of(n)] for n in names}
    except KeyError as missing:
        name = missing.args[0]
        what = f"{fuser}: 'weights' says nothing of the retriever {name!r}"
        raise ConfigError(what, fix=f"add '{name}: 0' to leave it out, or a larger weight") from None


def is_similarity(name: str) -> bool:
    """Whether the retriever of a list says that its scores are inner products; one that nobody knows says nothing."""
    return bool(getattr(registry.components("retriever").get(retriever_of(name)), "similarity", False))


def retriever_of(name: str) -> str:
    """The retriever's name without the `#2` of its second use."""
    return name.partition("#")[0]


def deviation(hits: Sequence[Hit], corpus: Corpus) -> float:
    """What a standard deviation of similarity is on the scale of these scores.

    Calibrated fusion counts in deviations, and adaptive fusion about: 1. An inner product's is that of the corpus's
    chunks, `corpus.spread`. On any other scale it is a fifth of the best score, as calibrated fusion has it.
    """
    scale = next((s for s in reversed([*hits[0].scores]) if s not in KEEPS_UNIT), "") if hits else ""
    if scale in DEVIATIONS:
        return 1.0
    if is_similarity(scale):
        return corpus.spread
    return max((abs(hit.score) for hit in hits), default=0.0) / WORTH or 1.0
