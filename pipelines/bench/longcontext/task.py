"""A task: what is hidden in a text, how it is asked for, and how an answer is judged; declared in a YAML file.

The file says everything but the numbers drawn, and has a version: results are of the same task where both are equal.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

Haystack = Callable[[int], Iterator[str]]
"""Sentences to hide facts in, by a seed."""


@dataclass(frozen=True)
class Question:
    """What is asked, how the answer begins, and what it must hold."""

    text: str
    lead: str
    answers: tuple[str, ...]
    depth: float | None = None
    """Where in the text its fact lies, 0 to 1, where that is one place."""


@dataclass(frozen=True)
class Case:
    """A text of as many of `units` as a length allows, with `planted` between them, and questions on it."""

    units: Iterator[str]
    planted: Sequence[tuple[float, str]]
    """Depth, 0 to 1, and text."""
    questions: Callable[[Sequence[str]], Sequence[Question]]
    """Given the units that were used."""
    between: str = " "

    def text(self, units: Sequence[str]) -> str:
        """The units, between them what is planted: by characters, as deep as it should; at one depth in its order."""
        ends = list(accumulate(map(len, units)))
        parts = [(end / ends[-1], 0, unit) for end, unit in zip(ends, units)]
        hidden = [(depth, 1, text) for depth, text in self.planted]
        return self.between.join(text for _, _, text in sorted((*parts, *hidden), key=lambda part: part[:2]))


class Task(BaseModel, ABC):
    """What all kinds have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: PositiveInt
    metric: str
    """What its score is called in the rows."""
    prompt: str
    """With `{text}` and `{question}`."""
    question: str
    lead: str
    """The answer's beginning, which the model goes on from: may be empty."""
    answer_tokens: PositiveInt
    score: Literal["all", "any"]
    """`all`: the share of the answers that are in what the model says; `any`: whether one of them is."""

    @abstractmethod
    def cases(self, haystack: Haystack, seed: str) -> Iterator[Case]:
        """The prompts of one sample; the same for the same seed."""

    def judge(self, said: str, answers: Sequence[str]) -> float:
        """0 to 1; case and white space do not count, nor does a number's grouping (`12,345`)."""
        plain = _plain(said)
        right = [_plain(answer) in plain for answer in answers]
        return float(any(right)) if self.score == "any" else sum(right) / max(len(right), 1)


def _plain(text: str) -> str:
    joined = "".join(c for n, c in enumerate(text) if not (c == "," and text[n - 1 : n + 2].replace(",", "").isdigit()))
    return " ".join(joined.casefold().split())


def drawn_names(rng: random.Random, count: int, length: int = 5) -> list[str]:
    """So many different made-up words, consonants and vowels in turn."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choice("bdfgklmnprstvz" if n % 2 == 0 else "aeiou") for n in range(length))] = None
    return list(found)
