"""Several lists of hits as one set of chunks, each with its place and score in every list it is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fovea.rag.types import Chunk, Hit


class Joined(NamedTuple):
    """A chunk with its rank (from 1) and score by list, and `said`: what every stage before said of it."""

    chunk: Chunk
    ranks: dict[str, int]
    scores: dict[str, float]
    said: dict[str, float]


def join(lists: Mapping[str, Sequence[Hit]]) -> list[Joined]:
    """Every chunk once. Lists are read by rising name, so that their order does not matter. O(hits)."""
    found: dict[tuple[str, int, int], Joined] = {}
    for name in sorted(lists):
        for rank, hit in enumerate(lists[name], 1):
            chunk = hit.chunk
            one = found.setdefault((chunk.document_id, chunk.start, chunk.end), Joined(chunk, {}, {}, {}))
            if name not in one.ranks:
                one.ranks[name] = rank
                one.scores[name] = hit.score
                one.said.update(hit.scores)
                one.said[name] = hit.score
    return list(found.values())


def best(scored: Iterable[tuple[float, Joined]], k: int, stage: str) -> list[Hit]:
    """The `k` of highest score, best first; equal scores by their best rank in any list, then by their place."""
    order = sorted(scored, key=_order)[:k]
    return [Hit(one.chunk, score, {**one.said, stage: score}) for score, one in order]


def _order(item: tuple[float, Joined]) -> tuple[float, int, str, int, int]:
    score, one = item
    return -score, min(one.ranks.values()), one.chunk.document_id, one.chunk.start, one.chunk.end
