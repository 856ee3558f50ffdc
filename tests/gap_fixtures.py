"""Every gap segmenter as tests and benchmarks run it, a cheap encoder, and texts of any length."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np

from fovea.rag import registry
from fovea.rag.encoder import Encoder
from fovea.rag.tokens import WordTokenizer
from fovea.segmenters.gaps import GapSegmenter
from tests.learned_weights import WEIGHTS, weights_of

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "c99": [{}, {"similarity": "embeddings"}],
    "texttiling": [{}, {"similarity": "embeddings"}],
}
"""Settings to try by name; one that is not here is tried as it comes, a learned one with random weights."""


def gap_segmenters(*, shipped: bool = False) -> Iterator[GapSegmenter]:
    """All registered gap segmenters, in each variant; learned ones with random weights, or those that ship."""
    for name, cls in registry.components("segmenter").items():
        if issubclass(cls, GapSegmenter):
            own = {"weights": weights_of(name, CHEAP)} if name in WEIGHTS and not shipped else {}
            yield from (cls.model_validate({**own, **settings}) for settings in VARIANTS.get(name, [{}]))


def label(segmenter: GapSegmenter) -> str:
    """Its name, with what differs from the defaults."""
    given = segmenter.model_dump(exclude_defaults=True, exclude={"weights"})
    return " ".join([segmenter.name, *(str(value) for value in given.values())])


class CheapEncoder(Encoder):
    """A random unit vector for each text, by its checksum: as fast as an encoder can be, and blind to meaning."""

    size: int = 32

    @property
    def dim(self):
        return self.size

    @property
    def space(self):
        return f"cheap {self.size}"

    @property
    def window(self):
        return None

    @property
    def tokenizer(self):
        return WordTokenizer()

    @cached_property
    def table(self):
        vectors = np.random.default_rng(0).normal(size=(4099, self.size)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode(self, texts, role="document"):
        return self.table[[crc32(text.encode("utf-8", "surrogatepass")) % 4099 for text in texts]]


CHEAP = CheapEncoder.model_construct(size=32)


TOPICS = 12
"""Sentences in a row with the words of one topic."""


def sentences_of(count: int, *, seed: int = 0) -> list[str]:
    """So many different sentences of about 60 characters; each dozen shares a vocabulary."""
    draw = np.random.default_rng(seed).integers(0, 30, (count, 7))
    return [
        " ".join(["It", *(f"w{i // TOPICS % 500}x{word}" for word in row), f"n{i}."])
        for i, row in enumerate(draw.tolist())
    ]
