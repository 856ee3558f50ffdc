"""TimeQA: articles of Wikipedia, and questions about a time, each with the paragraph that answers (W. Chen et al., "A
dataset for answering time-sensitive questions", 2021).

An article is a Markdown document: `# Title`, `## Heading`, and its paragraphs, blank lines between them. The set gives
it as a list of paragraphs: the first is the title, one of at most eight words that is no list item is a heading. Chunks
are the paragraphs of more than eight words; short list items stay in the document and are no chunks.

Articles are divided, not questions alone: by the hash of their links a quarter to test, an eighth to develop on, the
rest to train on. A file whose name says test, val or dev is all to test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fovea.rag import trace
from fovea.rag.training.files import malformed
from fovea.rag.types import Chunk, Document, Query
from fovea.retrievers.collection import Collection, Judged, Split
from fovea.retrievers.collections.blocks import joined
from fovea.retrievers.collections.drawn import drawn

SHORT = 8
"""Words, up to which a paragraph is a heading or a bare list item."""
_HELD_OUT = ("test", "val", "dev")
Asked = Sequence[tuple[str, Sequence[int]]]
"""Questions, each with the numbers of the paragraphs that answer it."""


def is_timeqa(data: Any) -> bool:
    """Whether the JSON of a file is a list of articles with questions."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and {"link", "paras", "questions"} <= first.keys()


def read_timeqa(files: Mapping[Path, Any]) -> Collection:
    """The articles of all files, JSON by path, each once, and their questions; held-out files are read first.

    Questions that no chunk answers are left out and counted. Raises DocumentError for an entry without the fields it
    must have.
    """
    articles: dict[str, tuple[Document, Mapping[int, Chunk]]] = {}
    parts: dict[str, Split] = {}
    questions: list[Judged] = []
    count = 0
    for path in sorted(files, key=lambda p: (not _held_out(p), p)):
        for number, entry in enumerate(files[path]):
            try:
                link, paragraphs = str(entry["link"]), [str(p) for p in entry["paras"]]
                asked = [(str(q), [int(a["para"]) for a in found if a["answer"]]) for q, found in entry["questions"]]
            except (KeyError, TypeError, ValueError) as error:
                what = f"entry {number} is no article with questions: {type(error).__name__}: {error}"
                raise malformed(path, what) from None
            if link not in articles:
                articles[link] = _article(link, paragraphs)
                parts[link] = "test" if _held_out(path) else drawn(link)
            count += len(asked)
            questions += _judged(f"{path.stem} {number}", asked, articles[link][1], parts[link])
    trace.warn("questions that no text answers were left out", count - len(questions))
    documents = [document for document, _ in articles.values()]
    chunks = [chunk for _, found in articles.values() for chunk in found.values()]
    return Collection("timeqa", documents, chunks, questions, parts)


def _held_out(path: Path) -> bool:
    return any(part in path.name.lower() for part in _HELD_OUT)


def _article(link: str, paragraphs: Sequence[str]) -> tuple[Document, dict[int, Chunk]]:
    """The document, and its chunks by the number of their paragraph."""
    title = _bare(paragraphs[0]) if paragraphs else ""
    text, spans = joined([f"# {title}", *map(_block, paragraphs[1:])])
    document = Document(link, text, source=link, title=title, media_type="text/markdown")
    long = [number for number, paragraph in enumerate(paragraphs) if number and len(paragraph.split()) > SHORT]
    return document, {number: document.chunk(spans[number]) for number in long}


def _block(paragraph: str) -> str:
    short = len(paragraph.split()) <= SHORT
    return f"## {_bare(paragraph)}" if short and not paragraph.lstrip().startswith("-") else paragraph


def _bare(heading: str) -> str:
    """Without the full stop that the set puts behind headings."""
    return heading.strip().rstrip(" .")


def _judged(name: str, asked: Asked, chunks: Mapping[int, Chunk], split: Split) -> Iterator[Judged]:
    for number, (text, answers) in enumerate(asked):
        if relevant := {chunks[a].id: 1 for a in answers if a in chunks}:
            yield Judged(f"{name}.{number}", Query(text), relevant, split)
