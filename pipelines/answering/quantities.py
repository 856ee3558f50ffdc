"""The quantities of a text: each number with what it counts ("4 months") and the side on which it bounds ("at most").

`$150` and "150 dollars", `20 %` and "20 percent", "80 °C" and "80 degrees" are one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache

from fovea.pipelines.answering.bounds import Side, side
from fovea.pipelines.answering.numerals import LOOSE, Numeral, numerals
from fovea.rag.stems import COMMON, STEM
from fovea.rag.types import Span

_MEASURES = """
second: sec sekunde sekunden; minute: min minuten; hour: hr h stunde stunden; day: tag tage tagen; week: woche wochen
month: monat monate monaten; quarter: quartal quartale; year: yr jahr jahre jahren; decade: jahrzehnt jahrzehnte
century: centuries jahrhundert jahrhunderte; percent: % percentage pct prozent; degree: ° grad
dollar: $ usd; euro: € eur; pound: £ gbp; yen: ¥ jpy; franc: chf franken
kilogram: kg kilo; gram: g gramm; milligram: mg; tonne: ton; kilometre: km kilometer; metre: meter
centimetre: cm centimeter; millimetre: mm millimeter; mile: mi; litre: liter; millilitre: ml milliliter
kilobyte: kb; megabyte: mb; gigabyte: gb; am: ; pm:
"""
MEASURES = {
    form: name
    for entry in re.split(r"[;\n]", _MEASURES.strip())
    for name, forms in [entry.strip().split(":")]
    for word in [name, *forms.split()]
    for form in (word, f"{word}s")
}
"""Words and signs of units, by the unit's name."""
_NAMES = frozenset(MEASURES.values())
_BEFORE = re.compile(r"(?:(?P<sign>[$€£¥])|\b(?P<code>usd|eur|gbp|chf|jpy))\s?\Z", re.IGNORECASE)
_BEHIND = re.compile(r"\s?(per cent\b|[ap]\.m\b\.?|[$€£¥%°]|-?[^\W\d_]+)(?:[\s-]([^\W\d_]+))?", re.IGNORECASE)
_LINK = re.compile(r"\s*(-|–|—|\b(?:to|or|and|bis|oder|und)\b)\s*(?:US)?[$€£¥]?", re.IGNORECASE)
_LISTED = ("or", "oder", "and", "und")
_BETWEEN = re.compile(r"\b(?:between|zwischen)\s+(?:US)?[$€£¥]?\Z", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
LABELS = (
    "section|article|chapter|clause|paragraph|appendix|annex|figure|table|version|level|step|rule|abschnitt|artikel|"
    "kapitel|absatz|anhang|stufe"
)
"""Words before a number that names and counts nothing."""
_LABEL = re.compile(rf"(?:\b(?:{LABELS}|release)\s|§\s?|\bv\.?\s?|(?-i:\b[A-Z]\w{{1,16}}\s))\Z", re.IGNORECASE)
"""The last is a name: "Python 3.10"."""
_MINUS = re.compile(r"(?:(?<![\w.,)%°])[-−]|\bminus\s)\Z", re.IGNORECASE)
_ZERO = re.compile(r"\s?[^\W\d_]*(?:°|\s)?[^\W\d_]*\s(?:below (?:zero|freezing)|unter null)\b", re.IGNORECASE)
AROUND = 3
"""How many telling words on either side tell the place of a number."""
LEAD = 24
"""Characters before a range in which "between" is looked for."""
YEARS = range(1000, 2101)
"""What a bare number of four digits is."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in its one way of writing, whether it is spelt in words, what it counts (a unit's name, or the first
    letters of the one or two words behind it), the side on which it bounds, and the telling words around it, by their
    first letters: those `before` and `behind`, and the one right `after` which it stands. A number of degrees may be
    `below` zero; one that only labels ("version 2.10") keeps its `label`, since that is not 2.1."""

    value: str
    spelt: bool = False
    things: tuple[str, ...] = ()
    side: Side = ""
    before: frozenset[str] = frozenset()
    behind: frozenset[str] = frozenset()
    after: str = ""
    below: bool = False
    label: str = ""

    def placed_as(self, other: Quantity) -> int:
        """How many words around it stand on the same side of the other."""
        return len(self.before & other.before) + len(self.behind & other.behind)

    @property
    def dated(self) -> bool:
        """Whether it is a bare year."""
        return not self.things and self.value.isdigit() and int(self.value) in YEARS

    @property
    def measured(self) -> bool:
        """Whether it counts a unit: of time, money, length, and the like."""
        return bool(self.things) and self.things[0] in _NAMES

    def counts_as(self, other: Quantity) -> bool:
        """Whether both count one thing: the first word behind one number is behind the other ("four wide receivers"
        and "four receivers")."""
        mine, others = self.things, other.things
        return bool(mine and others) and (mine[0] in others or others[0] in mine)

    def contradicts(self, other: Quantity) -> bool:
        """Whether the same value says something else: the label of another thing, or degrees on the other side of 0."""
        another = bool(self.label and other.label) and self.label != other.label
        return another or (self.below != other.below and self.things == other.things == ("degree",))


@lru_cache(maxsize=1024)
def quantities(text: str) -> tuple[Quantity, ...]:
    """The quantities of `text`, in order. The first number of a range counts what the second does ("2 to 4 weeks"), has
    its power of ten ("5 to 10 million"), and bounds it below."""
    read = list(numerals(text))
    sides = _sides(text, read)
    things = [_things(text, n.span) for n in read]
    for i in range(len(read) - 2, -1, -1):
        one, two = read[i], read[i + 1]
        if not (link := _LINK.fullmatch(text, one.span.end, two.span.start)):
            continue
        things[i] = things[i] or things[i + 1]
        if one.power == 1 < two.power and one.value < 1000:
            read[i] = replace(one, value=one.value * two.power, power=two.power)
        if link[1].lower() not in _LISTED or _BETWEEN.search(text[max(0, one.span.start - LEAD) : one.span.start]):
            sides[i], sides[i + 1] = sides[i] or "least", sides[i + 1] or "most"
    telling = [(m.start(), m[0].lower()[:STEM]) for m in _WORD.finditer(text) if m[0].lower() not in COMMON]
    starts = [start for start, _ in telling]
    found = []
    for n, t, s in zip(read, things, sides):
        low, high = bisect_left(starts, n.span.start), bisect_left(starts, n.span.end)
        before = frozenset(word for _, word in telling[max(0, low - AROUND) : low])
        behind = frozenset(word for _, word in telling[high : high + AROUND])
        after = telling[low - 1][1] if low else ""
        found.append(Quantity(n.digits, n.spelt, t, s, before, behind, after, _below(text, n.span), _label(text, n)))
    return tuple(found)


def _below(text: str, span: Span) -> bool:
    return bool(_MINUS.search(text[max(0, span.start - 7) : span.start]) or _ZERO.match(text, span.end))


def _label(text: str, n: Numeral) -> str:
    written = text[n.span.start : n.span.end]
    labels = re.fullmatch(r"\d+\.\d+", written) and _LABEL.search(text[max(0, n.span.start - LEAD) : n.span.start])
    return written if labels else ""


def _sides(text: str, read: list[Numeral]) -> list[Side]:
    """A bare year bounds nothing, and stands in the way of no other number."""
    found: list[Side] = [""] * len(read)
    told = [i for i, n in enumerate(read) if n.value not in YEARS or n.power > 1 or _things(text, n.span)]
    for k, i in enumerate(told):
        after = read[told[k - 1]].span.end if k else 0
        before = read[told[k + 1]].span.start if k + 1 < len(told) else len(text)
        found[i] = side(text, read[i].span, after, before)
    return found


def _things(text: str, span: Span) -> tuple[str, ...]:
    if sign := _BEFORE.search(text[max(0, span.start - 5) : span.start]):
        return (MEASURES[sign[0].strip().lower()],)
    if not (behind := _BEHIND.match(text, span.end)):
        return ()
    one, two = behind[1].lstrip("-").lower().replace("per cent", "percent").replace(".", ""), (behind[2] or "").lower()
    if one in MEASURES or (one and one in COMMON):
        return (MEASURES[one],) if one in MEASURES else ()
    if two in MEASURES:
        return (MEASURES[two],)
    return tuple(word.rstrip("s")[:STEM] for word in (one, two) if word and word not in COMMON)


def numbers(text: str) -> frozenset[str]:
    """The numbers in `text`, however written."""
    return frozenset(q.value for q in quantities(text))


def asked_numbers(text: str) -> frozenset[str]:
    """The numbers which evidence for `text` must hold."""
    return frozenset(q.value for q in quantities(text) if not (q.spelt and q.value in LOOSE))
