"""Files that are no longer there, and when that is rather a folder that is not mounted."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fovea.pipelines.sources.globs import matched
from fovea.rag.errors import DocumentError
from fovea.rag.printable import counted

SOME, MANY = 2, 10
"""An ingest without `--forget` keeps the sources of a folder that stands empty, if it had so many; and more than half
of a folder's sources, if these are so many."""


def gone(path: Path) -> bool:
    """Whether there is certainly no such file; one that may not be looked at is not gone."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def lost(path: Path) -> bool:
    """Whether there is certainly no such file, be it that a folder has its name now."""
    return gone(path) or (os.path.isdir(path) and not os.path.islink(path))


def there(path: Path) -> bool:
    """Whether a file, a folder or a match of a glob may be there."""
    return not gone(path) or (glob.has_magic(str(path)) and bool(matched(path)))


def by_folder(paths: Iterable[Path]) -> dict[Path, int]:
    """How many of the `paths`, all gone, went with each folder: the uppermost that is gone too, or the file alone."""
    counts: dict[Path, int] = defaultdict(int)
    for path in paths:
        while gone(path.parent):
            path = path.parent
        counts[path] += 1
    return dict(sorted(counts.items()))


def suspicious(root: Path, there: int, vanished: Sequence[Path]) -> str:
    """Why `vanished` files of `root`, where `there` others still are, may be back soon; or ""."""
    emptied: dict[Path, int] = defaultdict(int)
    for path in vanished:
        emptied[_nearest(path)] += 1
    for folder, n in emptied.items():
        if n >= SOME and _empty(folder):
            return f"{folder.as_posix()} is empty, and the store has {counted(n, 'sources')} from it"
    if len(vanished) >= MANY and len(vanished) > there:
        files = counted(len(vanished) + there, "files")
        return f"{root.as_posix()} has lost {len(vanished)} of the {files} that the store knows"
    return ""


def _nearest(path: Path) -> Path:
    """The nearest folder above that is still there."""
    folder = path.parent
    while gone(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _empty(folder: Path) -> bool:
    try:
        return all(name.startswith(".") for name in os.listdir(folder))
    except OSError:
        return False


def not_there(root: Path, sources: int) -> DocumentError:
    """The error for naming a folder or file that is gone, from which the store has sources."""
    return DocumentError(
        f"there is no such file or folder, and the store has {counted(sources, 'sources')} from it; they stay",
        where=root.as_posix(),
        fix="mount it or put it back; or, to remove them: fovea ingest PIPELINE.yaml "
        f"{root.as_posix()} --forget; if it was moved, ingest the new place and they follow",
    )


def kept_back(reasons: Sequence[str], roots: Sequence[Path]) -> DocumentError:
    """The error for an ingest that would remove too much."""
    return DocumentError(
        f"{'; '.join(reasons)}: is it not mounted? They stay in the store; all other changes were made",
        where=", ".join(root.as_posix() for root in roots),
        fix="mount it or put the files back; or, to remove them: fovea ingest PIPELINE.yaml "
        f"{' '.join(root.as_posix() for root in roots)} --forget",
    )
