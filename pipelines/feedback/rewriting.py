"""A question in other words, for another retrieval: its telling words, and those of the heading it came close to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fovea.rag.corpus import Corpus
from fovea.rag.stems import COMMON
from fovea.rag.tokens import words
from fovea.rag.types import Chunk, Hit

ADDED = 12
"""The most words that title and heading add."""

_HEADING = re.compile(r"^#{1,6}[ \t]++(.+)$", re.MULTILINE)


def rewritten(question: str, best: Sequence[Hit], corpus: Corpus) -> str:
    """The words of `question` without those that tell nothing, then the new words of title and heading of the best
    hit; the question itself where that leaves nothing.
    """
    kept = [word for word in words(question) if word not in COMMON]
    around = " ".join(f"{hit.chunk.title} {heading(hit.chunk, corpus)}" for hit in best)
    added = [word for word in dict.fromkeys(words(around)) if word not in COMMON and word not in kept]
    return " ".join([*kept, *added[:ADDED]]) or question


def heading(chunk: Chunk, corpus: Corpus) -> str:
    """The Markdown heading that `chunk` stands under, or begins with; empty where there is none. O(document)."""
    text = corpus.document(chunk.document_id).text
    found = [match[1] for match in _HEADING.finditer(text, 0, chunk.end) if match.start() <= chunk.start]
    return (found[-1].rstrip(" \t#") or found[-1][:1]) if found else ""
