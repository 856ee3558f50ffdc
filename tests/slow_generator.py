"""A generator that takes its time, and says when it began and when it was stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from fovea.rag.corpus import Corpus
from fovea.rag.generation import Generator, is_cancelled
from fovea.rag.types import Answer, Hit, Query

STARTED, STOPPED = threading.Event(), threading.Event()


class Slow(Generator, name="slow_of_tests"):
    """Writes a word every `seconds`, `words` of them, and notes in `stopped` when it was told to stop."""

    seconds: float = 0.05
    """Between two words."""
    words: int = 40
    """Of an answer."""

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The words."""
        STARTED.set()
        try:
            for number in range(self.words):
                if is_cancelled():
                    return
                time.sleep(self.seconds)
                yield f"word{number} "
        finally:
            if number + 1 < self.words:
                STOPPED.set()

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """Without citations."""
        return Answer(text)
