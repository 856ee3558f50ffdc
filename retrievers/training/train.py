"""Train one method: from collections to weights that can be used, and what the card says of the collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fovea.rag.errors import ConfigError
from fovea.rag.training import train as training
from fovea.rag.training.train import Result
from fovea.retrievers.collection import Split
from fovea.retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection

HEADING = "With the weights, and by the encoder alone (dense); a part that has documents of its own is searched alone:"
"""What the table of a result holds."""


def recipe_class(method: str) -> type[RetrieverRecipe]:
    """The recipe of a method; raises ConfigError with those there are."""
    from fovea.retrievers import training as package

    return training.recipe_class(method, package, RetrieverRecipe, "retriever")  # type: ignore[type-abstract]


def train(
    recipe: RetrieverRecipe,
    collections: Sequence[Collection],
    encoder: Encoder,
    out: Path,
    *,
    seed: int = 0,
    data: str = "",
    **sitting: Any,
) -> Result:
    """Train on the questions of split `train`, choose on `dev`, write `out`/weights.safetensors and measure on all but
    `train`. `data` tells this data from other data; `sitting` takes what `fovea.rag.training.loop.fit` does.

    Raises ConfigError where a method that learns from questions is given none for a split.
    """
    import torch

    for split in ("train", "dev"):
        if recipe.reads_questions and not any(q.split == split for one in collections for q in one.questions):
            what = f"no question is for {split!r}, of {sum(len(one.questions) for one in collections)} questions"
            raise ConfigError(what, where="--data", fix="collections with questions of both parts")
    torch.manual_seed(seed)
    task = recipe.prepare(collections, encoder, seed)
    result = training.complete(task, recipe, encoder, out, seed=seed, data=data, **sitting)
    return replace(result, table=list(table(recipe, str(out), collections, encoder)))


def table(
    recipe: RetrieverRecipe, weights: str, collections: Sequence[Collection], encoder: Encoder
) -> Iterator[Mapping[str, str]]:
    """A row for every collection and part with questions, but for `train`: the weights, and dense retrieval."""
    from fovea.retrievers.dense import DenseRetriever
    from fovea.retrievers.training.measure import ranked, scores

    for collection in collections:
        for split in ("dev", "test"):
            part = collection.part(split)
            if part.questions:
                both = {
                    "": recipe.ranked(weights, part, encoder),
                    " of dense": ranked(DenseRetriever(), part, encoder),
                }
                cells = {
                    f"{name}{whose}": f"{value:.3f}"
                    for whose, found in both.items()
                    for name, value in scores(found, part.questions).items()
                }
                yield {"collection": part.name, "split": split, "questions": f"{len(part.questions):,}", **cells}


def counts(collections: Sequence[Collection]) -> list[dict[str, str]]:
    """Documents, chunks and questions by collection and split; of undivided documents all stand at every split."""
    found = []
    for one in collections:
        parts = {split: one.part(split) for split in get_args(Split)}
        asked = {split: part for split, part in parts.items() if part.questions}
        for split, part in (asked or {"all": one}).items():
            numbers = {"documents": part.documents, "chunks": part.chunks, "questions": part.questions}
            row = {"collection": one.name, "split": split}
            found.append({**row, **{key: f"{len(value):,}" for key, value in numbers.items()}})
    return found
