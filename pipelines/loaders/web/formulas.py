"""Formulas of web pages (MathML) on one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fovea.pipelines.loaders.formula import fraction, joined, lowered, raised, root

if TYPE_CHECKING:
    from bs4 import Tag

SKIPPED = ("annotation", "annotation-xml")


def linear(element: Tag) -> str:
    """The text of a formula or a part of one. Recursive: a formula nested hundreds deep raises RecursionError."""
    from bs4 import Tag

    name = element.name.rpartition(":")[2]
    if name in SKIPPED:
        return ""
    parts = [one for one in element.children if isinstance(one, Tag)]
    if not parts:
        return " ".join(element.get_text().split())
    if name == "mmultiscripts":
        return _scripts(parts)
    if form := _FORMS.get(name):
        wanted, write = form
        texts = [linear(one) for one in parts]
        if len(texts) >= wanted:
            return write(texts)
    return joined([text for one in parts if (text := linear(one))])


def _scripts(parts: list[Tag]) -> str:
    """A base with any number of pairs below and above it, which stand before it behind `<mprescripts>`."""
    names = [one.name.rpartition(":")[2] for one in parts]
    texts = [linear(one) for one in parts]
    split = names.index("mprescripts") if "mprescripts" in names else len(parts)
    behind, before = texts[1:split], texts[split + 1 :]

    def pairs(of: list[str], base: str) -> str:
        for below, above in zip(of[::2], of[1::2]):
            base = raised(lowered(base, below), above)
        return base

    return pairs(before, "") + pairs(behind, texts[0])


def _power(texts: list[str]) -> str:
    return raised(texts[0], texts[1])


def _index(texts: list[str]) -> str:
    return lowered(texts[0], texts[1])


def _both(texts: list[str]) -> str:
    return raised(lowered(texts[0], texts[1]), texts[2])


_FORMS: dict[str, tuple[int, Callable[[list[str]], str]]] = {
    "mfrac": (2, lambda texts: fraction(texts[0], texts[1])),
    "msup": (2, _power), "mover": (2, _power), "msub": (2, _index), "munder": (2, _index),
    "msubsup": (3, _both), "munderover": (3, _both),
    "msqrt": (1, lambda texts: root(joined(texts))),
    "mroot": (2, lambda texts: root(texts[0], texts[1])),
    "mfenced": (1, lambda texts: f"({', '.join(texts)})"),
    "mtable": (1, lambda texts: f"[{'; '.join(texts)}]"),
    "mtr": (1, ", ".join),
}  # fmt: skip
"""How many parts a form needs, and how it is written."""
