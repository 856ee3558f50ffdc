"""An answer as `fovea ask --json` and the studio write it, checked: what somebody sends may be anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt, ValidationError, model_validator

from fovea.rag.errors import DocumentError

FIX = 'fovea ask qa.yaml "question" --json > answer.json'
MOST = 100_000_000
"""Bytes. A larger file is no answer."""


class Cited(BaseModel):
    """A quote with its place."""

    n: int
    document: str = ""
    source: str = ""
    start: NonNegativeInt
    end: NonNegativeInt
    line: int | None = None
    page: int | None = None
    quote: str


class Said(BaseModel):
    """A sentence, `[start, end)` of the answer's text, with the numbers of its citations."""

    start: NonNegativeInt
    end: NonNegativeInt
    text: str = ""
    citations: list[int] = []


class Passage(BaseModel):
    """A chunk that came back."""

    id: str = ""
    document: str = ""
    source: str = ""
    start: NonNegativeInt
    end: NonNegativeInt
    page: int | None = None
    score: float = 0.0
    scores: dict[str, float] = {}
    text: str


class Step(BaseModel):
    """What a stage did."""

    name: str
    seconds: float = 0.0
    counts: dict[str, float] = {}
    warnings: dict[str, int] = {}
    notes: dict[str, Any] = {}
    hits: list[tuple[str, float, str]] = []
    dropped: dict[str, str] = {}


class Steps(BaseModel):
    """The trace."""

    stages: list[Step] = []


class AnswerFile(BaseModel):
    """The whole; other keys are passed over."""

    question: str = ""
    text: str
    reasoning: str = ""
    sentences: list[Said]
    citations: list[Cited]
    hits: list[Passage] = []
    trace: Steps | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AnswerFile:
        known, at = {one.n for one in self.citations}, 0
        for number, said in enumerate(self.sentences):
            if not at <= said.start <= said.end <= len(self.text):
                raise ValueError(f"sentence {number + 1} is not inside the text, behind the one before it")
            if lacking := set(said.citations) - known:
                raise ValueError(f"sentence {number + 1} cites {min(lacking)}, which is not among the citations")
            at = said.end
        return self


def read(text: str, name: str) -> AnswerFile:
    """The answer in a text; raises DocumentError, which says what is odd about `name`, for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"this is no JSON: {error}", where=name, fix=FIX) from None
    if isinstance(data, dict) and "text" not in data and "error" in data:
        raise DocumentError(f"this is an error, not an answer: {str(data['error'])[:400]}", where=name, fix=FIX)
    try:
        return AnswerFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DocumentError(
            f"this is no answer as `fovea ask --json` prints it: {f'{place}: ' if place else ''}{first['msg']}",
            where=name, fix=FIX,
        ) from None  # fmt: skip


def read_file(path: Path) -> AnswerFile:
    """The answer in a file."""
    if path.stat().st_size > MOST:
        raise DocumentError(f"this file has more than {MOST:,} bytes", where=str(path), fix=FIX)
    try:
        return read(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError:
        raise DocumentError("this file is not UTF-8", where=str(path), fix=FIX) from None
