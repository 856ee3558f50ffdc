"""BEIR's layout, in which most retrieval sets are published (N. Thakur et al., "BEIR", 2021).

`corpus.jsonl` holds a text a line (`_id`, `title`, `text`, and a `metadata` of plain values if need be),
`queries.jsonl` a question a line (`_id`, `text`), `qrels/train.tsv`, `dev.tsv` and `test.tsv` which text answers which
question, with a grade; what is graded 0 or less does not answer. A row is a document of one chunk: the title, a line
break and the text. All questions are asked of the whole corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from fovea.rag import trace
from fovea.rag.errors import DocumentError
from fovea.rag.training.files import json_lines, malformed, read_text
from fovea.rag.types import Document, Query, Scalar, Span
from fovea.retrievers.collection import Collection, Judged, Split

Grades = Mapping[str, Mapping[str, int]]
"""By question, by text."""


def read_beir(folder: Path) -> Collection:
    """The collection of a folder, named as the folder is; questions in the order of `queries.jsonl`.

    Without questions and judgments it is a corpus alone. Raises DocumentError for rows that are damaged or named
    twice, an empty corpus, and where one of questions and judgments is missing; what does not fit together (judgments
    of texts or questions that are not there, questions without a text that answers) is counted as warnings.
    """
    rows = list(_rows(folder / "corpus.jsonl"))
    documents = [_document(place, key, row) for place, key, row in rows]
    kept = [d for d in documents if d.text]
    if not kept:
        raise malformed(folder / "corpus.jsonl", "the corpus is empty")
    trace.warn("texts of a corpus that are empty were left out", len(documents) - len(kept))
    given = sum(len(row.get("metadata") or {}) for _, _, row in rows)
    trace.warn("metadata that are no plain values were left out", given - sum(len(d.metadata) for d in documents))
    chunks = [d.chunk(Span(0, len(d.text))) for d in kept]
    ids = {c.document_id: c.id for c in chunks}
    name, tables = folder.resolve().name, sorted((folder / "qrels").glob("*.tsv"))
    if not tables and not (folder / "queries.jsonl").exists():
        trace.warn("a corpus has no questions")
        return Collection(name, kept, chunks)
    if not tables:
        raise DocumentError("questions without judgments", where=str(folder / "qrels"), fix="add qrels/test.tsv")
    asked = {key: Query(_text(place, row, "text")) for place, key, row in _rows(folder / "queries.jsonl")}
    judged = {table.stem: _grades(table, ids, asked) for table in tables}
    if odd := next((table for table in tables if table.stem not in get_args(Split)), None):
        raise DocumentError("it is named after no part", where=str(odd), got=odd.stem, allowed=get_args(Split))
    texts = {d.id: d.text for d in kept}
    questions = list(_questions(asked, judged, texts))
    trace.warn("questions that no text answers were left out", len(asked) - len(questions))
    return Collection(name, kept, chunks, questions)


def _rows(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Place, `_id` and row of each line."""
    seen: dict[str, str] = {}
    for place, row in json_lines(path):
        if not isinstance(row, dict) or not isinstance(key := row.get("_id"), str | int):
            raise malformed(place, "no row of BEIR: it has no _id")
        if (key := str(key)) in seen:
            raise malformed(place, f"the _id {key!r} was given before, at {seen[key]}")
        seen[key] = place
        yield place, key, row


def _text(place: str, row: Mapping[str, Any], field: str, default: str | None = None) -> str:
    value = row.get(field, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise malformed(place, f"{field!r} is no text: {value!r}")
    return value


def _document(place: str, key: str, row: Mapping[str, Any]) -> Document:
    title = _text(place, row, "title", "")
    text = f"{title}\n{_text(place, row, 'text')}".strip()
    given = row.get("metadata") or {}
    if not isinstance(given, dict):
        raise malformed(place, f"'metadata' is no mapping: {given!r}")
    metadata = {str(name): value for name, value in given.items() if isinstance(value, Scalar)}
    return Document(key, text, source=key, title=title, metadata=metadata)


def _grades(table: Path, ids: Mapping[str, str], asked: Mapping[str, Query]) -> Grades:
    """The grades over 0 of one table, by question, by chunk."""
    found: dict[str, dict[str, int]] = {}
    odd: Counter[str] = Counter()
    for number, line in enumerate(read_text(table).splitlines(), 1):
        question, *rest = line.split("\t")
        if not line.strip() or (number == 1 and not _is_grade(rest[-1:])):
            continue  # A heading, which some tables lack.
        if len(rest) != 2 or not _is_grade(rest[1:]):
            raise malformed(f"{table}:{number}", f"expected question, text and a whole number, got {line!r}")
        if question not in asked:
            odd["questions that are not in queries.jsonl"] += 1
        elif rest[0] not in ids:
            odd["texts that are not in the corpus"] += 1
        elif int(rest[1]) > 0:
            found.setdefault(question, {})[ids[rest[0]]] = int(rest[1])
    for what, times in odd.items():
        trace.warn(f"{table.name} judges {what}; they were left out", times)
    return found


def _is_grade(words: list[str]) -> bool:
    return bool(words) and words[0].strip().lstrip("-").isdecimal()


def _questions(asked: Mapping[str, Query], judged: Mapping[str, Grades], texts: Mapping[str, str]) -> Iterator[Judged]:
    """Each question once; one judged in several parts counts for the part that is held out. A document of its id and
    text is the question itself.
    """
    order: tuple[Split, ...] = ("test", "dev", "train")
    again = 0
    for key, query in asked.items():
        parts = [split for split in order if key in judged.get(split, {})]
        again += len(parts[1:])
        if parts:
            text = texts.get(key, "")
            same = bool(text) and query.text.strip() in (text, text.partition("\n")[2])
            yield Judged(key, replace(query, itself=key if same else ""), judged[parts[0]][key], parts[0])
    trace.warn("questions judged in several parts count for the one that is held out", again)
