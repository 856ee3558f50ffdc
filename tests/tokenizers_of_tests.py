"""Encoders with tokenizers of every temper, for tests of what counts tokens: additive, byte-level, and far from it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Trained
from tokenizers import decoders, models, pre_tokenizers, trainers

from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.tokens import WordTokenizer

_HASH = HashEncoder(size=16)


class ToyEncoder(Encoder):
    """The hashing encoder's vectors with a tokenizer and a window of one's own."""

    counts: Any
    limit: int | None = None

    @property
    def dim(self):
        return _HASH.dim

    @property
    def space(self):
        return _HASH.space

    @property
    def tokenizer(self):
        return self.counts

    @property
    def window(self):
        return self.limit

    def encode(self, texts, role="document"):
        return _HASH.encode(texts)


class ByteLevel:
    """Byte-level BPE: a token may hold a space and half a character, and counts are not additive."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    def count(self, text: str) -> int:
        return len(self.trained.encode(text).ids)

    def offsets(self, text: str) -> np.ndarray:
        return np.array(self.trained.encode(text).offsets, dtype=np.int64).reshape(-1, 2)


class Triples:
    """A token every three characters from the start of the slice: where a slice begins changes all its tokens."""

    def count(self, text: str) -> int:
        return -(-len(text) // 3)

    def offsets(self, text: str) -> np.ndarray:
        starts = np.arange(0, len(text), 3, dtype=np.int64)
        return np.stack([starts, np.minimum(starts + 3, len(text))], axis=1)


@cache
def byte_level() -> ByteLevel:
    """Trained on a few lines, so that it merges across letters but knows few words."""
    trained = Trained(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator(
        ["the river rose in the night and the mill was gone", "aaaa bbbb abab xyz"] * 20, trainer
    )
    return ByteLevel(trained)


@cache
def encoder(name: str, window: int | None = None) -> ToyEncoder:
    """The encoder whose tokenizer is called `name`."""
    counts = {"words": WordTokenizer, "bytes": byte_level, "triples": Triples}[name]()
    return ToyEncoder.model_construct(counts=counts, limit=window)


TOKENIZERS = ("words", "bytes", "triples")
