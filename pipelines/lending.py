"""An open store, lent to the questions that read in it: it is closed when nobody wants it and the last has given it
back, so that no question loses its store on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

from fovea.retrievers.corpus import LibraryCorpus


class Lending:
    """A corpus and how many read in it."""

    def __init__(self, corpus: LibraryCorpus) -> None:
        self.corpus, self._out, self._wanted, self._changed = corpus, 0, True, threading.Condition()

    def lend(self) -> Callable[[], None]:
        """Count a reader more; what is given back is to be called once, when it is done."""
        with self._changed:
            self._out += 1
        return self._given_back

    def _given_back(self) -> None:
        with self._changed:
            self._out -= 1
            self._changed.notify_all()
            last = not (self._out or self._wanted)
        if last:
            self._close()

    def let_go(self) -> None:
        """Close it now, or when the last reader is done."""
        with self._changed:
            self._wanted, idle = False, not self._out
        if idle:
            self._close()

    def idle(self, seconds: float) -> bool:
        """Wait until nobody reads, so long at most; whether that came to be."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._out, seconds)

    def _close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.corpus.library.close)
            stack.callback(self.corpus.index.close)
