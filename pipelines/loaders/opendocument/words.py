"""The words of OpenDocument XML: paragraphs with their spaces, tabs, notes and changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fovea.pipelines.loaders.scripts import resolved

TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"
STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
MAX_SPACES = 1000
"""Spaces that one element may stand for; a number in a file is no reason for a gigabyte of them."""


@dataclass
class Words:
    """What a paragraph says: its line, the notes called in it, and the blocks that hang in it (frames with text)."""

    text: str = ""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """The mark of each note, and its words."""
    comments: list[str] = field(default_factory=list)
    frames: list[Any] = field(default_factory=list)


def words(paragraph: Any) -> Words:
    """The words of a paragraph or heading."""
    found = Words()
    found.text = resolved("".join(_pieces(paragraph, found)))
    return found


def _pieces(element: Any, found: Words) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        yield from _piece(child, found)
        yield child.tail or ""


def _piece(child: Any, found: Words) -> Iterator[str]:
    tag = child.tag
    if not isinstance(tag, str):  # A comment of the XML, or a processing instruction.
        return
    if tag == f"{TEXT}s":
        yield " " * min(int(child.get(f"{TEXT}c", "1")), MAX_SPACES)
    elif tag == f"{TEXT}tab":
        yield "\t"
    elif tag == f"{TEXT}line-break":
        yield "\n"
    elif tag == f"{TEXT}note":
        mark = "".join(child.itertext(f"{TEXT}note-citation")).strip()
        body = child.find(f"{TEXT}note-body")
        found.notes.append((mark, plain(body)))
        yield f"[^{mark}]"
    elif tag == f"{OFFICE}annotation":
        said = "\n".join(words(p).text for p in child.iter(f"{TEXT}p"))
        found.comments.append(said)
    elif tag.startswith(DRAW) and tag != f"{DRAW}a":
        found.frames.append(child)
    elif tag == f"{TEXT}ruby":
        base, above = child.find(f"{TEXT}ruby-base"), child.find(f"{TEXT}ruby-text")
        yield from _pieces(base, found) if base is not None else ()
        yield f"({above.text})" if above is not None and above.text else ""
    elif tag != f"{TEXT}tracked-changes":
        yield from _pieces(child, found)


def plain(element: Any) -> str:
    """Every paragraph and heading below `element` that hangs in no other and in no comment, a line each."""
    if element is None:
        return ""
    lines = (words(p).text for p in element.iter(f"{TEXT}p", f"{TEXT}h") if not _hangs(p, element))
    return "\n".join(line for line in lines if line.strip())


def _hangs(paragraph: Any, top: Any) -> bool:
    for above in paragraph.iterancestors():
        if above is top:
            return False
        if above.tag in (f"{TEXT}p", f"{TEXT}h", f"{OFFICE}annotation"):
            return True
    return False
