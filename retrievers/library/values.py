"""Python values that SQLite cannot hold as they are, and how they are kept all the same."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from fovea.rag.types import Scalar
from fovea.retrievers.library.database import sound

LARGEST = 2**63 - 1


def pack(text: str) -> str | bytes:
    """`text`, or bytes where it holds lone surrogates (names of files that are not UTF-8), which SQLite refuses."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def unpack(stored: str | bytes) -> str:
    """What `pack` was given."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")


def read_metadata(stored: str, path: Path) -> dict[str, Scalar]:
    """Metadata from their JSON; raises StoreError where that is no JSON any more."""
    with sound(path, "the metadata of a document"):
        return json.loads(stored)


def odd(value: Scalar) -> bool:
    """Whether SQL would compare the value differently from Python: huge integers, NaN, lone surrogates."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) > LARGEST
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(pack(value), bytes)


def any_odd(metadata: Mapping[str, Scalar]) -> bool:
    """Whether filters over these metadata are left to Python."""
    return any(odd(value) or odd(field) for field, value in metadata.items())
