"""Judging: a language model asked for verdicts, in JSON that is read strictly."""

from __future__ import annotations

from typing import Any

from pipelines.evaluation.case import Texts


class Judging:
    """The judge's conversation."""

    def __init__(self, ask: Any, texts: Texts) -> None:
        self.ask, self.texts = ask, texts

    @classmethod
    def of(cls, judge: Any, texts: Texts) -> Judging:
        return cls(judge, texts)
