"""Warnings of one call: each is printed once, at the end, with how often it came; none where it is to be quiet."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """The option `--quiet`, which every verb that may warn has."""
    parser.add_argument("--quiet", action="store_true", help="no progress bars, and no warnings")


@contextmanager
def counted(*, quiet: bool = False) -> Iterator[None]:
    """Count the warnings of the block, and print them when it ends, however it does, unless `quiet`."""
    log = logging.getLogger("fovea")
    _handler.counts.clear()
    log.addHandler(_handler)
    try:
        yield
    finally:
        log.removeHandler(_handler)
        if _handler.counts and not quiet:
            print(*_handler.lines(), sep="\n", file=sys.stderr)


def also(warnings: Mapping[str, int]) -> None:
    """These came up in other processes, as often: they are printed with the others, each kind once."""
    for message, times in warnings.items():
        _handler.counts[message] = max(times, _handler.counts[message])


def printed(warnings: Iterable[str]) -> None:
    """These were printed elsewhere, with their counts."""
    for message in warnings:
        _handler.counts.pop(message, None)


def print_now(*, quiet: bool = False) -> None:
    """Print the warnings so far, for work that goes on; they are not printed again."""
    if _handler.counts and not quiet:
        print(*_handler.lines(), sep="\n", file=sys.stderr, flush=True)
    _handler.counts.clear()
