"""How a sentence of a document is said in an answer: in plain words, behind what decides its meaning.

An item of a list is said behind the headings and lines it stands under ("Not OK: sharing a password"), a row of a table
with the name of each column ("Plan: Basic, Price: 9.50"). Marks of Markdown are left out of what is said; what is cited
stays the document's own characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fovea.pipelines.answering.leads import STOPS, Leads
from fovea.pipelines.answering.passages import Passage, cited
from fovea.rag.inline import plain
from fovea.rag.markdown import MARKDOWN
from fovea.rag.tables import Table, header_above, tables
from fovea.rag.types import Citation, Document, Span

LONGEST = 450
"""Characters of one quotation: a longer sentence is read in parts."""
_MARKS = re.compile(r"\[\^[^\]\s]+\]|(?m:^\s*(?:>\s?)+)")
_BR = re.compile(r"<br\s*/?>", re.IGNORECASE)
_SPACE = re.compile(r"\s*+")
_PIPE = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Quotation:
    """A passage, the places above it that decide its meaning, their words, and its own."""

    passage: Passage
    under: tuple[Span, ...]
    lead: str
    words: str

    @property
    def text(self) -> str:
        """What is said of it by itself."""
        return f"{self.lead}{self.words}"

    def goes_on(self, other: Quotation) -> bool:
        """Whether this is said behind `other`, under the same words."""
        return bool(self.lead) and self.under == other.under and self.passage.document.id == other.passage.document.id

    def citations(self) -> Iterator[Citation]:
        """The passage, then what it stands under."""
        yield self.passage.citation(1.0)
        yield from (cited(self.passage.document, span, 1.0) for span in self.under)


def quotations(passages: Sequence[Passage]) -> list[Quotation]:
    """What is said of each passage, a long one in parts. Linear in the documents that are quoted."""
    shapes: dict[str, _Shape] = {}
    found = []
    for passage in passages:
        document = passage.document
        if document.id not in shapes:
            shapes[document.id] = _Shape(document)
        found += [shapes[document.id].quoted(part) for part in parts(passage)]
    return found


def parts(passage: Passage) -> Iterator[Passage]:
    """The passage, or pieces of at most `LONGEST` characters that end with a line, a clause or a word."""
    start, end, whole = passage.span.start, passage.span.end, passage.document.text
    follows = passage.follows
    while end - start > LONGEST:
        window = whole[start : start + LONGEST]
        cut = next((at + len(mark) for mark in ("\n", "; ", ", ", " ") if (at := window.rfind(mark)) > 0), LONGEST)
        kept = window[:cut].rstrip()
        if kept:
            yield replace(passage, span=Span(start, start + len(kept)), follows=follows)
            follows = True
        start = _SPACE.match(whole, start + cut, end).end()  # type: ignore[union-attr]  # it matches nothing too
    if start < end:
        yield replace(passage, span=Span(start, end), follows=follows)


def joined(quoted: Sequence[Quotation]) -> Iterator[str]:
    """The quotations as pieces of one text: those under the same heading follow it as one."""
    before: Quotation | None = None
    for quotation in quoted:
        if before is None:
            yield quotation.text
        elif quotation.goes_on(before):
            yield _between(before.words) + quotation.words
        else:
            yield (" " if before.words[-1:] in STOPS else "\n") + quotation.text
        before = quotation


def _between(words: str) -> str:
    return " " if words[-1:] in STOPS else "; "


def taken(text: str, quoted: Sequence[Quotation]) -> list[tuple[int, int, list[Quotation]]] | None:
    """`text` read as `joined` writes it: `(start, end, quotations)` of each piece, or None if it is not."""
    by_text = {q.text: q for q in reversed(quoted)}
    found, at = [], 0
    while at < len(text):
        best = max((t for t in by_text if text.startswith(t, at)), key=len, default="")
        if not best:
            return None
        group, start, at = [by_text[best]], at, at + len(best)
        while more := _next(text, at, group[-1], quoted):
            at += len(_between(group[-1].words)) + len(more.words)
            group.append(more)
        found.append((start, at, group))
        at += text[at : at + 1] in (" ", "\n") and at < len(text)
    return found


def _next(text: str, at: int, before: Quotation, quoted: Sequence[Quotation]) -> Quotation | None:
    if not before.lead or not text.startswith(between := _between(before.words), at):
        return None
    fits = [q for q in quoted if q.goes_on(before) and text.startswith(q.words, at + len(between))]
    return max(fits, key=lambda q: len(q.words), default=None)


class _Shape:
    """The lines and tables of one document."""

    def __init__(self, document: Document) -> None:
        self.document, self.leads = document, Leads(document.text)
        self.tables: list[Table] = tables(document.text, document.media_type)

    def quoted(self, passage: Passage) -> Quotation:
        text, span = self.document.text, passage.span
        line, under = self.leads.of(span.start)
        header = header_above(self.tables, span.start, span.end, text)
        words = self.plain(passage.text)
        if header and line:
            table = self.tables[bisect_right(self.tables, span.start, key=lambda table: table.header.start) - 1]
            words = self._row(header, text[line.at : span.start], passage.text) or words
            names = text[table.header.start : table.header.end]
            start = table.header.start + len(names) - len(names.lstrip())
            lead = self._lead(under)
            return Quotation(passage, (*under, Span(start, start + len(header))), lead, words)
        return Quotation(passage, under, self._lead(under), words)

    def plain(self, text: str) -> str:
        """The words a reader of the page sees, on one line."""
        if self.document.media_type not in MARKDOWN:
            return " ".join(text.split())
        return plain(_BR.sub(" ", _MARKS.sub(" ", text))) or " ".join(text.split())

    def _lead(self, under: Sequence[Span]) -> str:
        said = (self.plain(self.document.text[s.start : s.end]).rstrip(" :.") for s in under)
        return "".join(f"{words}: " for words in dict.fromkeys(said) if words)

    def _row(self, header: str, before: str, row: str) -> str:
        """The cells of a row, each behind the name of its column; `before` is what of the row stands before them."""
        names = [self.plain(cell) if cell.strip() else "" for cell in _PIPE.split(header.strip().removeprefix("|"))]
        at = len(_PIPE.findall(before)) - before.lstrip(" \t>").startswith("|")
        cells = {n: self.plain(cell) for n, cell in enumerate(_PIPE.split(row), max(at, 0)) if cell.strip()}
        return ", ".join(f"{names[n]}: {cell}" if names[n : n + 1] > [""] else cell for n, cell in cells.items())
