"""What a document must be that is brought from Python: a name, a text, and metadata that filters can compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from fovea.rag.errors import DocumentError
from fovea.rag.types import Document, Scalar

_FIXES = {
    "list": "join its items into one text, for contains(), or give each a field of its own",
    "NoneType": "leave the field out",
    "dict": "give each of its entries a field of its own, such as 'author.name'",
}


def checked(document: Document) -> Document:
    """The document as it is stored: dates in its metadata as ISO texts, `source` its id where it has none. Raises
    DocumentError that names the document and the field for anything that cannot be stored as it is.
    """
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
    metadata = {name: _scalar(name, value, where) for name, value in document.metadata.items()}
    return replace(document, source=document.source or document.id, metadata=metadata)


def _scalar(name: Any, value: Any, where: str) -> Scalar:
    if not isinstance(name, str):
        raise DocumentError(f"a metadata field is named by no text but {_described(name)}", where=where)
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
    return value


def _described(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"
