"""Train one method: from sectioned texts to weights that can be used, and what the card says of the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fovea.rag import registry
from fovea.rag.errors import ConfigError
from fovea.rag.sentences import sentences
from fovea.rag.training import train as training
from fovea.rag.training.train import Result
from fovea.segmenters.training.recipe import SegmenterRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.gaps import GapSegmenter
    from fovea.segmenters.sectioned import Sectioned

HEADING = "With the settings that the weights bring, the number of sections unknown:"
"""What the table of a result holds."""


def recipe_class(method: str) -> type[SegmenterRecipe]:
    """The recipe of a method; raises ConfigError with those there are."""
    from fovea.segmenters import training as package

    return training.recipe_class(method, package, SegmenterRecipe, "segmenter")  # type: ignore[type-abstract]


def train(
    recipe: SegmenterRecipe,
    texts: Sequence[Sectioned],
    encoder: Encoder,
    out: Path,
    *,
    seed: int = 0,
    data: str = "",
    **sitting: Any,
) -> Result:
    """Train on the texts of split `train`, choose on `dev`, write `out`/weights.safetensors and measure on all but
    `train`. `data` tells this data from other data; `sitting` takes what `fovea.rag.training.loop.fit` does.

    Raises ConfigError where a split is missing.
    """
    import torch

    from fovea.segmenters.training.measure import table

    parts = {split: [t for t in texts if t.split == split] for split in ("train", "dev", "test")}
    for split in ("train", "dev"):
        if not parts[split] or (recipe.reads_sections and not any(t.boundaries.any() for t in parts[split])):
            raise ConfigError(
                f"no text of the split {split!r} has a boundary, of {len(texts)} texts",
                where="--data",
                fix="more texts, or texts whose sections are marked",
            )
    torch.manual_seed(seed)
    task = recipe.prepare(parts["train"], parts["dev"], encoder, seed)
    result = training.complete(task, recipe, encoder, out, seed=seed, data=data, **sitting)
    segmenter = cast("GapSegmenter", registry.find("segmenter", recipe.method).model_validate({"weights": str(out)}))
    return replace(result, table=table(segmenter, [*parts["dev"], *parts["test"]], encoder))


def counts(texts: Sequence[Sectioned]) -> list[dict[str, str]]:
    """Texts, units, sentences and sections by corpus and split."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for text in texts:
        count = found.setdefault((text.corpus, text.split), Counter())
        count.update(texts=1, units=len(text.units), sections=int(text.boundaries.sum()) + 1)
        count.update(sentences=sum(max(1, len(sentences(unit))) for unit in text.units.texts))
    return [
        {"corpus": corpus, "split": split, **{key: f"{number:,}" for key, number in count.items()}}
        for (corpus, split), count in sorted(found.items())
    ]
