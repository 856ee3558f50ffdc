"""What every loader must keep to, for ours and for anybody's: call these from tests, with files the loader reads.

check_loader(MyLoader(), path)              # on every good file
check_refusals(MyLoader(), path, folder)    # what a good file turns into by damage
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

from fovea.rag.errors import DocumentError, FoveaError
from fovea.rag.loader import Loader
from fovea.rag.types import Document, Span


def check_loader(loader: Loader, path: Path) -> list[Document]:
    """Load a good file and check the contract; returns its documents, for checks of one's own."""
    before = path.read_bytes()
    documents = list(loader.load(path))
    assert documents, f"{path.name}: a good file gives at least one document"
    assert list(loader.load(path)) == documents, "the same file gives the same documents"
    assert path.read_bytes() == before, "a loader never writes"
    ids = [d.id for d in documents]
    assert len(set(ids)) == len(ids), "document ids are unique"
    for document in documents:
        check_document(document, path)
    check_lazy(loader, path)
    return documents


def check_document(document: Document, path: Path) -> None:
    """One document: its names, its text, its pages, its metadata."""
    name = path.as_posix()
    assert document.source == name
    assert document.id == name or document.id.startswith(f"{name}#"), document.id
    assert document.text.strip(), "a document holds text"
    document.text.encode("utf-8")
    assert "\0" not in document.text
    assert document.title == document.title.strip()
    kind, _, subtype = document.media_type.partition("/")
    assert kind
    assert subtype
    for key, value in document.metadata.items():
        assert isinstance(key, str)
        assert isinstance(value, (str, int, float, bool)), f"{key}: {value!r} is no scalar"
        assert not isinstance(value, float) or math.isfinite(value), f"{key}: {value} is not finite"
    check_pages(document)


def check_pages(document: Document) -> None:
    """Page starts begin at 0, never go back, and lie in the text; each start is on its page."""
    pages = document.pages
    if not pages:
        assert document.page_at(0) is None
        return
    assert pages[0] == 0
    assert list(pages) == sorted(pages)
    assert pages[-1] <= len(document.text)
    for number, (start, end) in enumerate(zip(pages, (*pages[1:], len(document.text))), 1):
        if start < end:
            assert document.page_at(start) == document.page_at(end - 1) == number
            assert document.chunk(Span(start, end)).page == number


def check_lazy(loader: Loader, path: Path) -> None:
    """`load` reads nothing before the first document is asked for, and may be left at any time."""
    absent = loader.load(path.with_name(f"absent-{path.name}"))
    assert isinstance(absent, Iterator), "load returns an iterator"
    refused(loader, path.with_name(f"absent-{path.name}"))
    started = loader.load(path)
    next(started)
    del started


def check_refusals(loader: Loader, path: Path, folder: Path, *, seed: int = 0, rounds: int = 12) -> None:
    """Missing, a folder, empty, cut off, overwritten: each loads or is a DocumentError, never another exception."""
    suffix = "".join(path.suffixes)
    refused(loader, folder / f"missing{suffix}")
    (folder / f"folder{suffix}").mkdir()
    refused(loader, folder / f"folder{suffix}")
    (empty := folder / f"empty{suffix}").write_bytes(b"")
    assert "empty" in refused(loader, empty)
    (blank := folder / f"blank{suffix}").write_bytes(b" \r\n\n")
    refused(loader, blank)
    (noise := folder / f"noise{suffix}").write_bytes(random.Random(seed).randbytes(5000))
    refused(loader, noise)
    for number, data in enumerate(damaged(path.read_bytes(), seed, rounds)):
        (target := folder / f"damaged{number}{suffix}").write_bytes(data)
        error_of(loader, target)


def damaged(data: bytes, seed: int, rounds: int) -> Iterator[bytes]:
    """The file cut off somewhere, and with some bytes overwritten, in turn."""
    chance = random.Random(seed)
    for number in range(rounds):
        at = chance.randrange(len(data))
        junk = chance.randbytes(min(8, len(data) - at))
        yield data[:at] if number % 2 else data[:at] + junk + data[at + len(junk) :]


def refused(loader: Loader, path: Path) -> str:
    """The message of the DocumentError that loading `path` raises: it names the file and says what to do."""
    error = error_of(loader, path)
    assert isinstance(error, DocumentError), f"{path.name} should be refused with a DocumentError, got {error!r}"
    assert error.fix, f"the message says what to do: {error}"
    return str(error)


def error_of(loader: Loader, path: Path) -> FoveaError | None:
    """The error that loading `path` ends in, which names the file, or None; any other exception passes through."""
    caught = None
    try:
        for document in loader.load(path):
            check_document(document, path)
    except FoveaError as error:
        caught = error
    assert caught is None or path.name in str(caught), f"the message names the file: {caught}"
    return caught
