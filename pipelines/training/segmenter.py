"""`fovea train segmenter`: sectioned texts in, and how well the weights find sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.rag.encoder import Encoder
from fovea.rag.training.train import Result
from fovea.segmenters.corpora.read import read
from fovea.segmenters.training import train
from fovea.segmenters.training.train import HEADING, recipe_class

__all__ = ["HEADING", "lines", "recipe_class", "trained"]


def trained(
    recipe: Any, paths: Sequence[str], encoder: Encoder, out: Path, *, cache: Path, **asked: Any
) -> tuple[Result, Sequence[Mapping[str, str]]]:
    """Train on the texts of all paths; what came of it, and what the texts hold."""
    texts = [text for path in paths for text in read(path)]
    units = [unit for text in texts for unit in text.units.texts]
    shared = SharedEncoder.over(encoder, units, label="units", cache=cache)
    return train.train(recipe, texts, shared, out, **asked), train.counts(texts)


def lines(result: Result) -> Iterator[str]:
    """What is printed of the scores."""
    for row in result.table:
        where = f"{row['corpus']} ({row['split']}, {row['texts']} texts)"
        yield f"{where}: Pk {row['Pk %']:.1f} %, without a boundary {row['no boundary']:.1f} %"
