"""`fovea bench segmentation`: every segmenter that scores gaps over every corpus, the number of boundaries unknown and
given, side by side with references and peers.

Metrics are of `fovea.pipelines.evaluation.segmentation_metrics`, means over documents with 95 % bootstrap intervals;
Pk and WindowDiff in percent. CPU seconds are those of finding the boundaries of all documents of a corpus: its units
are encoded once for all methods, and no method pays for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.segmentation_methods import Method, labels
from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.pipelines.evaluation.segmentation_metrics import boundary_scores, boundary_similarity, pk, window_diff
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError, FoveaError
from fovea.rag.progress import bar
from fovea.segmenters.sectioned import Sectioned

Measure = Callable[[np.ndarray, np.ndarray], float]
METRICS: Mapping[str, Measure] = {
    "Pk %": lambda true, found: 100 * pk(true, found),
    "WindowDiff %": lambda true, found: 100 * window_diff(true, found),
    "Boundary Similarity": boundary_similarity,
    "boundary F1": lambda true, found: boundary_scores(true, found).f1,
    "boundary F1 within 1": lambda true, found: boundary_scores(true, found, 1).f1,
}


def corpora(texts: Sequence[Sectioned], split: str, limit: int | None = None) -> dict[str, list[Sectioned]]:
    """The texts of one part (`all` for every one) by corpus, at most `limit` of each.

    Raises ConfigError where no text belongs to that part.
    """
    found: dict[str, list[Sectioned]] = {}
    for text in texts:
        if split in (text.split, "all"):
            found.setdefault(text.corpus if split == "test" else f"{text.corpus} ({split})", []).append(text)
    if not found:
        there = sorted({text.split for text in texts})
        names = ", ".join(sorted({text.corpus for text in texts}))
        raise ConfigError(f"no text of {names} is for {split!r}", where="--split", allowed=[*there, "all"])
    return {name: group[:limit] for name, group in found.items()}


def rows(
    found: Mapping[str, Sequence[Sectioned]],
    methods: Sequence[Method],
    encoder: Encoder,
    *,
    cache: Path | None = None,
    missing: Callable[[str], None],
) -> Iterator[Row]:
    """The rows of all corpora. A method that cannot run is a row without a value, and `missing` is told why."""
    told: set[str] = set()
    for corpus, texts in found.items():
        shared = SharedEncoder.over(encoder, [t for one in texts for t in one.units.texts], label=corpus, cache=cache)
        for method in methods:
            if method.needs_paragraphs and not any(one.units.breaks.any() for one in texts):
                continue
            for label, given in labels(method):
                try:
                    yield from measured(corpus, label, method, texts, shared, given=given)
                except FoveaError as error:
                    if (reason := f"{method.name} is missing: {error}") not in told:
                        told.add(reason)
                        missing(reason)
                    yield Row("segmentation", corpus, label, next(iter(METRICS)), None, settings=dict(method.settings))


def measured(
    corpus: str, label: str, method: Method, texts: Sequence[Sectioned], encoder: SharedEncoder, *, given: bool
) -> list[Row]:
    """The rows of one method on one corpus; raises what the method raises."""
    boundaries, before, began = [], encoder.awaited.seconds, time.process_time()
    with bar(f"{corpus}: {label}", len(texts)) as progress:
        for one in texts:
            count = int(one.boundaries.sum()) if given else None
            boundaries.append(method.rule(one.units, encoder, count))
            progress.advance()
    seconds = time.process_time() - began - (encoder.awaited.seconds - before)
    made = []
    for metric, measure in METRICS.items():
        value, low, high = interval(
            [measure(one.boundaries, found) for one, found in zip(texts, boundaries)], shares=True
        )
        made.append((metric, value, low, high))
    return [
        Row("segmentation", corpus, label, metric, value, low, high, len(texts), seconds, dict(method.settings))
        for metric, value, low, high in [*made, ("CPU s", seconds, None, None)]
    ]
