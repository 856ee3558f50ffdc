"""What clients upload: a file is on disk under its name before it is taken in, and in the store before it is answered.

Killed between the two, the file lies in the folder and is taken in when the server starts the next time
(`take_in`); killed before, it was never there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import unicodedata
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from fovea.pipelines.documents_under import NoDocument
from fovea.pipelines.ingest_report import IngestReport
from fovea.pipelines.loaders.select import loader_for
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.problems import Problem, clean
from fovea.pipelines.sources.places import Places
from fovea.rag.errors import QueryError
from fovea.rag.types import Document

LONGEST_NAME = 200
"""Bytes of the name of a file."""
PARTIAL = ".upload-"
"""What the name of a file begins with as long as it is not whole; loaders pass over it."""
REFUSALS: dict[int | str, dict[str, Any]] = {
    403: {"description": "This server, or this key, only reads."},
    409: {"description": "Another process writes to the store."},
    422: {"description": "What was sent cannot be read."},
}


async def kept(pipeline: Pipeline, place: Path, name: str, content: IO[bytes]) -> dict[str, Any]:
    """Keep a file in the folder of uploads, and take it in; raises Problem for one that cannot be."""
    return await _to_its_end(_keep, pipeline, place, plain_name(name, pipeline), content)


async def added(pipeline: Pipeline, document: Document) -> dict[str, Any]:
    """Store a document that is no file."""
    return await _to_its_end(_add, pipeline, document)


async def deleted(pipeline: Pipeline, place: Path, name: str) -> str:
    """Delete a source and the file that was uploaded for it; returns its name."""
    return await _to_its_end(_delete, pipeline, place, name)


async def _to_its_end(work: Any, *args: Any) -> Any:
    """Writing is not given up half-way when the client goes."""
    return await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(work, *args)))


def plain_name(name: str, pipeline: Pipeline) -> str:
    """The name under which a file is kept; raises Problem for one that could lead elsewhere, DocumentError for one
    of unknown type."""
    plain = unicodedata.normalize("NFC", name)
    odd = any(not c.isprintable() or c in '/\\:*?"<>|' for c in plain)
    if (
        not plain
        or odd
        or plain[0] in ". "
        or plain[-1] in ". "
        or len(plain.encode("utf-8", "replace")) > LONGEST_NAME
    ):
        raise Problem(422, "this is no plain name of a file", where="file", fix="letters, digits, - and _, an ending")
    loader_for(Path(plain), pipeline.loaders)
    return plain


def _keep(pipeline: Pipeline, place: Path, name: str, content: IO[bytes]) -> dict[str, Any]:
    place.mkdir(parents=True, exist_ok=True)
    path, before = place / name, None
    if path.exists():
        before = path.with_name(f"{PARTIAL}before-{name}")
        shutil.copy2(path, before)
    _write_whole(path, content)
    try:
        try:
            report = pipeline.ingest([path])
        except BaseException:  # Another process writes, the disk is full: what is not answered does not stay.
            _file_back(path, before)
            raise
        if report.failed:
            _take_back(pipeline, path, before)
            raise Problem(422, clean(next(iter(report.failed.values()))), where="file")
    finally:
        if before is not None:
            before.unlink(missing_ok=True)
    return _told(Places(pipeline.base).name(path), report)


def _write_whole(path: Path, content: IO[bytes]) -> None:
    """The file as a whole or not at all, on disk when this returns."""
    with NamedTemporaryFile(dir=path.parent, prefix=PARTIAL, delete=False) as file:
        try:
            shutil.copyfileobj(content, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise
    with suppress(OSError):  # Not every system can.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _take_back(pipeline: Pipeline, path: Path, before: Path | None) -> None:
    """As it was before a file that cannot be read."""
    _file_back(path, before)
    if before is None:
        with suppress(QueryError):
            pipeline.remove(Places(pipeline.base).name(path))
    else:
        pipeline.ingest([path])


def _file_back(path: Path, before: Path | None) -> None:
    """The file that was there; none where there was none."""
    if before is None:
        path.unlink(missing_ok=True)
    else:
        os.replace(before, path)


def _add(pipeline: Pipeline, document: Document) -> dict[str, Any]:
    report = pipeline.add([document])
    if report.failed:
        raise Problem(422, clean(next(iter(report.failed.values()))), where="body")
    return _told(document.id, report)


def _told(name: str, report: IngestReport) -> dict[str, Any]:
    state = "added" if report.added else "changed" if report.changed or report.moved else "unchanged"
    return {"id": name, "state": state, "chunks": report.chunks}


def _delete(pipeline: Pipeline, place: Path, name: str) -> str:
    source = _source_of(pipeline, name)
    path = Places(pipeline.base).path(source)
    pipeline.remove(source)  # First: where this is refused, nothing is lost.
    if path.parent == place:
        path.unlink(missing_ok=True)
    return source


def _source_of(pipeline: Pipeline, name: str) -> str:
    """The source of this name, or that of the document of this id; raises NoDocument. Globs and folders are neither."""
    library = pipeline.corpus.library
    if library.source(name) is not None:
        return name
    if not library.holds(name):
        raise NoDocument(f"there is no document {name!r}", fix="the list of documents has the ids")
    return library.document(name).source


def take_in(pipeline: Pipeline, place: Path) -> None:
    """Take in what lies in the folder of uploads and was not taken in before a kill."""
    if place.is_dir():
        for left in place.glob(f"{PARTIAL}*"):
            left.unlink()
        if any(place.iterdir()):
            pipeline.ingest([place])
