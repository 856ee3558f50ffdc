"""What a file is called in a store: one name a file, however it is reached.

A file is known by its real path: links, `..`, another working directory and, where the file system folds case, another
case lead to the same one. It is *named* relative to the pipeline's folder where it lies below that, or is reached by a
link that does; else by its real path. A link to a file keeps its own name, since the target's often says nothing
(`blobs/5c0d...`).
"""

from __future__ import annotations

import os
from pathlib import Path


class RealPaths:
    """The real paths of files. Folders are resolved once and remembered."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def real(self, path: Path) -> str:
        """The real path of a file or folder, there or not: the same for all ways to it."""
        found = self.placed(path)
        return resolved(found) if os.path.islink(found) else found

    def placed(self, path: Path) -> str:
        """The real path of the folder, and in it the name of the file, which may be a link."""
        folder, name = os.path.split(whole(path))
        if folder not in self._folders:
            self._folders[folder] = resolved(folder)
        return os.path.join(self._folders[folder], name)


class Places(RealPaths):
    """Names of files for one pipeline's folder, and the way back."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self.base = Path(os.path.realpath(base))

    def path(self, name: str) -> Path:
        """Where the source `name` lies."""
        return self.base / name

    def name(self, path: Path) -> str:
        """What the file `path` is called."""
        found = Path(self.placed(path))
        for one in (found, Path(whole(path))):
            if one.is_relative_to(self.base):
                return one.relative_to(self.base).as_posix()
        return found.as_posix()


def whole(path: str | Path) -> str:
    """An absolute path that ends in a name; as it is given otherwise, links and all."""
    found = os.path.join(os.getcwd(), path)
    return found if os.path.basename(found) not in ("", ".", "..") else os.path.realpath(found)


def resolved(path: str) -> str:
    """The real path, in the case in which the folder lists it."""
    return _as_listed(os.path.realpath(path))


def _as_listed(path: str) -> str:
    root, *names = Path(path).parts
    folder = root
    for name in names:
        folder = os.path.join(folder, _listed(folder, name) if _folds(folder, name) else name)
    return folder


def _folds(folder: str, name: str) -> bool:
    """Whether the name in another case is the same file, as it is on the file systems of Windows and macOS."""
    try:
        other = name.swapcase()
        return other != name and os.path.samefile(os.path.join(folder, name), os.path.join(folder, other))
    except OSError:
        return False


def _listed(folder: str, name: str) -> str:
    try:
        names = os.listdir(folder)
    except OSError:
        return name
    return name if name in names else next((n for n in names if n.casefold() == name.casefold()), name)
