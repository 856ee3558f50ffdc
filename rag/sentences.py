"""Where sentences end: rules for any script, in time linear in the text, without a model.

Two passes. Lines first: blank lines, list items, headings, table rows and page breaks end a sentence whatever the
punctuation says, and so do the line breaks between rows of a receipt or of columns set apart by spaces; the other line
breaks do not, since text is often wrapped. Then the marks inside each block: a Latin
mark (`. ! ?` and the ellipsis) ends a sentence before white space, unless the word before it is an abbreviation or an
initial, the number before it opens a list item, or the text goes on in lower case; marks of scripts that write no
spaces (Chinese, Japanese, Khmer...) end one wherever they stand. Quotes and brackets that close after the mark belong
to the sentence.

What rules cannot know: scripts without marks (Thai, Lao) are broken at blank lines only; the table of abbreviations is
short and mostly English; after "U.S." or an initial, a sentence is taken to end only before one of a few English words
that begin sentences; German ordinals ("3. Oktober") are cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fovea.rag.types import Span

_SPACED = ".!?…‽⁇⁈⁉܀܁܂؟۔։\u037e"
"""Marks that end a sentence before white space."""
_UNSPACED = "。！？｡．।॥။၊។៕༎།᠃᠉።፧፨෴᙮꓿꘎꘏꛳꛷꡶꡷꣎꣏꩝꩞꩟꯫⸼⸮"
"""Marks that end a sentence with or without a space behind them."""
_CLOSERS = re.escape("\"'”’»›)]}」』】》〉）］｝〕〗〙〛＂＇*_`~")
_DOTS = r"\.(?:[ \u00a0]\.)++"
"""An ellipsis as some style guides set it: `. . .`"""
_MARK = re.compile(
    rf"({_DOTS}|[{re.escape(_SPACED + _UNSPACED)}]++)((?:[{_CLOSERS}]|[\u00a0\u202f]»)*+)(?:\[\d{{1,3}}\])*+"
)
_NEXT = re.compile(r"\s*+[\"'“”‘’„«»‹›(\[{「『【《〈（*_`~¿¡—–-]*+(\w{0,24})")
_SPACE = re.compile(r"\s*+")

_LINE = re.compile(r"[^\r\n\v\f\x1c-\x1e\x85\u2028\u2029]*+(\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]|\Z)")
_BULLET = re.compile(r"\s*+(?:[-*+•‣◦⁃∙●○■□▪–—]\s|#{1,6}\s|\||```|~~~|\[\^?\w{1,8}\]:)")
_NUMBERED = re.compile(r"\s*+(?:\(?(?:\d{1,3}(?:\.\d{1,3})*+|[a-zA-Z]|[ivxIVX]{1,5})[.)]|\d{1,3}(?:\.\d{1,3})++)\s")
_COLUMNS = re.compile(r"\S(?:\t| {3})\s*+\S")
_AMOUNT = re.compile(r"(?<!\S)[-+(]?(?:[$€£¥]|[A-Z]{3} )?\d[\d.,']*[.,]\d{2}\)?(?: ?(?:[$€£¥%]|[A-Z]{3}))?\s*\Z")
LONGEST_ROW = 200
"""Characters of a line that can be a row."""
_ALONE = re.compile(r"\s*+(?:#{1,6}\s|\||```|~~~|(?:={2,}|-{2,}|\*{3,}|_{3,})\s*+\Z)")
_ENDS = re.compile(rf"[{re.escape(_SPACED + _UNSPACED)}:;][{_CLOSERS}]*+\s*+\Z")
_OPENS_ITEM = re.compile(r"\s*+(?:[-*+•#>]++\s*+)?\(?(?:\d{1,3}(?:\.\d{1,3})*+|[a-zA-Z]|[ivxIVX]{1,5})\Z")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BEFORE_NAME = _words(
    "mr mrs ms mx dr prof st sen rep gov gen col lt maj capt cpt cmdr cdr adm sgt cpl pvt "
    "rev msgr hon pres supt insp atty messrs mme mmes mlle mlles mgr dott avv sra srta dra dña "
    "vs cf viz e.g i.e approx dept assoc est incl esp z.b bzw bzgl vgl inkl ggf evtl sog d.h z.t p.ex"
)
_CAPITALISED_BEFORE_NAME = _words("Mt Mts Ft Pt Ste Fr Hr Sig Det Brig Drs Profs Reps Sens")
"""Mount, Fort, Point, ...: in lower case some of them are feet, points and hours, which end sentences."""
_BEFORE_NUMBER = _words(
    "no nos nr n° nº no° № núm num fig figs abb eq eqs sec sect ch chap kap cap vol vols bd p pp pág pag art par para "
    "abs ziff tab app tel ext ca c "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
_MAY_END = _words("inc ltd co corp jr sr bros llc plc al ph.d")
_TITLES = _words("Mr Mrs Ms Mx Dr Prof")
"""Titles that begin a sentence after a time or an acronym, as in "at 6 P.M. Mr. Lee left"."""
_STARTERS = _words(
    "The A An In It He She They We You This That These Those There Here What When Where Who Why How But And Or So If "
    "As At On For From To By With After Before While Although Though However Since Because Our Their His Her Its My "
    "Your No Not Yes Some Many Most All Each Every Both Such Then Thus Hence Also Another One Once Under Over During "
    "Despite Let Is Are Was Were Do Does Did Can Could Will Would Should May Might Has Have Had Note See"
)


def sentences(text: str) -> list[Span]:
    """The sentences of `text`: in order, without overlap or surrounding white space, and nothing but white space left
    over. Linear in `len(text)`, whatever it holds.
    """
    found = []
    for start, stop in _blocks(text):
        for end in _ends(text, start, stop):
            if (span := _trimmed(text, start, end)) is not None:
                found.append(span)
            start = end
    return found


def _trimmed(text: str, start: int, end: int) -> Span | None:
    piece = text[start:end]
    bare = piece.strip()
    start += len(piece) - len(piece.lstrip())
    return Span(start, start + len(bare)) if bare else None


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of whole lines that no sentence reaches across."""
    start, before, in_list, before_row = 0, "", False, 0
    for match in _LINE.finditer(text):
        at, line = match.start(), match[0]
        blank = not line or line.isspace()
        numbered = _NUMBERED.match(line) is not None
        opens = _BULLET.match(line) or (numbered and (not before or in_list or _ENDS.search(before[-40:])))
        row = before_row + 1 if not blank and _is_row(line) else 0  # How many rows there are in a row.
        apart = before_row > 1 or (before_row and row)
        if not blank and (not before or opens or apart or _ALONE.match(before)) and at > start:
            yield start, at
            start = at
        before_row = row
        in_list = not blank and (in_list or bool(opens))
        before = "" if blank or (match[1] and match[1] in "\v\f\u2029\x1c\x1d\x1e") else line
    if start < len(text):
        yield start, len(text)


