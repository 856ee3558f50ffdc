"""Loader: from a file to documents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from fovea.rag.component import Component
from fovea.rag.types import Document


class Loader(Component, kind="loader"):
    """Reads one kind of file, known by its suffix."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Lower-case file suffixes this loader reads, with the dot."""

    def check(self, path: Path) -> None:
        """Raise DocumentError for a file that will not be read whatever it holds, before it is looked into."""

    @abstractmethod
    def load(self, path: Path) -> Iterator[Document]:
        """The documents of one file, lazily; raises DocumentError with the reason and what to do."""
