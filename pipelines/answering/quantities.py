"""The quantities of a text: each number with what it counts ("4 months") and the side on which it bounds ("at most").

`$150` and "150 dollars", `20 %` and "20 percent", "80 °C" and "80 degrees" are one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache

from fovea.pipelines.answering.bounds import Side, side
from fovea.pipelines.answering.likeness import COMMON, STEM
from fovea.pipelines.answering.numerals import LOOSE, Numeral, numerals
from fovea.rag.types import Span

_MEASURES = """
second: sec sekunde sekunden; minute: min minuten; hour: hr h stunde stunden; day: tag tage tagen; week: woche wochen
month: monat monate monaten; quarter: quartal quartale; year: yr jahr jahre jahren; decade: jahrzehnt jahrzehnte
century: centuries jahrhundert jahrhunderte; percent: % percentage pct prozent; degree: ° grad
dollar: $ usd; euro: € eur; pound: £ gbp; yen: ¥ jpy; franc: chf franken
kilogram: kg kilo; gram: g gramm; milligram: mg; tonne: ton; kilometre: km kilometer; metre: meter
centimetre: cm centimeter; millimetre: mm millimeter; mile: mi; litre: liter; millilitre: ml milliliter
kilobyte: kb; megabyte: mb; gigabyte: gb
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
_BEHIND = re.compile(r"\s?(per cent\b|[$€£¥%°]|-?[^\W\d_]+)(?:[\s-]([^\W\d_]+))?", re.IGNORECASE)
_LINK = re.compile(r"\s*(-|–|—|\b(?:to|or|and|bis|oder|und)\b)\s*(?:US)?[$€£¥]?", re.IGNORECASE)
_LISTED = ("or", "oder", "and", "und")
_BETWEEN = re.compile(r"\b(?:between|zwischen)\s+(?:US)?[$€£¥]?\Z", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
AROUND, MARGIN = 3, 2
"""How many telling words on either side tell the place of a number, and by how many another place must fit better."""
LEAD = 24
"""Characters before a range in which "between" is looked for."""
YEARS = range(1000, 2101)
"""What a bare number of four digits is."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in its one way of writing, whether it is spelt in words, what it counts (a unit's name, or the first
    letters of the one or two words behind it), the side on which it bounds, and the telling words around it, by their
    first letters."""

    value: str
    spelt: bool = False
    things: tuple[str, ...] = ()
    side: Side = ""
    before: frozenset[str] = frozenset()
    behind: frozenset[str] = frozenset()

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
        found.append(Quantity(n.digits, n.spelt, t, s, before, behind))
    return tuple(found)


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
    one, two = behind[1].lstrip("-").lower().replace("per cent", "percent"), (behind[2] or "").lower()
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


def miscounted(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether a number of the claim counts something else in the evidence: there the number counts other things only,
    and either all are units, or the claim's thing has another number."""
    for q in claimed:
        there = [t for t in told if t.value == q.value]
        if not q.things or not there or any(not t.things or q.counts_as(t) for t in there):
            continue
        if (q.measured and all(t.measured for t in there)) or any(q.counts_as(t) for t in told):
            return True
    return False


def misbounded(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether the claim takes "at least" for "at most", or gives to a number the bound that another has
    (a unit's to a unit, any other's to another)."""
    for q in claimed:
        there = {t.side for t in told if t.value == q.value}
        if not q.side or not there or q.side in there:
            continue
        others = {t.value for t in told if (t.side, t.measured) == (q.side, q.measured)} - {c.value for c in claimed}
        if there - {""} or others:
            return True
    return False


def misplaced(claimed: tuple[Quantity, ...], told: tuple[Quantity, ...]) -> bool:
    """Whether a number of the claim stands among words (more than half of those around it) among which the evidence has
    another number, and its own elsewhere: "gave up 24 points", of "gave up 308 points, with 24 interceptions". A year
    takes one word more to stand in the place of another number, and the reverse; a number that counts the same thing
    there is compared with numbers of that thing alone."""
    for q in claimed:
        own = [q.placed_as(t) for t in told if t.value == q.value]
        alike = any(q.counts_as(t) for t in told if t.value == q.value)
        rivals = [t for t in told if t.value != q.value and not (alike and t.things and not q.counts_as(t))]
        others = [q.placed_as(t) - (t.dated != q.dated) for t in rivals]
        around = len(q.before) + len(q.behind)
        if own and others and 2 * max(others) > around and max(others) - max(own) >= MARGIN:
            return True
    return False
