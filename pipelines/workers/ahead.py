"""Several tasks at once, and their results in the order of the tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    tasks: Iterable[T], submit: Callable[[T], Future[R] | None], most: int
) -> Iterator[tuple[T, Future[R] | None]]:
    """Each task with what `submit` gave for it, in order; at most `most` are begun before they are asked for."""
    begun: deque[tuple[T, Future[R] | None]] = deque()
    for task in tasks:
        begun.append((task, submit(task)))
        if len(begun) > most:
            yield begun.popleft()
    while begun:
        yield begun.popleft()
