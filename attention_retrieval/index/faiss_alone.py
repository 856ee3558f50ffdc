"""faiss in one thread: engines are searched by a thread per head, which faiss's own threads would only disturb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fovea.rag.errors import require


@contextmanager
def faiss_alone(needed_by: str) -> Iterator[Any]:
    """The module, held to one thread as long as the block runs.

    The number belongs to the calling thread (an OpenMP internal control variable), so other threads keep theirs, and
    the caller's own is put back. Raises MissingExtra.
    """
    faiss = require("faiss", extra="faiss", needed_by=needed_by)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)
