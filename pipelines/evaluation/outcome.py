"""Outcome: what came of one question. A failure is a state with its reason; it carries no number, but in a sweep the 0
that it counts for an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import FiniteFloat

Place = tuple[str, int, int, float]
"""A passage that came back: document, start, end, score."""


@dataclass(frozen=True)
class Outcome:
    """One question of one pipeline. `failed` is the reason, or "" where all went well."""

    question: str
    """The question's id."""
    scores: Mapping[str, FiniteFloat] = field(default_factory=dict)
    """By metric; a metric that does not apply to this question is not there."""
    seconds: Mapping[str, FiniteFloat] = field(default_factory=dict)
    """By stage, as the trace names them, and `total`. A stage looked up in a cache has the time that it once took."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """`passages` (of those that are kept), `in` and `out` (of a model that was asked)."""
    hits: tuple[Place, ...] = ()
    answer: str | None = None
    failed: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    """By metric that could not be had though it applies, why: a judge's reply that nobody can read, say."""
    content: str = ""
    """What was asked and what is right, by their hashes (`Question.content`)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "question": self.question, "scores": dict(self.scores), "seconds": dict(self.seconds),
            "tokens": dict(self.tokens), "hits": [list(hit) for hit in self.hits], "answer": self.answer,
            "failed": self.failed, "missing": dict(self.missing), "content": self.content,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Outcome:
        """What `to_dict` gave."""
        return cls(**{**plain, "hits": tuple((str(d), int(s), int(e), float(x)) for d, s, e, x in plain["hits"])})
