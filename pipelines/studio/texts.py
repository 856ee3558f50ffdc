"""Documents as the page reads them: cut into blocks, fetched in windows, searched. The last few are kept."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.types import Document

BLOCK = 4_000
"""Characters that the page lays out at once."""
KEPT = 4
"""Documents in memory: what is read is read in many small windows."""
FOUND = 2_000
"""Places at most that a search in a document names; more are counted."""


class Texts:
    """Whole documents of several pipelines, the last `KEPT` of them kept; safe for several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, str], Document] = OrderedDict()
        self._lock = threading.Lock()

    def document(self, pipeline: Pipeline, document_id: str) -> Document:
        """A document as the store has it now; raises QueryError for an unknown id."""
        # Locked also while it is read: a page asks for several windows of it at once.
        with pipeline.reading() as corpus, self._lock:
            key = str(pipeline.spec.store.path), corpus.version, document_id
            if (found := self._kept.get(key)) is None:
                found = self._kept[key] = corpus.document(document_id)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found


def blocks(text: str, size: int = BLOCK) -> list[int]:
    """Where the blocks of a text begin: each has at most `size` characters, and ends with a paragraph where one ends in
    its second half, else with a line, else with a word.
    """
    starts, at = [0], 0
    while len(text) - at > size:
        low, high = at + size // 2, at + size
        at = next((end + len(mark) for mark in ("\n\n", "\n", " ") if (end := text.rfind(mark, low, high)) >= 0), high)
        starts.append(at)
    return starts


def find(text: str, wanted: str) -> tuple[int, list[int]]:
    """How often a text holds `wanted`, capitals aside, and where the first `FOUND` begin."""
    places = [match.start() for match in re.finditer(re.escape(wanted), text, re.IGNORECASE)] if wanted else []
    return len(places), places[:FOUND]
