"""The words of a text body: its paragraphs, as running text or as a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fovea.pipelines.loaders.formula import apart
from fovea.pipelines.loaders.scripts import SUB, SUP, run_on
from fovea.pipelines.loaders.word.formulas import linear
from fovea.pipelines.loaders.word.package import kind
from fovea.pipelines.loaders.writer import Writer

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"


def words(paragraph: Any) -> str:
    """A paragraph's runs, fields and formulas; line breaks are newlines. Of alternatives, the first is read."""
    found: list[tuple[str, str]] = []
    _collect(paragraph, "", found)
    return run_on(found)


def _collect(element: Any, mark: str, found: list[tuple[str, str]]) -> None:
    """Put the runs below `element` into `found`, each behind the mark of what is raised or lowered."""
    for one in element:
        name = kind(one) if isinstance(one.tag, str) else ""
        if name == "a:t":
            found.append((mark, one.text or ""))
        elif name == "a:br":
            found.append(("", "\n"))
        elif name == "m:oMath":
            found.append(("", apart(found[-1][1] if found else "", linear(one))))
        elif name not in ("", "mc:Fallback"):
            properties = one.find(f"{A}rPr")
            baseline = 0 if properties is None else _percent(properties.get("baseline", "0"))
            _collect(one, SUP if baseline > 0 else SUB if baseline < 0 else mark, found)


def _percent(text: str) -> float:
    """A share as either edition of the standard writes it: `30000` or `30%`."""
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        return 0.0


def paragraphs(body: Any) -> Iterator[str]:
    """The words of every paragraph below `body`."""
    return (words(paragraph) for paragraph in body.iter(f"{A}p"))


def write_words(writer: Writer, body: Any, *, listed: bool) -> None:
    """Write a text body: paragraphs with a bullet or a number are items, and all below the top level; `listed` says
    whether those that name none have one, as in the main placeholder of a slide."""
    numbers: Counter[int] = Counter()
    several = sum(bool(text.strip()) for text in paragraphs(body)) > 1
    for paragraph in body.iter(f"{A}p"):
        text, set_up = words(paragraph).strip(), paragraph.find(f"{A}pPr")
        level = int(set_up.get("lvl", 0)) if set_up is not None else 0
        kind = _bullet(set_up)
        for deeper in [n for n in numbers if n > level or (n == level and kind != "buAutoNum")]:
            del numbers[deeper]
        if not text:
            continue
        if kind == "buAutoNum":
            numbers[level] += 1
            start = int(set_up.find(f"{A}buAutoNum").get("startAt", 1))
            writer.item(text, marker=f"{start + numbers[level] - 1}.", depth=level)
        elif kind in ("buChar", "buBlip") or (not kind and (level or (listed and several))):
            writer.item(text, depth=level)
        else:
            writer.paragraph(text)


def alternative(writer: Writer, tree: Any) -> None:
    """Write the words of shapes that stand in `tree` as alternatives for programs of different age."""
    for choice in tree.findall(f"{MC}AlternateContent/{MC}Choice"):
        for text in paragraphs(choice):
            writer.paragraph(text)


def _bullet(set_up: Any) -> str:
    kinds = ("buNone", "buAutoNum", "buChar", "buBlip")
    return next((kind for kind in kinds if set_up is not None and set_up.find(f"{A}{kind}") is not None), "")
