"""SQuALITY: stories of science fiction, and questions about them that four people answered at length (A. Wang et al.,
"SQuALITY: building a long-document summarization dataset the hard way", 2022).

A story is a document, as it stands. Chunks are runs of whole sentences of at most 150 words (some 200 tokens), from the
title on; what stands before it, of those who made the file, is in none.

The set does not say where in a story the answers lie, so `relevant` is a silver label, made by words alone:

    overlap(s, c) = sum of idf(w) over the words w of s that c holds / sum of idf(w) over the words w of s
    idf(w)        = ln((N + 1) / (n(w) + 1)), n(w) of the story's N chunks hold w

Every sentence of an answer points to the chunk of its story with which it overlaps most, if that is at least a quarter;
chunks that the answers of at least two people point to answer the question. Labels so made favour lexical retrieval.
"What is the plot of the story?", which every chunk answers, is left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fovea.rag import trace
from fovea.rag.sentences import sentences
from fovea.rag.tokens import words
from fovea.rag.training.files import malformed
from fovea.rag.types import Chunk, Document, Query, Span
from fovea.retrievers.collection import Collection, Judged, Split
from fovea.retrievers.collections.drawn import drawn

MOST_WORDS = 150
LEAST_OVERLAP, LEAST_PEOPLE = 0.25, 2
PLOT = "what is the plot of the story?"
_TITLE = re.compile(r"^[^\S\n]*(\S[^\n]{0,59})\n\s*by[^\S\n]+\w", re.IGNORECASE | re.MULTILINE)


def is_squality(data: Any) -> bool:
    """Whether the lines of a file are stories with questions."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and {"document", "questions", "metadata"} <= first.keys()


def read_squality(files: Mapping[Path, Any]) -> Collection:
    """The stories of all files, rows by path, each once; they are divided by the hash of their number at Gutenberg.

    Questions to which the answers point to no chunk are left out and counted. Raises DocumentError for a row without
    the fields it must have.
    """
    documents: list[Document] = []
    chunks: list[Chunk] = []
    questions: list[Judged] = []
    parts: dict[str, Split] = {}
    count = 0
    for path in sorted(files):
        for number, row in enumerate(files[path]):
            try:
                key, text = str(row["metadata"]["passage_id"]), str(row["document"])
                asked = [
                    (str(q["question_text"]), [str(r["response_text"]) for r in q["responses"]])
                    for q in row["questions"]
                    if str(q["question_text"]).strip().lower() != PLOT
                ]
            except (KeyError, TypeError) as error:
                raise malformed(path, f"row {number} is no story: {type(error).__name__}: {error}") from None
            if key in parts:
                continue
            parts[key] = drawn(key)
            documents.append(document := _document(key, text))
            chunks += (found := list(_chunks(document)))
            count += len(asked)
            questions += _judged(key, asked, found, parts[key])
    trace.warn("questions to which the answers point to no chunk were left out", count - len(questions))
    return Collection("squality", documents, chunks, questions, parts)


def _document(key: str, text: str) -> Document:
    title = _TITLE.search(text)
    return Document(key, text, source=key, title=title[1].strip() if title else "")


def _chunks(document: Document) -> Iterator[Chunk]:
    title = _TITLE.search(document.text)
    begin = title.start(1) if title else 0
    start, end, held = begin, begin, 0
    for sentence in sentences(document.text[begin:]):
        count = len(document.text[begin + sentence.start : begin + sentence.end].split())
        if held and held + count > MOST_WORDS:
            yield document.chunk(Span(start, end))
            held = 0
        if not held:
            start = begin + sentence.start
        end, held = begin + sentence.end, held + count
    if held:
        yield document.chunk(Span(start, end))


def _judged(
    key: str, asked: Sequence[tuple[str, Sequence[str]]], chunks: Sequence[Chunk], split: Split
) -> Iterator[Judged]:
    held = [set(words(chunk.text)) for chunk in chunks]
    counts = Counter(word for one in held for word in one)
    for number, (text, answers) in enumerate(asked):
        people = Counter(c for answer in answers for c in _pointed(answer, held, counts))
        if relevant := {chunks[c].id: 1 for c in sorted(people) if people[c] >= LEAST_PEOPLE}:
            yield Judged(f"{key}.{number}", Query(text), relevant, split)


def _pointed(answer: str, held: Sequence[set[str]], counts: Mapping[str, int]) -> set[int]:
    """The chunks, by number, that the sentences of one answer point to."""
    found = set()
    for span in sentences(answer):
        said = sorted(set(words(answer[span.start : span.end])))
        idf = {word: math.log((len(held) + 1) / (counts.get(word, 0) + 1)) for word in said}
        overlaps = [sum(idf[word] for word in said if word in one) for one in held]
        best = max(overlaps, default=0.0)
        if best > 0 and best >= LEAST_OVERLAP * sum(idf.values()):
            found.add(overlaps.index(best))
    return found
