"""Which files to read, and with which loader."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fovea.pipelines.loaders.file_loader import missing
from fovea.pipelines.sources.globs import matched, passed_by
from fovea.pipelines.sources.own import Own
from fovea.pipelines.sources.places import RealPaths
from fovea.rag.errors import DocumentError
from fovea.rag.loader import Loader
from fovea.rag.trace import warn

NAMED = 1000
"""Files of unknown type that are named; all are counted."""


def loader_for(path: Path, loaders: Iterable[Loader]) -> Loader:
    """The first loader that reads the suffix of `path`. DocumentError, with the suffixes there are, if none does."""
    loaders = tuple(loaders)
    if found := find(path, loaders):
        return found
    raise DocumentError(
        f"no loader reads files of type {path.suffix!r}" if path.suffix else "no loader reads files without a suffix",
        where=path.as_posix(),
        allowed=sorted({s for loader in loaders for s in suffixes(loader)}),
        got=path.suffix,
        fix="convert it, or have a loader read its suffix too: "
        f"load: [{{use: text, also: [{path.suffix or '.suffix'}]}}]",
    )


def find(path: Path, loaders: Iterable[Loader]) -> Loader | None:
    """The first loader that reads the suffix of `path`, or None. `.tar.gz` is found before `.gz`."""
    name = path.name.lower()
    fitting = ((len(s), loader) for loader in loaders for s in suffixes(loader) if name.endswith(s) and name != s)
    return max(fitting, key=lambda pair: pair[0], default=(0, None))[1]


def suffixes(loader: Loader) -> tuple[str, ...]:
    """The suffixes a loader reads, those given to it in the settings included, in lower case."""
    return (*loader.suffixes, *(s.lower() for s in getattr(loader, "also", ())))


class Selection:
    """The files that `paths` (files, folders, globs) stand for.

    A path that is not there, a glob without a match, and a file named although no loader reads it are DocumentErrors,
    before anything is read. Inside folders, files of unknown type are counted by suffix in `skipped` and the first
    of them named in `unknown`, while `files` runs; stores, and files that Fovea wrote itself, are passed by. `store` is
    the folder of the pipeline's own.
    """

    def __init__(self, paths: Iterable[str | Path], loaders: Sequence[Loader], store: Path | None = None) -> None:
        self.loaders, self._own = tuple(loaders), Own(store)
        self.folders: list[Path] = []
        """The folders among the paths, those that globs matched included."""
        self.unread: dict[Path, str] = {}
        """Folders that could not be listed, with the reason."""
        self.skipped: Counter[str] = Counter()
        self.unknown: list[Path] = []
        self._roots: list[tuple[Path, bool]] = []
        for path in map(Path, paths):
            self._add(path)

    def files(self) -> Iterator[Path]:
        """Every file once, in the order of the paths, sorted inside folders; follows links, and no folder twice."""
        self.skipped.clear()
        self.unknown.clear()
        self.unread.clear()
        walked: set[tuple[int, int]] = set()
        places, given = RealPaths(), set[str]()
        for root, named in self._roots:
            for path in self._walk(root, walked, named=True) if root.is_dir() else (root,):
                if (real := places.real(path)) in given:
                    continue
                given.add(real)
                if named or self._readable(path):
                    yield path

    def _add(self, path: Path) -> None:
        if os.path.isdir(path):
            self.folders.append(path)
            self._roots.append((path, False))
        elif os.path.lexists(path):
            if os.path.exists(path) and not os.path.isfile(path):
                raise DocumentError("neither a file nor a folder", where=path.as_posix(), fix="name a file")
            loader_for(path, self.loaders)
            self._roots.append((path, True))
        elif glob.has_magic(str(path)):
            if not (matches := matched(path, self._own.is_store)):
                raise DocumentError("no file matches", where=path.as_posix(), fix="check the pattern")
            self.folders += [match for match in matches if match.is_dir()]
            self._roots += [(match, False) for match in matches]
        else:
            raise missing(path, os.listdir(path.parent) if os.path.isdir(path.parent) else [])

    def _readable(self, path: Path) -> bool:
        """Whether a file found in a folder is one to read; a link that leads nowhere is, so that its row says so."""
        regular = path.is_file() or (path.is_symlink() and not path.exists())
        if regular and find(path, self.loaders):
            return not self._own.wrote(path)
        self.skipped[path.suffix.lower()] += 1
        self.unknown += [path] if len(self.unknown) < NAMED else []
        return False

    def _walk(self, folder: Path, walked: set[tuple[int, int]], *, named: bool = False) -> Iterator[Path]:
        """The files below a folder, links after what they may lead to."""
        try:
            stat = folder.stat()
            if (stat.st_dev, stat.st_ino) in walked:
                return
            walked.add((stat.st_dev, stat.st_ino))
            names = sorted(name for name in os.listdir(folder) if not passed_by(name))
        except OSError as error:
            self.unread[folder] = error.strerror or str(error)
            warn(f"folder {folder.name}: not read: {error.strerror}")
            return
        if self._own.is_store(folder):
            names = self._beside_store(folder, names, named)
        paths = [folder / name for name in names]
        for path in sorted(paths, key=lambda p: (p.is_symlink() and os.path.exists(p), p.name)):
            if os.path.isdir(path):
                yield from self._walk(path, walked)
            else:
                yield path

    def _beside_store(self, folder: Path, names: list[str], named: bool) -> list[str]:
        """What is read in the folder of a store: documents that lie beside it, if the folder was named."""
        others = self._own.documents(names)
        if others and not named:
            warn(f"{folder.name} is a store: {len(others)} other things in it are not read unless it is named")
        return others if named else []
