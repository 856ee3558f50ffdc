"""Passages with questions and the answers people gave: SQuAD's JSON, or lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fovea.rag.errors import ConfigError

FORMS = 'SQuAD\'s JSON ({"data": [{"paragraphs": [...]}]}) or lines of {"context", "question", "answers"}'


class Record(NamedTuple):
    """A passage, and the questions on it with what answers each."""

    context: str
    asked: list[tuple[str, tuple[str, ...]]]


def read(path: Path) -> tuple[Record, ...]:
    """The records of a file, or of all .json and .jsonl files of a folder; raises ConfigError where there are none."""
    files = sorted(f for f in path.rglob("*") if f.suffix in (".json", ".jsonl")) if path.is_dir() else [path]
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for file in files:
        for context, question, answers in _rows(file):
            found.setdefault(context, []).append((question, tuple(dict.fromkeys(answers))))
    if not found:
        raise ConfigError("no questions with answers here", where=f"--data {path}", allowed=[FORMS])
    return tuple(Record(context, asked) for context, asked in found.items())


def _rows(file: Path) -> Iterator[tuple[str, str, list[str]]]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=f"--data {file}") from error
    lines = [(0, text)] if file.suffix == ".json" else list(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if line.strip():
            try:
                yield from _of(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                place = f"--data {file}:{number}" if number else f"--data {file}"
                what = f"not a record: {type(error).__name__}: {error}"
                raise ConfigError(what, where=place, allowed=[FORMS]) from error


def _of(found: Any) -> Iterator[tuple[str, str, list[str]]]:
    if "data" not in found:
        answers = found["answers"]
        if not isinstance(answers, list) or not all(isinstance(one, str) and one.strip() for one in answers):
            raise ValueError("answers must be a list of texts")
        if answers:
            yield str(found["context"]), str(found["question"]), answers
        return
    for article in found["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                answers = [one["text"] for one in asked["answers"] if one["text"].strip()]
                if answers:  # version 2 also has questions that cannot be answered
                    yield paragraph["context"], asked["question"], answers
