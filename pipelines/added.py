"""What a document must be that is brought from Python: a name, a text, and metadata that filters can compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from math import isfinite
from typing import Any

from fovea.rag.errors import DocumentError
from fovea.rag.types import Document, Scalar

_FIXES = {
    "list": "join its items into one text, for contains(), or give each a field of its own",
    "NoneType": "leave the field out",
    "dict": "give each of its entries a field of its own, such as 'author.name'",
}


def each(documents: Any) -> Iterable[Any]:
    """The documents, or the one; raises DocumentError for what can be neither."""
    if isinstance(documents, Document):
        return (documents,)
    if isinstance(documents, (str, bytes, Mapping)) or not isinstance(documents, Iterable):
        fix = "add([Document(id, text)]); files and folders are for ingest"
        raise DocumentError(f"expected documents, got {_described(documents)}", where="add", fix=fix)
    return documents


def checked(document: Any) -> Document:
    """The document as it is stored: dates in its metadata as ISO texts, `source` its id where it has none. Raises
    DocumentError that names the document and the field for anything that cannot be stored as it is.
    """
    if not isinstance(document, Document):
        raise DocumentError(f"expected a Document, got {_described(document)}", where="add", fix="Document(id, text)")
    where = f"the document {document.id!r}"
    if not isinstance(document.id, str) or not document.id.strip():
        raise DocumentError("its id is no text, or an empty one", where=where, fix="give each document its own id")
    for name in ("text", "source", "title", "media_type"):
        if not isinstance(value := getattr(document, name), str):
            raise DocumentError(f"its field {name!r} is no text but {_described(value)}", where=where)
    if not document.text.strip():
        raise DocumentError("its text is empty", where=where, fix="leave it out, or put text into it")
    if not isinstance(document.metadata, Mapping):
        raise DocumentError(f"its metadata are no mapping but {_described(document.metadata)}", where=where)
    _check_pages(document, where)
    metadata = {name: _scalar(name, value, where) for name, value in document.metadata.items()}
    return replace(document, source=document.source or document.id, metadata=metadata, pages=tuple(document.pages))


def _check_pages(document: Document, where: str) -> None:
    pages = document.pages
    whole = isinstance(pages, (tuple, list)) and all(type(start) is int for start in pages)
    if not whole or list(pages) != sorted(pages) or not all(0 <= start <= len(document.text) for start in pages):
        raise DocumentError(
            f"its field 'pages' is {_described(pages)}; it holds the offset at which each page starts, rising",
            where=where,
        )


def _scalar(name: Any, value: Any, where: str) -> Scalar:
    if not isinstance(name, str):
        raise DocumentError(f"a metadata field is named by no text but {_described(name)}", where=where)
    if not name.strip():
        raise DocumentError(f"a metadata field has an empty name: {name!r}", where=where)
    if isinstance(value, date):  # A datetime is one too.
        return value.isoformat()
    if not isinstance(value, (str, int, float)):  # A truth value is an int.
        fix = _FIXES.get("list" if isinstance(value, (tuple, set, frozenset)) else type(value).__name__, "")
        raise DocumentError(
            f"its metadata field {name!r} is {_described(value)}; a field holds a text, a number, true or false, or a "
            "date",
            where=where,
            fix=fix or "turn it into one of these",
        )
    if isinstance(value, float) and not isfinite(value):
        raise DocumentError(
            f"its metadata field {name!r} is {value}, which compares with nothing", where=where, fix=_FIXES["NoneType"]
        )
    return value


def _described(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"
