"""What readers of data sets need: a file's text, JSON or lines of JSON, and which part of a set a name falls into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from fovea.rag.errors import DocumentError


def eighth(name: str) -> int:
    """Which eighth of a set `name` falls into, 0 to 7: the same on every machine, whatever else is there."""
    return sha256(name.encode("utf-8", "surrogatepass")).digest()[0] % 8


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, or else Latin-1, in which any bytes are a text.

    Raises DocumentError where the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        what = f"cannot read it: {error.strerror or error}"
        fix = "check the spelling of the path, and that you may read the file"
        raise DocumentError(what, where=str(path), fix=fix) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_json(path: Path) -> Any:
    """The JSON of a file; raises DocumentError that names the file, line and column of what is broken."""
    return _parsed(read_text(path), str(path))


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's place (`file:line`) and JSON; blank lines are passed over.

    Raises DocumentError that names the file, line and column of what is broken.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", _parsed(line, f"{path}:{number}", lines=False)


def malformed(where: Path | str, what: str) -> DocumentError:
    """The error of a file that is what its set says, but for `what`."""
    return DocumentError(what, where=str(where), fix="mend the entry, or fetch the file again")


def _parsed(text: str, where: str, *, lines: bool = True) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}:{error.colno}" if lines else f"{where}:{error.colno}"
        raise DocumentError(f"not JSON: {error.msg}", where=place, fix="fetch the file again") from None
    except (RecursionError, ValueError):  # Valid as JSON, but more than Python takes.
        what = "nested too deeply, or a number of more than 4,300 digits"
        raise DocumentError(what, where=where, fix="mend the entry") from None
