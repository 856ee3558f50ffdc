"""Heads side by side: threads that live as long as the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from os import cpu_count
from typing import TypeVar

T = TypeVar("T")


def side_by_side(do: Callable[[int], T], heads: Iterable[int], threads: int) -> list[T]:
    """`do` for every head, in threads; kernels let go of the interpreter's lock."""
    threads = threads or cpu_count() or 1
    work = list(heads)
    if threads == 1 or len(work) == 1:
        return [do(head) for head in work]

    def share(first: int) -> list[T]:
        return [do(head) for head in work[first::threads]]

    parts = list(_pool(threads).map(share, range(min(threads, len(work)))))
    return [parts[n % len(parts)][n // len(parts)] for n in range(len(work))]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="fovea-heads")
