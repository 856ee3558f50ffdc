"""Text of documents, and names of files, as a terminal may show them: nothing in them acts on it."""

from __future__ import annotations

import json
import re
from typing import Any

ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters of C0 and C1 (ESC begins the sequences that terminals obey), line separators, what turns the
direction of writing, and halves of surrogate pairs, which cannot be written at all."""


def printable(text: str, keep: str = "") -> str:
    """`text` with every acting character but those in `keep` shown as its escape, such as `\\x1b`."""
    return ACTING.sub(lambda m: m[0] if m[0] in keep else _escape(m[0]), text)


def counted(number: int, things: str) -> str:
    """`1 file` and `2,000 files`, of the plural."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"


def shorten(text: str, most: int = 100) -> str:
    """One line of at most `most` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def to_json(data: Any, indent: int | None = 2) -> str:
    """Data as JSON that a terminal may show and any program reads back as it was; in one line without `indent`."""
    plain = json.dumps(data, ensure_ascii=False, indent=indent)
    return ACTING.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", plain)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
