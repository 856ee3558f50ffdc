"""SQuAD's form, in which XQuAD comes too: articles in paragraphs, and questions that a paragraph answers (P. Rajpurkar
et al., "SQuAD", 2016; M. Artetxe et al., "On the cross-lingual transferability of monolingual representations", 2020).

An article is a document, its paragraphs are the chunks. Articles of a file whose name says train are to train on, those
of one that says dev or test to test; those of any other are drawn by their place in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fovea.rag import trace
from fovea.rag.training.files import malformed
from fovea.rag.types import Chunk, Document, Query
from fovea.retrievers.collection import Collection, Judged, Split
from fovea.retrievers.collections.blocks import joined
from fovea.retrievers.collections.drawn import drawn


def is_squad(data: Any) -> bool:
    """Whether the JSON of a file holds articles of paragraphs."""
    articles = data.get("data") if isinstance(data, dict) else None
    return (
        isinstance(articles, list) and bool(articles) and isinstance(articles[0], dict) and "paragraphs" in articles[0]
    )


def read_squad(files: Mapping[Path, Any]) -> Collection:
    """All articles of all files, JSON by path, named as the first of these is.

    Questions that are said to have no answer are left out and counted. Raises DocumentError for an article without the
    fields it must have.
    """
    documents: list[Document] = []
    chunks: list[Chunk] = []
    questions: list[Judged] = []
    parts: dict[str, Split] = {}
    count = 0
    for path in sorted(files):
        for number, article in enumerate(files[path]["data"]):
            try:
                document, found = _article(f"{path.stem}/{number}", article)
                parts[document.id] = split = _split(path, document.id)
                questions += _judged(article, found, split)
                count += sum(len(paragraph["qas"]) for paragraph in article["paragraphs"])
            except (KeyError, TypeError) as error:
                what = f"article {number} is none of SQuAD: {type(error).__name__}: {error}"
                raise malformed(path, what) from None
            documents.append(document)
            chunks += found
    trace.warn("questions that no text answers were left out", count - len(questions))
    return Collection(min(files).stem, documents, chunks, questions, parts)


def _split(path: Path, key: str) -> Split:
    name = path.name.lower()
    if "train" in name:
        return "train"
    return "test" if any(part in name for part in ("test", "val", "dev")) else drawn(key)


def _article(key: str, article: Mapping[str, Any]) -> tuple[Document, list[Chunk]]:
    text, spans = joined([str(paragraph["context"]) for paragraph in article["paragraphs"]])
    document = Document(key, text, source=key, title=str(article.get("title", "")).replace("_", " "))
    return document, [document.chunk(span) for span in spans]


def _judged(article: Mapping[str, Any], chunks: list[Chunk], split: Split) -> Iterator[Judged]:
    for chunk, paragraph in zip(chunks, article["paragraphs"]):
        for row in paragraph["qas"]:
            if not row.get("is_impossible"):
                yield Judged(str(row["id"]), Query(str(row["question"])), {chunk.id: 1}, split)
