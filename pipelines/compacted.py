"""What compacting a store came to."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Compacted:
    """How many vectors went, and how many caches of texts; the bytes of the store's folder, its index included, before
    and after.
    """

    vectors: int
    before: int
    after: int
    texts: int = 0


def bytes_in(folder: Path) -> int:
    """The sizes of all files below a folder; one that goes meanwhile counts nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
