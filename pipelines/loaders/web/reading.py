"""What of a page is read: what belongs to its text, and what only serves the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import Tag

NEVER = frozenset(["script", "style", "template", "noscript", "head", "datalist", "rp", "canvas", "audio", "video"])
"""What no reader sees where a page works."""
ELSEWHERE = {"iframe": "embedded pages", "object": "embedded objects", "svg": "drawings"}
NAVIGATION = ("navigation", "search")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
ROLES = {
    "table": "table", "grid": "table", "row": "tr", "cell": "td", "gridcell": "td", "columnheader": "th",
    "rowheader": "th", "list": "ul", "listitem": "li",
}  # fmt: skip
"""The element that a `div` or `span` of a role stands for."""
_BUTTONS_STAY = frozenset([*HEADINGS, "th", "td", "summary", "dt", "p", "caption", "legend"])
"""Where a button is part of the text."""
_OPENS = ("aria-expanded", "aria-controls", "aria-selected", "data-bs-toggle", "data-toggle")
_PANELS = ("tab", "panel", "accordion", "collapse", "collapsible", "content", "pane")
_TYPED = frozenset(
    ["text", "number", "email", "tel", "url", "date", "time", "datetime-local", "month", "week", "color", "range", ""]
)


def left_out(element: Tag, above: Sequence[Tag]) -> str | None:
    """Why an element is not read, in words to count, or "" for what nobody would call text; None if it is read."""
    name = element.name
    if name in NEVER:
        return None if str(element.get("type") or "").startswith("math/") else ""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if name == "nav" or element.get("role") in NAVIGATION:
        return None if _lists_tabs(element) else "navigation"
    if name == "button" and not _stays(element, above):
        return "buttons"
    if element.has_attr("hidden") and not _unfolds(element):
        return "hidden elements"
    return "" if element.get("aria-hidden") == "true" and _draws_formula(element) else None


def is_a(element: Tag, *kinds: str) -> bool:
    """Whether an element says that it is one of the parts of a book, as EPUB or ARIA call them (`noteref`)."""
    said = f"{element.get('epub:type') or ''} {element.get('role') or ''}".replace("doc-", "").split()
    return any(kind in said for kind in kinds)


def stands_for(element: Tag) -> str:
    """The name of the element, or of the one whose role it plays: `<div role="heading" aria-level="3">` is an h3."""
    name, role = element.name.rpartition(":")[2], element.get("role")
    if role is None or name not in ("div", "span", "p", "li", "ul"):
        return name
    if role == "heading":
        level = str(element.get("aria-level") or "")
        return f"h{level}" if f"h{level}" in HEADINGS else "h2"
    return ROLES.get(str(role), name)


def form_value(element: Tag) -> str:
    """What a control of a form shows: what was typed, chosen or ticked."""
    if element.name == "select":
        chosen = [one for one in element.find_all("option") if one.has_attr("selected")]
        return ", ".join(" ".join(one.get_text().split()) for one in chosen)
    kind = str(element.get("type") or "").lower()
    if kind in ("checkbox", "radio"):
        return "☒" if element.has_attr("checked") else "☐"
    return str(element.get("value") or "") if kind in _TYPED else ""


def _draws_formula(element: Tag) -> bool:
    """Whether an element shows to the eye the formula that stands beside it in MathML."""
    beside = (element.find_previous_sibling(), element.find_next_sibling())
    inline = element.parent is not None and element.parent.name not in ("p", "div", "li", "td")
    return inline and any(one is not None and (one.name == "math" or one.find("math")) for one in beside)


def _stays(button: Tag, above: Sequence[Tag]) -> bool:
    """Whether a button is text: a question that unfolds, the name of a tab or a column, a word in a sentence."""
    return (
        any(map(button.has_attr, _OPENS))
        or button.get("role") == "tab"
        or any(stands_for(one) in _BUTTONS_STAY for one in above)
        or button.find(HEADINGS) is not None
    )


def _lists_tabs(element: Tag) -> bool:
    """Whether navigation moves between the panels of the page itself, rather than between pages."""
    return any(one.get("role") == "tablist" for one in (element, *element.find_all(recursive=False)))


def _unfolds(element: Tag) -> bool:
    """Whether what is hidden is a panel that a reader opens, rather than what the page keeps for itself."""
    names = " ".join([*(element.get("class") or ()), str(element.get("id") or "")]).lower()
    return (
        element.get("role") in ("tabpanel", "region")
        or element.get("hidden") == "until-found"
        or element.has_attr("aria-labelledby")
        or is_a(element, "footnote", "endnote", "rearnote")
        or any(word in names for word in _PANELS)
    )
