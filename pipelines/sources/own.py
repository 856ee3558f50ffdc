"""What Fovea itself has written into a folder of documents: stores, and files that say that they are ours."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

from fovea.rag import registry
from fovea.rag.corpus import VectorStore
from fovea.retrievers.library.library import Library

MARKS = (
    b"$schema=fovea.schema.json",
    b"# Written by fovea",
    b'"$comment": "Written by fovea',
    b'name="generator" content="Fovea"',
)
"""What the beginnings of a pipeline's YAML, of a sweep's best, of the schema for editors and of a report say."""
SUFFIXES = (".yaml", ".yml", ".json", ".html")
BEGINNING = 1000
"""Bytes that are looked at."""


class Own:
    """Tells what is ours from documents. `store` is the folder of the pipeline's own store, if it is known."""

    def __init__(self, store: Path | None = None) -> None:
        self.store = os.path.realpath(store) if store else None

    def is_store(self, folder: Path) -> bool:
        """Whether a folder is a store: the pipeline's own, or one that has the mark of a library."""
        return Library.marked(folder) or (self.store is not None and os.path.realpath(folder) == self.store)

    def documents(self, names: list[str]) -> list[str]:
        """What lies in the folder of a store besides the store: someone keeps documents there."""
        ours = [*Library.FILES, *(store.folder for store in _stores())]
        return [name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in ours)]

    def is_part(self, path: str) -> bool:
        """Whether a real path lies in the files of the pipeline's store: an older Fovea took those for documents."""
        if self.store is None or not path.startswith(self.store + os.sep):
            return False
        first = path[len(self.store) + 1 :].split(os.sep)[0]
        return first != "sets" and not self.documents([first])

    def wrote(self, path: Path) -> bool:
        """Whether a file says at its beginning that it is ours."""
        if path.suffix.lower() not in SUFFIXES:
            return False
        try:
            with path.open("rb") as file:
                beginning = file.read(BEGINNING)
        except OSError:
            return False
        return any(mark in beginning for mark in MARKS)


def _stores() -> list[type[VectorStore]]:
    return [c for c in registry.components("store").values() if issubclass(c, VectorStore)]
