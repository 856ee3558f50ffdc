"""A page: the tokens a prompt is written with, and the natural text that fills it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

Ids = list[int]


@dataclass(frozen=True)
class Fact:
    """Statements hidden in the page, and a question whose answer only they tell."""

    statements: list[Ids]
    question: Ids
    answer: Ids


@dataclass(frozen=True)
class Prompt:
    """`prompt` is continued by `answer`; the asked fact's statements lie at `evidence`, `[start, end)` in `prompt`."""

    prompt: Ids
    answer: Ids
    evidence: list[tuple[int, int]]


@dataclass(frozen=True)
class Page:
    """A tokenizer, and the token ids of text that fills up prompts."""

    tokenizer: Any
    filler: np.ndarray
    most_words: int | None = None
    """Draw from so many words alone: a circuit that copies forms sooner on few, and then serves all."""
    known: dict[str, Ids] = field(default_factory=dict)

    def ids(self, text: str) -> Ids:
        """The tokens of a few fixed words, remembered."""
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.known[text]

    @cached_property
    def words(self) -> np.ndarray:
        """Tokens that are a space and four or more small letters: the words that tasks draw from."""
        found = [i for token, i in self.tokenizer.get_vocab().items() if re.fullmatch("Ġ[a-z]{4,}", token)]
        return np.array(sorted(found)[: self.most_words])

    @cached_property
    def digits(self) -> np.ndarray:
        """The ten digit tokens."""
        return np.array([self.tokenizer.convert_tokens_to_ids(str(d)) for d in range(10)])

    def number(self, rng: np.random.Generator, digits: int) -> Ids:
        """A number of that many digits, a token each, the first not 0."""
        return [int(self.digits[rng.integers(i == 0, 10)]) for i in range(digits)]

    def some_words(self, rng: np.random.Generator, count: int) -> Ids:
        """Different words, in random order."""
        return rng.choice(self.words, count, replace=False).tolist()

    def text(self, rng: np.random.Generator, length: int) -> np.ndarray:
        """`length` tokens of running text from a random place, around the end where the text is short."""
        start = int(rng.integers(len(self.filler)))
        return np.take(self.filler, np.arange(start, start + length), mode="wrap").astype(np.int64)
