"""The words of Pandoc's inline elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

QUOTES = {"SingleQuote": ("‘", "’"), "DoubleQuote": ("“", "”")}
WRAPPED = ("Emph", "Underline", "Strong", "SmallCaps", "Subscript")


def words(inlines: list[Any], notes: list[list[Any]]) -> str:
    """Running text; the blocks of notes met on the way are put into `notes`, their number stays as `[^1]`."""
    return "".join(piece for inline in inlines for piece in _pieces(inline, notes))


def _pieces(inline: dict[str, Any], notes: list[list[Any]]) -> Iterator[str]:
    kind: str = inline["t"]
    content: Any = inline.get("c")
    if kind == "Str":
        yield content
    elif kind in ("Space", "SoftBreak"):
        yield " "
    elif kind == "LineBreak":
        yield "\n"
    elif kind in WRAPPED:
        yield words(content, notes)
    elif kind == "Superscript":
        yield f"^{words(content, notes)}"
    elif kind == "Quoted":
        left, right = QUOTES[content[0]["t"]]
        yield f"{left}{words(content[1], notes)}{right}"
    elif kind in ("Code", "Math", "Cite", "Link", "Image", "Span"):
        part = content[1]
        yield part if isinstance(part, str) else words(part, notes)
    elif kind == "Note":
        notes.append(content)
        yield f"[^{len(notes)}]"
    # What is left is strikeout (deleted text) and raw markup of another format: neither is text that is read.
