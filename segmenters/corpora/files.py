"""What every reader of a corpus needs: a file's text or JSON, and which part of the corpus a name falls into."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from rag.errors import DocumentError
from segmenters.sectioned import Split


def eighth(name: str) -> int:
    """Which eighth of a corpus `name` falls into, 0 to 7: the same on every machine, whatever else is there."""
    return sha256(name.encode("utf-8", "surrogatepass")).digest()[0] % 8


def drawn(name: str) -> Split:
    """The part of a corpus that has none of its own: one eighth to test, one to develop on, the rest to train on."""
    parts: dict[int, Split] = {0: "test", 1: "dev"}
    return parts.get(eighth(name), "train")


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, or else Latin-1, in which any bytes are a text.

    Raises DocumentError where the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read it: {error.strerror or error}", where=str(path)) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_json(path: Path) -> Any:
    """The JSON of a file; raises DocumentError that names the file, line and column of what is broken."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise DocumentError(f"not JSON: {error.msg}", where=where, fix="fetch the file again") from None


def malformed(path: Path, what: str) -> DocumentError:
    """The error of a file that is what its corpus says, but for `what`."""
    return DocumentError(what, where=str(path), fix="mend the entry, or fetch the file again")
