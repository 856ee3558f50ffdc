"""BEIR and SQuAD, by the readers of `fovea.retrievers.collections`: the documents come along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.lookup import Standing
from fovea.rag.errors import DocumentError
from fovea.rag.training.files import malformed
from fovea.rag.types import Chunk
from fovea.retrievers.collection import Split
from fovea.retrievers.collections.beir import read_beir
from fovea.retrievers.collections.squad import read_squad


def beir(folder: Path, split: Split | None = None) -> QuestionSet:
    """Graded documents: the questions of one part, by default of `test`, or what there is of `dev`, of `train`.

    Raises DocumentError where that part has no questions, and what `read_beir` raises.
    """
    found = read_beir(folder)
    parts: tuple[Split, ...] = ("test", "dev", "train")
    there = [part for part in parts if any(q.split == part for q in found.questions)]
    part = split or next(iter(there), "test")
    if part not in there:
        raise DocumentError(f"no questions of the part {part}", where=str(folder), allowed=there)
    document = {chunk.id: chunk.document_id for chunk in found.chunks}
    questions = tuple(
        Question(
            q.id,
            q.query.text,
            relevant={document[key]: grade for key, grade in q.relevant.items()},
            itself=q.query.itself,
            where=str(folder / "queries.jsonl"),
        )
        for q in found.questions
        if q.split == part
    )
    return QuestionSet(found.name, questions, tuple(found.documents))


def squad(path: Path, data: Any) -> QuestionSet:
    """Spans of articles. Where annotators marked several answers, the first is the span, and all of them are right. One
    without its `answer_start` is looked up in its paragraph.

    Raises DocumentError for an answer without a place that does not stand in its paragraph.
    """
    found = read_squad({path: data})
    chunks = iter(found.chunks)
    questions = [
        question
        for article in data["data"]
        for paragraph in article["paragraphs"]
        for question in _asked(path, next(chunks), paragraph["qas"])
    ]
    return QuestionSet(found.name, tuple(questions), tuple(found.documents))


def _asked(path: Path, paragraph: Chunk, rows: list[dict[str, Any]]) -> Iterator[Question]:
    for row in rows:
        if row.get("is_impossible"):
            continue
        where = f"{path}: question {row['id']}"
        try:
            answers = [(a.get("answer_start"), str(a["text"])) for a in row["answers"]]
            starts = [None if start is None else int(start) for start, _ in answers]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise malformed(where, f"no answers of SQuAD: {type(error).__name__}: {error}") from None
        if not answers:
            raise malformed(where, "it has no answer, and does not say that it is impossible")
        gold = _gold(where, paragraph, starts[0], answers[0][1])
        told = tuple(dict.fromkeys(answer for _, answer in answers))
        yield Question(str(row["id"]), str(row["question"]), (gold,), answers=told, where=where)


def _gold(where: str, paragraph: Chunk, start: int | None, text: str) -> Gold:
    at, document = paragraph.start, paragraph.document_id
    if start is not None:
        return Gold(document, at + start, at + start + len(text), text)
    if not (found := Standing(paragraph.text).places(text)):
        raise malformed(where, f"the answer {text[:80]!r} does not stand in its paragraph")
    first, *others = [(document, at + span.start, at + span.end) for span in found]
    return Gold(*first, text=paragraph.text[found[0].start : found[0].end], elsewhere=tuple(others))
