"""Feedback: looks at what came back, or at the answer made of it, and lets a part of the pipeline run again.

A stage of this kind grades passages before an answer is made (`PassageFeedback`), or answers once they are made
(`AnswerFeedback`). What it may ask of the pipeline is `Evidence` or `Rounds`: it never sees the pipeline itself. A
`Judge` grades one answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fovea.rag.component import Component
from fovea.rag.corpus import Corpus
from fovea.rag.generation import Generator
from fovea.rag.types import Answer, Hit, Query


@dataclass(frozen=True, slots=True)
class Grade:
    """What a judge says of an answer: a grade from 1 to 10, or None where its words could not be read, and whether the
    answer had too little to go on (`delta` 1), too much (-1), or neither (0).
    """

    grade: int | None
    delta: int = 0
    raw: str = ""
    """The judge's own words."""


class Judge(Component, kind="judge"):
    """Grades an answer by the passages that it was made from."""

    @abstractmethod
    def grade(self, query: Query, answer: Answer, hits: Sequence[Hit], corpus: Corpus) -> Grade:
        """The grade of `answer`, which was made from `hits`. What cannot be read is a Grade of None, never a guess."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One answer with the pieces in which its text came."""

    pieces: tuple[str, ...]
    answer: Answer


class Evidence(Protocol):
    """What feedback on passages may ask of the pipeline."""

    query: Query
    corpus: Corpus
    hits: list[Hit]
    """What retrieval and refining gave, best first; scores are what the last stage gave."""
    k: int
    """How many passages are kept at most."""

    def again(self, text: str) -> list[Hit]:
        """The hits of a second retrieval for the words `text`, refined by the question as it was asked."""

    def graded(self, hits: Sequence[Hit]) -> list[Hit]:
        """These passages with the probability, by the chain's own re-ranker, that each answers; best first."""


class Rounds(Protocol):
    """What feedback on answers may ask of the pipeline. Retrieval and re-ranking are done, and are not repeated."""

    query: Query
    corpus: Corpus
    generator: Generator

    def select(self, steps: int) -> list[Hit] | None:
        """The passages that the selection rule keeps if it is made more generous by `steps` (stricter if negative);
        None where it can go no further.
        """

    def position(self, steps: int) -> dict[str, float]:
        """The setting that the steps move, with its value: `{"min_k": 8}`."""

    def draft(self, steps: int, hits: Sequence[Hit]) -> Draft:
        """The answer made from `hits`, the first of `select(steps)`. Each call is one round of the trace."""


class Feedback(Component, kind="feedback"):
    """Lets a part of the pipeline run again; see the two kinds below."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What must hold of the hits after the last refiner, such as "probabilities"."""


class PassageFeedback(Feedback):
    """Looks at passages before anything is answered."""

    @abstractmethod
    def correct(self, evidence: Evidence) -> list[Hit]:
        """The passages to answer from, at most `evidence.k`."""


class AnswerFeedback(Feedback):
    """Looks at answers, and decides which is given."""

    @abstractmethod
    def best(self, rounds: Rounds) -> Draft:
        """One of the drafts."""
