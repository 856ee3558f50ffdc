"""Text as HTML. Everything that comes from a study goes through `text`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_REFUSED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def text(plain: object) -> str:
    """As content or as the value of an attribute; characters that HTML cannot hold become U+FFFD, and those
    that would turn the direction of all that follows."""
    return escape(_REFUSED.sub("\ufffd", str(plain).replace("\r\n", "\n")))


def cut(plain: str, most: int) -> str:
    """The first `most` characters, with an ellipsis where that is not all."""
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def section(key: str, title: str, *parts: str) -> str:
    """A section of the page, "" where all of it is empty."""
    if not any(parts):
        return ""
    return (
        f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{text(title)}</h2>{"".join(parts)}</section>'
    )


def note(plain: str) -> str:
    """A quiet paragraph."""
    return f'<p class="note">{text(plain)}</p>' if plain else ""


def table(caption: str, head: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
    """A table that scrolls sideways by itself; `head` and `rows` are HTML already."""
    label = text(caption)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table class="{kind}">'
        f"<caption>{label}</caption><thead><tr>{''.join(head)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def heads(*names: str) -> list[str]:
    """Headers of columns of words."""
    return [f'<th scope="col">{text(cut(name, 40))}</th>' for name in names]


def figures(*names: str) -> list[str]:
    """Headers of columns of figures."""
    return [f'<th scope="col" class="n">{text(cut(name, 40))}</th>' for name in names]
