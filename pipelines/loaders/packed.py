"""Zipped XML (Office, OpenDocument, EPUB): refused before anything is unpacked when it is none, locked, or a bomb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from fovea.rag.errors import DocumentError, require

if TYPE_CHECKING:
    from fovea.pipelines.loaders.file_loader import FileLoader

OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""How files of Office before 2007 begin, and newer ones that are protected by a password."""


@contextmanager
def package(path: Path, loader: FileLoader) -> Iterator[ZipFile]:
    """The archive that `path` is, checked: no member may be encrypted, and all of them unpacked must keep to the
    loader's `max_bytes` (no member gives more than its entry says). Raises DocumentError."""
    refuse_ole(path, loader)
    try:
        archive = ZipFile(path)
    except BadZipFile as error:
        raise DocumentError(
            f"cannot be read as {loader.format}: it is damaged or cut off ({error})",
            where=path.as_posix(),
            fix="copy it again from where it comes from, or save it again in the program that made it",
        ) from error
    with archive:
        if any(info.flag_bits & 1 for info in archive.infolist()):
            raise locked(path, loader)
        size = sum(info.file_size for info in archive.infolist())
        if size > loader.max_bytes:
            raise DocumentError(
                f"unpacked it takes {size:,} bytes, more than the limit of {loader.max_bytes:,}",
                where=path.as_posix(),
                fix=f"split it, or raise the limit in the pipeline: load: [{{use: {loader.name}, max_bytes: {size}}}]",
            )
        yield archive


def refuse_ole(path: Path, loader: FileLoader) -> None:
    """Raise DocumentError for a file in the container of old or locked Office files."""
    with path.open("rb") as file:
        if file.read(len(OLE)) == OLE:
            raise DocumentError(
                f"this is no {loader.format}, but a file of Office before 2007, or protected by a password",
                where=path.as_posix(),
                fix=f"save it as {path.suffix} without a password",
            )


def locked(path: Path, loader: FileLoader) -> DocumentError:
    """The error for a file that opens only with a password."""
    return DocumentError(
        f"encrypted: this {loader.format} opens only with a password",
        where=path.as_posix(),
        fix="save a copy without the password and ingest that",
    )


def member(archive: ZipFile, name: str, path: Path, loader: FileLoader) -> bytes:
    """The bytes of a member that every file of this format has; DocumentError without it."""
    try:
        return archive.read(name)
    except KeyError:
        raise DocumentError(
            f"this is no {loader.format}: it has no {name}",
            where=path.as_posix(),
            fix="rename it to the suffix of what it is, or save it again in the program that made it",
        ) from None


def xml(data: bytes, *, needed_by: str) -> Any:
    """The root element of XML: no network, no entities of the document's own, no trees deeper than libxml2 allows."""
    etree = require("lxml.etree", extra="files", needed_by=needed_by)
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))
