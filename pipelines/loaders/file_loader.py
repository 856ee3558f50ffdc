"""What every loader of files does the same way: refuse what is too large or empty, and turn any parser's fault into a
DocumentError that names the file."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import PositiveInt

from fovea.rag.component import SpeedOnly
from fovea.rag.errors import DocumentError, FoveaError
from fovea.rag.loader import Loader
from fovea.rag.trace import warn
from fovea.rag.types import Document

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that a parser may hand out but no store can keep: NUL, and halves of surrogate pairs."""


class FileLoader(Loader):
    """Base of the loaders here. A loader of one's own may derive from `fovea.rag.loader.Loader` alone."""

    format: ClassVar[str] = ""
    """What messages call this format."""

    max_bytes: SpeedOnly[PositiveInt] = 64_000_000
    """Refuse larger files, in bytes: they are a mistake more often than a document."""

    also: SpeedOnly[tuple[str, ...]] = ()
    """More suffixes to read with this loader, such as `.notes`."""

    @abstractmethod
    def read(self, path: Path) -> Iterator[Document]:
        """The documents of a file that is there and neither empty nor too large; may raise whatever its parser does."""

    def load(self, path: Path) -> Iterator[Document]:
        """The documents of one file, lazily. Raises DocumentError, whatever is wrong with the file."""
        empty = True
        try:
            self.check(path)
            for document in self.read(path):
                empty = False
                yield _storable(document)
        except FoveaError:
            raise
        except OSError as error:
            raise _unreadable(path, error) from error
        except Exception as error:  # Parsers raise anything on broken input; the cause stays attached.
            raise DocumentError(
                f"cannot be read as {self.format}: {type(error).__name__}: {error}",
                where=path.as_posix(),
                fix="open it in the program it comes from and save it again, or remove it",
            ) from error
        if empty:
            raise DocumentError("holds no text", where=path.as_posix(), fix="remove it, or put text into it")

    def check(self, path: Path) -> None:
        """Raise DocumentError for a file that is empty or larger than `max_bytes`."""
        size = path.stat().st_size
        if not size and path.is_file():
            raise DocumentError("the file is empty", where=path.as_posix(), fix="remove it, or put text into it")
        if size > self.max_bytes:
            raise DocumentError(
                f"{size:,} bytes are more than the limit of {self.max_bytes:,}",
                where=path.as_posix(),
                fix=f"split it, or raise the limit in the pipeline: load: [{{use: {self.name}, max_bytes: {size}}}]",
            )


def _unreadable(path: Path, error: OSError) -> DocumentError:
    if isinstance(error, FileNotFoundError):
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        return missing(path, siblings)
    return DocumentError(
        f"cannot be read: {error.strerror or error}", where=path.as_posix(), fix="check the file and its permissions"
    )


def missing(path: Path, siblings: list[str]) -> DocumentError:
    """The error for a path that is not there; the nearest of `siblings` is suggested without listing them all."""
    from fovea.rag.errors import nearest

    near = nearest(path.name, siblings)
    return DocumentError(
        "there is no such file or folder",
        where=path.as_posix(),
        fix=f"did you mean {path.with_name(near).as_posix()}?" if near else "check the spelling of the path",
    )


def _storable(document: Document) -> Document:
    text, replaced = UNSTORABLE.subn("\ufffd", document.text)
    if replaced:
        warn("characters that no store can keep (NUL, lone surrogates) were replaced by U+FFFD")
    title = UNSTORABLE.sub("\ufffd", document.title)
    metadata = {
        UNSTORABLE.sub("\ufffd", k): UNSTORABLE.sub("\ufffd", v) if isinstance(v, str) else v
        for k, v in document.metadata.items()
    }
    return replace(document, text=text, title=title, metadata=metadata)
