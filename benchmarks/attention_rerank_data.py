"""Questions with the characters that answer them, over passages of some 100 tokens: what `attention_rerank.py` asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from fovea.rag.types import Document, Span

Part = Literal["chosen on", "reported"]


@dataclass(frozen=True)
class Asked:
    """A question, the document that answers it, where, and whether settings may be chosen on it."""

    id: str
    text: str
    document: str
    spans: tuple[Span, ...]
    part: Part

    def answered_by(self, document: str, start: int, end: int) -> bool:
        """Whether a span holds half of an answer, or lies in one by half."""
        if document != self.document:
            return False
        shared = (min(end, s.end) - max(start, s.start) for s in self.spans)
        return any(2 * both >= min(end - start, len(s)) for both, s in zip(shared, self.spans) if both > 0)


@dataclass(frozen=True)
class Set:
    """Documents and questions; those of half of the documents are for choosing on."""

    name: str
    documents: list[Document]
    asked: list[Asked]

    def some(self, part: Part, count: int) -> list[Asked]:
        """`count` questions of a part, by the hash of their ids: the first are the same whatever the count."""
        mine = [asked for asked in self.asked if asked.part == part]
        return sorted(mine, key=lambda asked: sha256(f"{self.name} {asked.id}".encode()).hexdigest())[:count]


def xquad(data: Path) -> Set:
    """XQuAD in English: a paragraph a document; chosen on the first half of the articles."""
    (path,) = (data / "qa/xquad_en").glob("*.json")
    articles = json.loads(path.read_text("utf-8"))["data"]
    documents, asked = [], []
    for a, article in enumerate(articles):
        part: Part = "chosen on" if 2 * a < len(articles) else "reported"
        for p, paragraph in enumerate(article["paragraphs"]):
            documents.append(Document(f"{a}-{p}", paragraph["context"], f"{a}-{p}.txt"))
            for row in paragraph["qas"]:
                start = row["answers"][0]["answer_start"]
                span = Span(start, start + len(row["answers"][0]["text"]))
                asked.append(Asked(row["id"], row["question"], f"{a}-{p}", (span,), part))
    return Set("xquad", documents, asked)


def spans(data: Path, name: str) -> Set:
    """A folder of `corpora/*.md` and `questions.jsonl`; chosen on every other document, from the second on."""
    home = data / "spans" / name
    paths = sorted((home / "corpora").glob("*.md"))
    documents = [Document(path.stem, path.read_bytes().decode(), path.name) for path in paths]
    parts: dict[str, Part] = {d.id: "chosen on" if n % 2 else "reported" for n, d in enumerate(documents)}
    return Set(name, documents, list(_spans(home, parts)))


def _spans(home: Path, parts: dict[str, Part]) -> Iterator[Asked]:
    for line in (home / "questions.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found = tuple(Span(one["start"], one["end"]) for one in row["references"])
        yield Asked(row["id"], row["question"], row["corpus"], found, parts[row["corpus"]])


def read(data: Path, name: str) -> Set:
    """A set by its name."""
    return xquad(data) if name == "xquad" else spans(data, name)
