"""Fields of forms and annotations of a page: text that is not drawn with the page's own."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fovea.pipelines.loaders.pages.pdfium import Turn, box
from fovea.pipelines.loaders.pages.piece import Piece

LINE = 12.0
"""The height of a line, in points, in a field that has room for several."""
UNSEEN = 2 | 32
"""Flags of annotations that are hidden or not to be viewed."""
PASSWORD = 1 << 13
PLAIN_STATES = frozenset(("", "yes", "on", "true", "checked", "x"))
"""Values of ticked boxes that say no more than that they are ticked."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_TAG = re.compile(r"<[^<>]*+>")


def annotated(raw: Any, page: Any, form: Any, turn: Turn, words: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """Values of fields and texts written onto the page, as pieces where they stand; and notes about its text."""
    pieces: list[Piece] = []
    notes: list[str] = []
    for n in range(raw.FPDFPage_GetAnnotCount(page)):
        if not (annotation := raw.FPDFPage_GetAnnot(page, n)):
            continue
        try:
            if raw.FPDFAnnot_GetFlags(annotation) & UNSEEN:
                continue
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == raw.FPDF_ANNOT_WIDGET:
                place = _place(raw, annotation, turn)
                text = _field(raw, form, annotation, place, [*words, *pieces]) if form else ""
                pieces += _standing(text, place, words, -1 - len(pieces))
            elif kind == raw.FPDF_ANNOT_FREETEXT:
                place = _place(raw, annotation, turn)
                pieces += _standing(_contents(raw, annotation), place, words, -1 - len(pieces))
            elif kind not in (raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK) and (text := _contents(raw, annotation)):
                author = _entry(raw, annotation, b"T")
                notes.append(f"Note by {author}: {text}" if author else f"Note: {text}")
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
    return pieces, notes


def _place(raw: Any, annotation: Any, turn: Turn) -> Box:
    rect = raw.FS_RECTF()
    raw.FPDFAnnot_GetRect(annotation, rect)
    return box(turn, rect.left, rect.bottom, rect.right, rect.top)


def _standing(text: str, place: Box, words: Sequence[Piece], run: int) -> Iterator[Piece]:
    """The lines of a text as pieces in its box, as if drawn right after what stands before it: on the line of its
    label, else one line in the middle of the box and several from its top."""
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    left, top, right, bottom = place
    height = min(LINE, (bottom - top) / max(len(lines), 1)) or LINE
    labels = [w for w in words if w.right <= left + 3 and top - 2 < w.middle < bottom + 2]
    above = [w for w in words if w.middle < (top + bottom) / 2 and w.left < right and w.right > left]
    before: Piece | None
    if labels:
        before = min(labels, key=lambda w: (-w.right, w.top))
        top, height = before.top, before.height
    else:
        before = max(above, key=lambda w: (w.bottom, w.right), default=None)
        top = (top + bottom - height) / 2 if len(lines) == 1 and bottom - top < 3 * LINE else top
    for n, line in enumerate(lines):
        start = top + n * height
        yield Piece(line, left, start, right, start + height, run - n, before.order + 0.5 if before else -0.5)


def _field(raw: Any, form: Any, annotation: Any, place: Box, near: Sequence[Piece]) -> str:
    """What a field says, with its name where nothing printed on its line does."""
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    label = _words(raw.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
    label = label or _words(raw.FPDFAnnot_GetFormFieldName, form, annotation)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        ticked = bool(raw.FPDFAnnot_IsChecked(form, annotation))
        value = _words(raw.FPDFAnnot_GetFormFieldExportValue, form, annotation)
        line = _line(place, near)
        said = value.lower() in PLAIN_STATES or value.isdigit() or value.lower() in line.lower()
        words = " ".join(filter(None, ["[x]" if ticked else "[ ]", "" if line else label, "" if said else value]))
        return words if ticked or line else ""
    if kind in (raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        value = ", ".join(_chosen(raw, form, annotation))
        value = value or _words(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
    elif kind == raw.FPDF_FORMFIELD_TEXTFIELD:
        secret = raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & PASSWORD
        value = "" if secret else _words(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
    else:
        return ""
    return f"{label}: {value}" if value and label and not _labelled(place, near) else value


def _labelled(place: Box, near: Sequence[Piece]) -> bool:
    """Whether something is printed to the left of a field, or right above it."""
    left, top, right, bottom = place
    return any(
        (p.right <= left + 3 and top - 2 < p.middle < bottom + 2)
        or (top - 1.6 * LINE < p.middle < top + 1 and p.left < right and p.right > left)
        for p in near
    )


def _line(place: Box, near: Sequence[Piece]) -> str:
    return " ".join(p.text for p in near if place[1] - 2 < p.middle < place[3] + 2)


def _chosen(raw: Any, form: Any, annotation: Any) -> Iterator[str]:
    for n in range(max(raw.FPDFAnnot_GetOptionCount(form, annotation), 0)):
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, n):
            yield _words(raw.FPDFAnnot_GetOptionLabel, form, annotation, n)


def _contents(raw: Any, annotation: Any) -> str:
    return _entry(raw, annotation, b"Contents") or _TAG.sub(" ", _entry(raw, annotation, b"RC")).strip()


def _entry(raw: Any, annotation: Any, key: bytes) -> str:
    return _words(raw.FPDFAnnot_GetStringValue, annotation, key)


def _words(call: Callable[..., int], *arguments: Any) -> str:
    """What a function of pdfium writes into a buffer of UTF-16, whose size in bytes it returns."""
    if (size := call(*arguments, None, 0)) <= 2:
        return ""
    buffer = (ctypes.c_ushort * ((size + 1) // 2))()
    call(*arguments, buffer, size)
    return bytes(buffer)[: size - 2].decode("utf-16-le", "replace").strip()
