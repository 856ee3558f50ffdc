"""`fovea train retriever`: collections in, and how well the weights find what answers. Re-rankers and situators are
trained by it too: their recipes say whose weights they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.rag.encoder import Encoder
from fovea.rag.training.train import Result
from fovea.retrievers.collections.read import read
from fovea.retrievers.training import train
from fovea.retrievers.training.train import HEADING, recipe_class

__all__ = ["HEADING", "lines", "recipe_class", "trained"]


def trained(
    recipe: Any,
    paths: Sequence[str],
    encoder: Encoder,
    out: Path,
    *,
    cache: Path,
    influence: tuple[str, float] | None = None,
    **asked: Any,
) -> tuple[Result, Sequence[Mapping[str, str]]]:
    """Train on the collections of all paths; what came of it, and what they hold.

    With `influence`, a model and a share, on that share of their training documents
    (`fovea.pipelines.training.influence`).
    """
    collections = [read(path) for path in paths]
    if influence is not None:
        from fovea.pipelines.training.influence import influential

        collections = influential(collections, *influence, out, seed=asked.get("seed", 0))
    texts = [chunk.text for one in collections for chunk in one.chunks]
    shared = SharedEncoder.over(encoder, texts, label="chunks", cache=cache)
    return train.train(recipe, collections, shared, out, **asked), train.counts(collections)


def lines(result: Result) -> Iterator[str]:
    """What is printed of the scores."""
    for row in result.table:
        where = f"{row['collection']} ({row['split']}, {row['questions']} questions)"
        others = (f"{key} {value}" for key, value in row.items() if key not in ("collection", "split", "questions"))
        yield f"{where}: {', '.join(others)}"
