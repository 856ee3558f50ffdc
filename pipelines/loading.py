"""A file's documents as its loader gives them, timed, and what is said of a file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fovea.rag import trace
from fovea.rag.errors import FoveaError
from fovea.rag.loader import Loader
from fovea.rag.trace import Trace
from fovea.rag.types import Document


def loaded(path: Path, name: str, loader: Loader, stages: Trace) -> Iterator[Document]:
    """The documents of a file, whose source is called `name`."""
    with stages.stage("load") as load:
        documents = loader.load(path)
    while True:
        with stages.stage("load"):
            document = next(documents, None)
        if document is None:
            return
        tail = document.id.removeprefix(path.as_posix())
        document = replace(document, id=name + tail, source=name)
        load.count(documents=1, characters=len(document.text))
        yield document


def reason(error: Exception, path: Path, name: str) -> str:
    """Why a file was not read, under the name by which people know it. A parser may raise anything: the file gets the
    blame, the others go on.
    """
    if isinstance(error, FoveaError):
        if path.as_posix() in error.where:
            error.where = error.where.replace(path.as_posix(), name)
        else:
            error.at(name)
        return str(error)
    if isinstance(error, OSError):
        return f"{name}: cannot be read: {error.strerror or error}"
    trace.log.debug("%s", name, exc_info=error)
    return f"{name}: {type(error).__name__}: {error}"
