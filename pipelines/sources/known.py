"""The files that a store knows, by real path and by content: what is new, moved, or there under another name."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from fovea.pipelines.sources.gone import lost
from fovea.pipelines.sources.patterns import matches
from fovea.pipelines.sources.places import Places
from fovea.retrievers.library.library import Library


class Known:
    """Read once when an ingestion begins; what was added without a file is left out."""

    def __init__(self, library: Library, places: Places) -> None:
        self.places = places
        self.real: dict[str, str] = {}
        """The real path of each source."""
        self._at: dict[str, list[str]] = defaultdict(list)
        self._holding: dict[str, list[str]] = defaultdict(list)
        for row in library.sources():
            if row.mtime_ns:
                real = self.real[row.name] = places.real(places.path(row.name))
                self._at[real].append(row.name)
                if row.digest:
                    self._holding[row.digest].append(row.name)

    def called(self, path: Path) -> tuple[str, list[str]]:
        """What a file is called, and other names under which the store has it: those of an older Fovea."""
        names = self._at.get(self.places.real(path), [])
        name = next((n for n in names if self.places.name(self.places.path(n)) == n), None)
        name = name or self.places.name(path)
        return name, [n for n in names if n != name]

    def moved(self, name: str, digest: str) -> str | None:
        """The vanished source whose content a new file `name` has, one of the same file name first; each once."""
        vanished = [n for n in self._holding.get(digest, ()) if n != name and lost(self.places.path(n))]
        if not vanished:
            return None
        own = os.path.basename(name)
        best = min(vanished, key=lambda n: (os.path.basename(n) != own, n))
        self._holding[digest].remove(best)
        return best

    def under(self, root: Path) -> Iterator[str]:
        """The sources that lie below a folder, are that file, or match that glob, whether still there or not."""
        real = self.places.real(root)
        below, pattern = real.rstrip(os.sep) + os.sep, real if glob.has_magic(real) else ""
        for name, place in self.real.items():
            ways = (place, self.places.path(name).as_posix())
            if real in ways or any(way.startswith(below) or (pattern and matches(way, pattern)) for way in ways):
                yield name
