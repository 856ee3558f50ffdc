"""Globs over files: what a pattern matches, with each folder entered once, however many links lead round in circles."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

PASSED_BY = ("__pycache__", "node_modules")
"""Folders passed by inside a named folder, besides hidden ones (`.git`, `.venv`, `.fovea`) and Word's `~$` locks."""


def passed_by(name: str) -> bool:
    """Whether a name inside a folder is one that is not read."""
    return name.startswith((".", "~$")) or name in PASSED_BY


def matched(pattern: Path, closed: Callable[[Path], bool] = lambda folder: False) -> list[Path]:
    """What a glob matches, sorted: `**` is a folder with all below it. What would be passed by in a folder is left out,
    and nothing is looked for in folders that are `closed`, unless the pattern names them without `*`.
    """
    parts = pattern.parts
    start = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    found = [Path(*parts[:start])]
    for n, part in enumerate(parts[start:], start):
        if n > start and glob.has_magic(parts[n - 1]):
            found = [path for path in found if not closed(path)]
        found = list(_once(_step(found, part, closed)))
    return sorted(found)


def _step(folders: Iterable[Path], part: str, closed: Callable[[Path], bool]) -> Iterator[Path]:
    """What one part of a pattern matches in some folders."""
    entered = set[object]()
    for folder in folders:
        if part == "**":
            yield from _below(folder, entered, closed)
        elif glob.has_magic(part):
            yield from (folder / name for name in _names(folder) if fnmatchcase(name, part))
        elif os.path.lexists(folder / part):
            yield folder / part


def _below(folder: Path, entered: set[object], closed: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder and the folders below it, those behind links last."""
    if (key := _key(folder)) in entered or not os.path.isdir(folder):
        return
    entered.add(key)
    yield folder
    for path in sorted((folder / name for name in _names(folder)), key=lambda p: (p.is_symlink(), p.name)):
        if os.path.isdir(path) and not closed(path):
            yield from _below(path, entered, closed)


def _once(paths: Iterable[Path]) -> Iterator[Path]:
    """Each folder under one of its names; files as they are."""
    known = set[object]()
    for path in sorted(paths, key=lambda p: (p.is_symlink(), p)):
        if (key := _key(path)) not in known:
            known.add(key)
            yield path


def _key(path: Path) -> object:
    """The same for all ways to one folder."""
    if not os.path.isdir(path):
        return path
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not passed_by(name)]
    except OSError:
        return []
