"""The fields that every chunk has beside the metadata of its document, under the names by which filters know them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

BUILT_IN = {
    "source": "text", "path": "text", "suffix": "text", "title": "text", "media_type": "text", "page": "number",
}  # fmt: skip
"""Their kinds. `path` is the source as well; `suffix` is its ending in lower case, such as `.pdf`."""


def suffix(source: str) -> str:
    """The ending of the name of a source, in lower case, with its point; "" where it has none."""
    return PurePosixPath(source.partition("?")[0].partition("#")[0]).suffix.lower()


def fields(
    source: str, title: str, media_type: str, page: int | None, metadata: Mapping[str, str | int | float | bool]
) -> dict[str, str | int | float | bool]:
    """What filters see of a chunk. A field of its metadata hides the built-in one of that name; what is empty (no
    title, no page) is not there.
    """
    known = {
        "source": source, "path": source, "suffix": suffix(source), "title": title, "media_type": media_type,
        "page": page,
    }  # fmt: skip
    return {**{name: value for name, value in known.items() if value}, **metadata}


def kind(value: object) -> str:
    """The type by which values compare: text, number or truth value ("bool")."""
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else "text"
