"""The numbers of a text, however they are written: `1,500`, `1500` and "fifteen hundred" are one, so are .50 and .5.

Number words are known for English, below a hundred for German too; digits work wherever they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fovea.rag.types import Span

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = {word: n for n, word in enumerate(_SMALL.split())} | {"once": 1, "twice": 2, "thrice": 3}
TENS = {word: n * 10 for n, word in enumerate(_TENS.split(), 2)}
_KLEIN = (
    "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn "
    "neunzehn"
)
_ZIG = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig"
_ZEHNER = {word: n * 10 for n, word in enumerate(_ZIG.split(), 2)}
_EINER = {word: n for n, word in enumerate(["ein", *_KLEIN.split()[:8]], 1)}
UNITS |= {word: n for n, word in enumerate(_KLEIN.split(), 2)} | _ZEHNER
UNITS |= {f"{one}und{ten}": n + m for one, n in _EINER.items() for ten, m in _ZEHNER.items()}
POWERS = {"dozen": 12, "hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
BEHIND = POWERS | {
    **{"tausend": 1_000, "mio": 1_000_000, "millionen": 1_000_000, "millones": 1_000_000},
    **{"mrd": 1_000_000_000, "milliard": 1_000_000_000, "milliarde": 1_000_000_000, "milliarden": 1_000_000_000},
}
"""What is a power behind a number: `1,2 Mio.`; by itself it is none."""
LOOSE = frozenset({"1", "100", "1000", "1000000", "1000000000"})
"""Read from words, these are as often figures of speech ("one of them", "a thousand"): found, but not asked for."""

_SPACES = "\u00a0\u2009\u202f'’"
"""What groups thousands beside points and commas: spaces that do not break, and Swiss apostrophes."""
_BELOW = rf"(?:(?:{'|'.join(TENS)})(?:[ -](?:{'|'.join(UNITS)}))?|(?:{'|'.join(UNITS)}))"
_POWER = re.compile(rf"[\s-]+({'|'.join(BEHIND)})s?\b(?:(?<=mio|mrd)\.)?", re.IGNORECASE)
_MORE = re.compile(rf"(?P<and> and)?[ -](?P<below>{_BELOW})\b(?P<power>[ -](?:{'|'.join(POWERS)})\b)?", re.IGNORECASE)
_BETWEEN = re.compile(r"\b(?:between|both)\s+\Z", re.IGNORECASE)
LEAD = 24
"""Characters before a number in which "between" is looked for."""
_NUMBER = re.compile(
    rf"(?:(?<![\w.,])|(?<=US\$))(?P<digits>(?:\d{{1,3}}(?:[{_SPACES}]\d{{3}}(?!\d))+|\d)[\d.,]*(?<![.,]))|"
    rf"\b(?:(?P<words>{_BELOW})|(?P<alone>{'|'.join(POWERS)}))\b",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"(k|mn?|bn?)\b", re.IGNORECASE)
_SUFFIXES = {"k": 1_000, "m": 1_000_000, "mn": 1_000_000, "b": 1_000_000_000, "bn": 1_000_000_000}
"""What stands behind the digits of an amount of money: `$1.5k`, `€10bn`."""


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number, the power of ten (or dozen) said behind it, whether it is spelt in words, and where it stands."""

    value: float
    power: float
    spelt: bool
    span: Span

    @property
    def digits(self) -> str:
        """The value in the one way of writing it."""
        return f"{self.value:.12g}"


def numerals(text: str) -> Iterator[Numeral]:
    """The numbers of `text`, in order."""
    at = 0
    for match in _NUMBER.finditer(text):
        if match.start() >= at:  # not the "million" of "two million"
            found = (_figures if match["digits"] else _words)(text, match)
            at = found.span.end
            yield found


def in_digits(text: str) -> str:
    """`text` with each number in its one way of writing; "one of a thousand" is left."""
    parts, at = [], 0
    for n in numerals(text):
        if not (n.spelt and n.digits in LOOSE):
            parts += [text[at : n.span.start], n.digits]
            at = n.span.end
    return "".join([*parts, text[at:]])


def _figures(text: str, match: re.Match[str]) -> Numeral:
    """Digits, and the powers behind them: `2.5 million`, `$1.5k`."""
    power, at = 1.0, match.end()
    while more := _POWER.match(text, at):
        power, at = power * BEHIND[more[1].lower()], more.end()
    if text[max(0, match.start() - 1) : match.start()] in "$€£¥" and (suffix := _SUFFIX.match(text, at)):
        power, at = power * _SUFFIXES[suffix[1].lower()], suffix.end()
    return Numeral(_written(match["digits"]) * power, power, False, Span(match.start(), at))


def _words(text: str, match: re.Match[str]) -> Numeral:
    """`two hundred and fifty thousand`: hundreds gather in `group`, which a thousand or a million closes."""
    total, at, power = 0.0, match.end(), 1.0
    group = _below(match["words"]) if match["words"] else float(POWERS[match["alone"].lower()])
    if match["alone"]:
        power = group
    paired = bool(_BETWEEN.search(text, max(0, match.start() - LEAD), match.start()))
    while True:
        if more := _POWER.match(text, at):
            power = float(BEHIND[more[1].lower()])
            total, group = (total, group * power) if power < 1000 else (total + (group or 1) * power, 0.0)
        elif power > 1 and (more := _MORE.match(text, at)) and not (more["and"] and (paired or _anew(more, power))):
            power, group = 1.0, group + _below(more["below"])
            at = more.end("below")
            continue
        else:
            return Numeral(total + group, power, True, Span(match.start(), at))
        at = more.end()


def _anew(more: re.Match[str], power: float) -> bool:
    """Whether another number begins: "five hundred and six hundred", but not "two hundred and fifty thousand"."""
    behind = POWERS[more["power"].strip(" -").lower()] if more["power"] else 1
    return 1 < behind <= power


def _below(phrase: str) -> float:
    return float(sum((UNITS | TENS)[word] for word in re.split(r"[ -]", phrase.lower())))


def _written(digits: str) -> float:
    """`1,500` and `1.500.000` group thousands; any other single mark is the decimal one. A version keeps its digits."""
    digits = re.sub(f"[{_SPACES}]", "", digits)
    for mark, other in (",.", ".,"):
        if re.fullmatch(rf"\d{{1,3}}(?:\{mark}\d{{3}}){'+' if mark == ',' else '{2,}'}(?:\{other}\d+)?", digits):
            return float(digits.replace(mark, "").replace(other, "."))
    whole, *rest = re.split(r"[.,]", digits)
    return float(f"{whole}.{''.join(rest) or 0}")
