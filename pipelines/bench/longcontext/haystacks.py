"""The texts that facts are hidden in: one's own, or made-up prose."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from fovea.pipelines.bench.longcontext.prose import prose
from fovea.pipelines.bench.longcontext.task import Haystack
from fovea.rag.errors import ConfigError
from fovea.rag.sentences import sentences


def of(text: str | None) -> Haystack:
    """Sentences of `text`, from one drawn by the seed on and round again; made-up prose where it is None.

    Raises ConfigError for a text without sentences.
    """
    if text is None:
        return prose
    found = [" ".join(text[span.start : span.end].split()) for span in sentences(text)]
    if not found:
        raise ConfigError("there is no text here", where="--text")
    return lambda seed: _around(found, seed)


def _around(found: Sequence[str], seed: int) -> Iterator[str]:
    first = random.Random(seed).randrange(len(found))
    while True:
        yield from found[first:]
        yield from found[:first]
