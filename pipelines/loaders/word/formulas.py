"""Formulas of Word (OMML) on one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fovea.pipelines.loaders.formula import fraction, grouped, joined, lowered, raised, root
from fovea.pipelines.loaders.word.package import child, kind, value

_PROPERTIES = "Pr"
"""Names of elements that end so hold no text."""


def linear(element: Any) -> str:
    """The text of a formula or a part of one; "" for None."""
    if element is None:
        return ""
    name = kind(element)
    if name in ("m:t", "w:t"):
        return element.text or ""
    if name == "w:del" or name.endswith(_PROPERTIES):
        return ""
    return _FORMS[name](element) if name in _FORMS else joined([linear(one) for one in element])


def _part(element: Any, name: str) -> str:
    return linear(child(element, f"m:{name}"))


def _fraction(element: Any) -> str:
    if value(child(element, "m:fPr", "m:type")) == "noBar":
        return f"({_part(element, 'num')} {_part(element, 'den')})"
    return fraction(_part(element, "num"), _part(element, "den"))


def _delimited(element: Any) -> str:
    def mark(name: str, default: str) -> str:
        found = child(element, "m:dPr", f"m:{name}")
        return default if found is None else value(found)

    inside = mark("sepChr", "|").join(linear(one) for one in element if kind(one) == "m:e")
    return f"{mark('begChr', '(')}{inside}{mark('endChr', ')')}"


def _large(element: Any) -> str:
    found = child(element, "m:naryPr", "m:chr")
    sign = raised(lowered("∫" if found is None else value(found), _part(element, "sub")), _part(element, "sup"))
    return f"{sign} {_part(element, 'e')}"


def _function(element: Any) -> str:
    inside = _part(element, "e")
    return _part(element, "fName") + (inside if inside.startswith("(") else f" {inside}")


def _rows(element: Any) -> str:
    rows = [one for one in element if kind(one) in ("m:mr", "m:e")]
    return "; ".join(", ".join(linear(e) for e in row) if kind(row) == "m:mr" else linear(row) for row in rows)


_FORMS: dict[str, Callable[[Any], str]] = {
    "m:f": _fraction,
    "m:sSup": lambda e: raised(_part(e, "e"), _part(e, "sup")),
    "m:sSub": lambda e: lowered(_part(e, "e"), _part(e, "sub")),
    "m:sSubSup": lambda e: raised(lowered(_part(e, "e"), _part(e, "sub")), _part(e, "sup")),
    "m:sPre": lambda e: raised(lowered("", _part(e, "sub")), _part(e, "sup")) + _part(e, "e"),
    "m:rad": lambda e: root(_part(e, "e"), _part(e, "deg")),
    "m:d": _delimited,
    "m:nary": _large,
    "m:func": _function,
    "m:limLow": lambda e: lowered(_part(e, "e"), _part(e, "lim")),
    "m:limUpp": lambda e: raised(_part(e, "e"), _part(e, "lim")),
    "m:m": lambda e: f"[{_rows(e)}]",
    "m:eqArr": _rows,
    "m:groupChr": lambda e: grouped(_part(e, "e")),
}
