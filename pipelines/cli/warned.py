"""Warnings of one call: each is printed once, at the end, with how often it came."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fovea.rag.printable import printable


class Warned(logging.Handler):
    """Counts what is logged as a warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.counts[getattr(record, "warning", record.getMessage())] += getattr(record, "times", 1)

    def lines(self) -> Iterator[str]:
        """A line for each, in the order in which they came."""
        for message, times in self.counts.items():
            yield printable(f"warning: {message}" + (f" ({times} times)" if times > 1 else ""))


_handler = Warned()


@contextmanager
def counted() -> Iterator[None]:
    """Count the warnings of the block, and print them when it ends, however it does."""
    log = logging.getLogger("fovea")
    _handler.counts.clear()
    log.addHandler(_handler)
    try:
        yield
    finally:
        log.removeHandler(_handler)
        print(*_handler.lines(), sep="\n", end="\n" if _handler.counts else "", file=sys.stderr)


def printed(warnings: Iterable[str]) -> None:
    """These were printed elsewhere, with their counts."""
    for message in warnings:
        _handler.counts.pop(message, None)
