"""Changes found by looking: for disks that tell of none, and for what links in a folder lead to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from threading import Event


def polled(
    folders: Sequence[str], concerns: Callable[[str], bool], every: float, tick: float, stop: Event
) -> Iterator[set[str]]:
    """The files that were added, changed or deleted below `folders`, looked at each `every` seconds; nothing, each
    `tick` seconds, in between. O(files) a look.
    """
    before, waited = _stamps(folders, concerns), 0.0
    while not stop.wait(min(tick, every)):
        waited += min(tick, every)
        if waited < every:
            yield set()
            continue
        after, waited = _stamps(folders, concerns), 0.0
        yield {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        before = after


def _stamps(folders: Sequence[str], concerns: Callable[[str], bool]) -> dict[str, tuple[int, int, int]]:
    """What tells one state of a file from another; each folder is entered once, by however many links."""
    found, entered = dict[str, tuple[int, int, int]](), set[tuple[int, int]]()
    for root in folders:
        for folder, folders_within, names in os.walk(root, followlinks=True):
            key = _stat(folder)[:2]
            if key in entered:
                folders_within.clear()
                continue
            entered.add(key)
            folders_within[:] = [name for name in folders_within if concerns(os.path.join(folder, name))]
            paths = (os.path.join(folder, name) for name in names)
            found |= {path: _stat(path)[1:] for path in paths if concerns(path)}
    return found


def _stat(path: str) -> tuple[int, int, int, int]:
    """Device, number, time and size; zeros where it cannot be looked at."""
    try:
        stat = os.stat(path)
    except OSError:
        return 0, 0, 0, 0
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