def _is_row(line: str) -> bool:
    """Whether a line reads as a row of a table without rules: columns set apart, or an amount at its end."""
    return len(line) <= LONGEST_ROW and bool(_COLUMNS.search(line.strip()) or _AMOUNT.search(line))


def _ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Where the sentences of the block `[start, stop)` end; the last is `stop`."""
    if text[start] != "|":  # A table row stays whole.
        begin = start
        for match in _MARK.finditer(text, start, stop):
            if match.end() < stop and _is_end(text, start, begin, match):
                yield (begin := _end(text, match))
    yield stop


def _end(text: str, match: re.Match[str]) -> int:
    """Where the sentence ends that `match` ends: in `over. . . . Then` at the full stop, and the ellipsis goes on."""
    own = len(match[1]) == 7 and match[1][1] != "." and not match[2] and not text[match.start() - 1].isspace()
    return match.start() + 1 if own else match.end()


def _is_end(text: str, start: int, begin: int, match: re.Match[str]) -> bool:
    """Whether the marks of `match` end the sentence that begins at `begin`, in the block that does at `start`."""
    mark, closed, after = match[1][-1], match[2], text[match.end()]
    if mark in _UNSPACED:
        inside = mark == "．" and after.isdigit()
        return not (inside or after in "，、,;；" or (closed and after in "とっ"))
    if not after.isspace():
        return mark in "!?" and "\u2e80" <= after <= "\u9fff"
    follows = _NEXT.match(text, match.end())
    word = follows[1] if follows else ""
    if match[1] == ".":
        before = _word_before(text, start, match.start())
        if word in _TITLES and "." in before and before.lower() not in _BEFORE_NAME:
            return len(text[max(begin, match.start() - 40) : match.start()].split()) > 3  # "At 5 a.m." is no sentence.
        return _ends_at_dot(before, word, closed, text, start, match.start())
    if match[1][-1] in ".…" and _omits(text, begin, match, word):
        return False
    return not word[:1].islower()


def _omits(text: str, begin: int, match: re.Match[str], after: str) -> bool:
    """Whether an ellipsis leaves out words of its own sentence: in brackets, before its first word, before "I"."""
    before = text[max(begin, match.start() - 8) : match.start()]
    opens = match.start() - begin < 8 and not before.strip()
    return opens or (bool(match[2]) and before.endswith(("[", "("))) or (after == "I" and before[-1].isspace())


def _word_before(text: str, start: int, at: int) -> str:
    words = text[max(start, at - 24) : at].split()
    return words[-1].lstrip("\"'“‘«([{*_—–-") if words and not text[at - 1].isspace() else ""


def _ends_at_dot(before: str, after: str, closed: str, text: str, start: int, at: int) -> bool:
    """Whether a single full stop at `at`, between the words `before` and `after`, ends a sentence."""
    name = before.lower()
    if at - start < 24 and _OPENS_ITEM.match(text, start, at):
        return False
    if name in _BEFORE_NAME or before in _CAPITALISED_BEFORE_NAME:
        return False
    if name in _BEFORE_NUMBER and after[:1].isdigit():
        return False
    if after[:1].islower():
        return len(before) > 4 and before.isalpha() and before.islower() and not closed
    initial = len(before) == 1 and before.isupper()
    if initial or name in _MAY_END or (len(before) > 2 and all(len(p) == 1 and p.isalpha() for p in before.split("."))):
        return after in _STARTERS or not after[:1].isupper()
    return True
