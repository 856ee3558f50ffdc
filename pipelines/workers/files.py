"""Files that workers read ahead of the one who writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

from fovea.pipelines.workers.ahead import ahead
from fovea.pipelines.workers.local import Workers
from fovea.pipelines.workers.work import Read
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Document

READ_AHEAD = 4
"""Files that are given to each worker before they are waited for."""


class Unread(Exception):
    """Why a worker could not read a file, in words."""


def begun(
    files: Iterable[Path], to_read: Callable[[Path], str], workers: Workers | None
) -> Iterator[tuple[Path, Future[Read] | None]]:
    """Every file in order, and what a worker has begun to read of those that `to_read` gives a name."""
    if workers is None:
        yield from ((path, None) for path in files)
        return

    def begin(path: Path) -> Future[Read] | None:
        return workers.submit("read", path, name) if (name := to_read(path)) else None

    yield from ahead(files, begin, READ_AHEAD * workers.size)


def received(
    reading: Future[Read],
    cut: Callable[[Document, dict[str, str]], list[Chunk]],
    said: dict[str, str],
    trace: Trace,
) -> Iterator[tuple[Document, list[Chunk]]]:
    """The documents that a worker has read of a file, each with its chunks, which `cut` makes where the worker did not.
    Raises Unread.
    """
    read = reading.result()
    trace.add(read.stages)
    if read.unread:
        raise Unread(read.unread)
    said.update(read.said)
    for document, chunks in read.documents:
        yield document, cut(document, said) if chunks is None else chunks
