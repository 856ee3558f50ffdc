"""Our own form: a question a line, with spans of characters, graded documents, or reference answers.

    {"id": "wal", "question": "Does WAL work over a network?", "references": [{"source": "wal.html", "start": 1025,
     "end": 1135, "text": "All processes ... filesystem."}], "answers": ["No."], "as_of": "2024-05-01"}

A reference names its document by `source` or `document`; without either the question's own `source`, `document` or
`corpus` does. `text`, where it is given, must be what stands there; without `start` and `end` it is looked up in that
document, or in all where none is named, and a reference may be that text alone. `relevant` grades whole documents:
`{"wal.html": 2}`, or a list of names. `answer` is one reference answer, `answers` are several, any of which is right.
Other keys are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fovea.pipelines.evaluation.gold import Gold, Question
from fovea.rag.as_of import as_of
from fovea.rag.errors import DocumentError, QueryError, nearest
from fovea.rag.training.files import json_lines, malformed

GOLD = ("references", "relevant", "answers", "answer")
_DOCUMENT = ("document", "source", "corpus")


def read_jsonl(path: Path) -> Iterator[Question]:
    """The questions in their order; raises DocumentError with the line for anything that is amiss."""
    for number, (where, row) in enumerate(json_lines(path), 1):
        if not isinstance(row, dict):
            raise malformed(where, f"a question is an object of JSON, got {row!r}")
        yield _question(where, str(row.get("id", number)), row)


def _question(where: str, key: str, row: Mapping[str, Any]) -> Question:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise malformed(where, f"'question' is no text: {text!r}")
    found = Question(
        key,
        text,
        tuple(_span(where, row, one) for one in _list(where, row, "references")),
        _grades(where, row),
        tuple(_answers(where, row)),
        _time(where, row),
        where,
    )
    if not (found.spans or found.relevant or found.answers):
        odd = next((name for name in row if name not in GOLD and nearest(name, GOLD)), "")
        raise DocumentError(
            f"the question {key!r} has no gold: nothing says what is right",
            where=where,
            allowed=GOLD,
            got=odd,
            fix='add "references": [{"document": NAME, "text": "the words that answer"}]',
        )
    return found


def _list(where: str, row: Mapping[str, Any], field: str) -> list[Any]:
    value = row.get(field) or []
    if not isinstance(value, list):
        raise malformed(where, f"{field!r} is no list: {value!r}")
    return value


def _span(where: str, row: Mapping[str, Any], one: Any) -> Gold:
    one = {"text": one} if isinstance(one, str) else one
    if not isinstance(one, dict):
        raise malformed(where, f"a reference is an object with document, start and end, got {one!r}")
    document = next((v for given in (one, row) for k in _DOCUMENT if (v := given.get(k)) is not None), None)
    start, end, text = one.get("start"), one.get("end"), one.get("text", "")
    if start is None and end is None and isinstance(text, str) and text.strip():
        if not isinstance(document, str | None):
            raise malformed(where, f"the name of a document is no text: {document!r}")
        return Gold(document or "", text=text.strip())
    if start is None and end is None and "text" in one:
        raise malformed(where, f"the text of a reference is no text: {text!r}")
    if not isinstance(document, str) or not document:
        raise malformed(where, f"a reference names no document: {one!r}")
    if type(start) is not int or type(end) is not int or not 0 <= start < end:
        raise malformed(where, f"a reference needs whole numbers 0 <= start < end, got {start!r} and {end!r}")
    if not isinstance(text, str):
        raise malformed(where, f"the text of a reference is no text: {text!r}")
    if text and len(text) != end - start:
        raise malformed(where, f"[{start}, {end}) holds {end - start} characters, and its text {len(text)}: {text!r}")
    return Gold(document, start, end, text)


def _grades(where: str, row: Mapping[str, Any]) -> dict[str, int]:
    given = row.get("relevant") or {}
    grades = {name: 1 for name in given} if isinstance(given, list) else given
    if not isinstance(grades, dict) or not all(isinstance(k, str) and type(v) is int for k, v in grades.items()):
        raise malformed(where, f"'relevant' is no mapping from documents to whole numbers: {given!r}")
    return {name: grade for name, grade in grades.items() if grade > 0}


def _answers(where: str, row: Mapping[str, Any]) -> list[str]:
    given = [*_list(where, row, "answers"), *([row["answer"]] if row.get("answer") is not None else [])]
    if odd := next((a for a in given if not isinstance(a, str) or not a.strip()), None):
        raise malformed(where, f"a reference answer is no text: {odd!r}")
    return list(dict.fromkeys(a for a in given if a))


def _time(where: str, row: Mapping[str, Any]) -> datetime | None:
    try:
        return as_of(row.get("as_of"))
    except QueryError as error:
        raise malformed(where, error.what) from None
