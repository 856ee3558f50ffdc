"""TREC: a folder with `topics.tsv` (question's id, tab, question) and `qrels`, `qrels.txt` or `qrels.tsv`, each line
`id iteration document grade` between white space, as `trec_eval` reads it. Documents are named as the store names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fovea.pipelines.evaluation.gold import Question
from fovea.rag import trace
from fovea.rag.errors import DocumentError
from fovea.rag.training.files import malformed, read_text

QRELS = ("qrels", "qrels.txt", "qrels.tsv")


def read_trec(folder: Path) -> Iterator[Question]:
    """The questions in the order of the topics; those without a grade over 0 are left out and counted.

    Raises DocumentError with the line for a row that is damaged, and for judgments of a question that is not there.
    """
    table = next((folder / name for name in QRELS if (folder / name).is_file()), None)
    if table is None:
        raise DocumentError("questions without judgments", where=str(folder), allowed=QRELS)
    topics = dict(_topics(folder / "topics.tsv"))
    grades = _grades(table, topics)
    trace.warn("questions that no document answers were left out", len(topics) - len(grades))
    for key, (where, text) in topics.items():
        if key in grades:
            yield Question(key, text, relevant=grades[key], where=where)


def _topics(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    seen: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        key, tab, text = line.partition("\t")
        if not tab or not key.strip() or not text.strip():
            raise malformed(where, f"expected an id, a tab and a question, got {line!r}")
        if key in seen:
            raise malformed(where, f"the id {key!r} was given before, at {seen[key]}")
        seen[key] = where
        yield key.strip(), (where, text.strip())


def _grades(path: Path, topics: Mapping[str, object]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not (row := line.split()):
            continue
        where = f"{path}:{number}"
        if len(row) != 4 or not row[3].lstrip("-").isdecimal():
            raise malformed(where, f"expected id, iteration, document and a whole number, got {line!r}")
        if row[0] not in topics:
            raise DocumentError(
                f"topics.tsv has no question {row[0]!r}", where=where, got=row[0], allowed=[*topics][:20]
            )
        if int(row[3]) > 0:
            found.setdefault(row[0], {})[row[2]] = int(row[3])
    return found
