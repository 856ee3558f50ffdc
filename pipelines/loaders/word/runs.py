"""The text of one paragraph of Word: runs and whatever wraps them, fields, symbols, formulas, pictures, notes.

Elements that are not known are walked into, so that a wrapper nobody has heard of loses no text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fovea.pipelines.loaders.formula import apart, fraction
from fovea.pipelines.loaders.scripts import END, SUB, SUP, resolved
from fovea.pipelines.loaders.word.formulas import linear
from fovea.pipelines.loaders.word.package import child, kind, on, value
from fovea.pipelines.loaders.word.styles import font_of
from fovea.pipelines.loaders.word.symbols import UNKNOWN, symbol, translated

SKIPPED = {
    "w:pPr", "w:rPr", "w:sectPr", "w:sdtPr", "w:sdtEndPr", "w:tblPr", "w:tblGrid", "w:trPr", "w:tcPr", "w:tblPrEx",
    "w:delText", "w:delInstrText", "w:fldData", "w:smartTagPr", "w:customXmlPr", "w:moveFrom",
    "a:graphicFrameLocks", "o:OLEObject",
}  # fmt: skip
"""What holds settings, or what was deleted."""
NOTES = {"w:footnoteReference": "footnote", "w:endnoteReference": "endnote", "w:commentReference": "comment"}
PICTURE = ("wp:docPr", "v:shape", "v:imagedata")
_EQUATION = re.compile(r"\s*EQ\s+\\f\s*\(\s*([^,;()]*)[,;]\s*([^()]*)\)", re.IGNORECASE)
_SYMBOL = re.compile(r"\s*SYMBOL\s+(\d+|0x[0-9a-f]+)(?:.*\\f\s*\"?([\w ]+))?", re.IGNORECASE)
_BUTTON = re.compile(r"\s*MACROBUTTON\s+\S+\s+(.+)", re.IGNORECASE | re.DOTALL)


@dataclass
class _Field:
    """A field that has begun: its instruction so far, and whether its result has."""

    instruction: str = ""
    result: bool = False
    shown: bool = False


@dataclass
class Runs:
    """Reads paragraphs one by one. `left_out` counts what is not read, by kind; `note` gives the mark of a note by its
    kind and id, `diagram` the text of a drawing by its relation, `font` the font of a style.
    """

    note: Callable[[str, str], str]
    diagram: Callable[[str], str]
    font: Callable[[str], str]
    left_out: Counter[str] = field(default_factory=Counter)
    boxes: list[Any] = field(default_factory=list)
    """Contents of text boxes of the latest paragraph."""
    _text: list[str] = field(default_factory=list)
    _fields: list[_Field] = field(default_factory=list)
    _latest: str = ""

    def read(self, paragraph: Any) -> str:
        """The text of a paragraph; what its text boxes hold is put into `boxes`."""
        self._text, self.boxes = [], []
        self._walk(paragraph)
        for one in self._fields:
            one.result = True  # An instruction ends with its paragraph, whatever a damaged file says.
        return resolved("".join(self._text))

    def _walk(self, element: Any) -> None:
        for one in element:
            name = kind(one)
            if name in _READ:
                _READ[name](self, one)
            elif name not in SKIPPED:
                self._walk(one)

    def _say(self, text: str) -> None:
        if text and all(one.result for one in self._fields):
            self._text.append(text)
            for one in self._fields:
                one.shown = True

    def _words(self, element: Any) -> None:
        properties, text = child(element.getparent(), "w:rPr"), element.text or ""
        font = font_of(properties) or self.font(value(child(properties, "w:rStyle")))
        written = translated(font, text)
        self.left_out["symbols of unknown fonts"] += written.count(UNKNOWN) - text.count(UNKNOWN)
        self._say(written)

    def _run(self, run: Any) -> None:
        if on(child(run, "w:rPr", "w:vanish")):
            self.left_out["hidden text"] += any(kind(one) == "w:t" for one in run)
        else:
            self._script(value(child(run, "w:rPr", "w:vertAlign")), lambda: self._walk(run))

    def _script(self, place: str, walk: Callable[[], None]) -> None:
        """What `walk` reads, marked as raised or lowered; runs of one kind in a row are one."""
        mark = {"superscript": SUP, "subscript": SUB}.get(place)
        if mark and self._text and self._text[-1] == END and self._latest == mark:
            self._text.pop()
        elif mark:
            self._text.append(mark)
        walk()
        if mark:
            self._text.append(END)
            self._latest = mark

    def _deleted(self, element: Any) -> None:
        self.left_out["tracked deletions"] += 1

    def _symbol(self, element: Any) -> None:
        code = value(element, "char")
        found = symbol(value(element, "font"), int(code, 16)) if re.fullmatch("[0-9a-fA-F]{1,6}", code) else UNKNOWN
        self.left_out["symbols of unknown fonts"] += found == UNKNOWN
        self._say(found)

    def _break(self, element: Any) -> None:
        self._say("\n" if value(element, "type") in ("", "textWrapping") else " ")

    def _field_mark(self, element: Any) -> None:
        which = value(element, "fldCharType")
        if which == "begin":
            self._say(_form_value(child(element, "w:ffData")))
            self._fields.append(_Field())
        elif which == "separate" and self._fields:
            self._fields[-1].result = True
        elif which == "end" and self._fields:
            ended = self._fields.pop()
            if not ended.shown:
                self._formula_text(_shown(ended.instruction))

    def _instruction(self, element: Any) -> None:
        if self._fields and not self._fields[-1].result:
            self._fields[-1].instruction += element.text or ""

    def _note(self, element: Any) -> None:
        self._say(self.note(NOTES[kind(element)], value(element, "id")))

    def _ruby(self, element: Any) -> None:
        before, self._text = self._text, []
        self._walk(child(element, "w:rt") if child(element, "w:rt") is not None else ())
        above, self._text = resolved("".join(self._text)), before
        self._walk(child(element, "w:rubyBase") if child(element, "w:rubyBase") is not None else ())
        if above.strip():
            self._say(f"({above.strip()})")

    def _control(self, element: Any) -> None:
        """A content control; one whose content is empty is a check box, or nothing."""
        before = len(self._text)
        if (content := child(element, "w:sdtContent")) is not None:
            self._walk(content)
        box = child(element, "w:sdtPr", "w14:checkbox")
        if box is not None and not "".join(self._text[before:]).strip():
            self._say("☒" if on(child(box, "w14:checked")) else "☐")

    def _picture(self, element: Any) -> None:
        """A drawing or a shape: its description, what is written in it, and the text boxes in it."""
        inside = list(element.iter())
        names = {kind(one) for one in inside}
        if "w:txbxContent" not in names:
            described = (value(one, "descr") or value(one, "alt") for one in inside if kind(one) in PICTURE)
            words = next(filter(None, described), "").strip()
            self._say(f" {words} " if words else "")
            seen = names & {"?:pic", "v:imagedata"}
            self.left_out["pictures without a description"] += bool(seen) and not words
        self.left_out["charts"] += "?:chart" in names
        self.left_out["embedded objects"] += "o:OLEObject" in names
        self._walk(element)

    def _chosen(self, element: Any) -> None:
        self._walk(chosen(element))

    def _boxed(self, element: Any) -> None:
        self.boxes.append(element)

    def _formula(self, element: Any) -> None:
        self._formula_text(linear(element))

    def _formula_text(self, text: str) -> None:
        self._say(apart("".join(self._text[-2:]), text))

    def _diagram(self, element: Any) -> None:
        self._say(self.diagram(value(element, "dm")))

    def _art(self, element: Any) -> None:
        self._say(value(element, "string"))


_READ: dict[str, Callable[[Runs, Any], None]] = {
    "w:t": Runs._words, "a:t": Runs._words, "w:r": Runs._run, "w:del": Runs._deleted, "w:sym": Runs._symbol,
    "w:br": Runs._break, "w:cr": lambda runs, _: runs._say("\n"), "w:tab": lambda runs, _: runs._say("\t"),
    "w:ptab": lambda runs, _: runs._say("\t"), "w:noBreakHyphen": lambda runs, _: runs._say("-"),
    "w:fldChar": Runs._field_mark, "w:instrText": Runs._instruction, "w:ruby": Runs._ruby, "w:sdt": Runs._control,
    "w:drawing": Runs._picture, "w:pict": Runs._picture, "w:object": Runs._picture, "w:txbxContent": Runs._boxed,
    "mc:AlternateContent": Runs._chosen, "m:oMath": Runs._formula, "dgm:relIds": Runs._diagram, "v:textpath": Runs._art,
    **dict.fromkeys(NOTES, Runs._note),
}  # fmt: skip


def chosen(alternatives: Any) -> Any:
    """The first of alternative contents, or the last resort where only that holds text."""
    found = [one for one in alternatives if kind(one) in ("mc:Choice", "mc:Fallback")]
    return next((one for one in found if _says(one)), found[0] if found else ())


def _says(element: Any) -> bool:
    return any(kind(one) in ("w:t", "m:t", "a:t") and (one.text or "").strip() for one in element.iter())


def _form_value(data: Any) -> str:
    """The value of an old form field that stores it beside the text: a check box, or a choice of a list."""
    box, listed = child(data, "w:checkBox"), child(data, "w:ddList")
    if box is not None:
        state = child(box, "w:checked")
        return "☒" if on(child(box, "w:default") if state is None else state) else "☐"
    entries = [value(one) for one in (listed if listed is not None else ()) if kind(one) == "w:listEntry"]
    at = value(child(listed, "w:result"), default="0")
    return entries[int(at)] if at.isdigit() and int(at) < len(entries) else ""


def _shown(instruction: str) -> str:
    """What Word shows for a field that stores no result."""
    if found := _EQUATION.match(instruction):
        return fraction(found[1].strip(), found[2].strip())
    if found := _SYMBOL.match(instruction):
        return symbol((found[2] or "").strip(), int(found[1], 0))
    found = _BUTTON.match(instruction)
    return found[1].strip() if found else ""
