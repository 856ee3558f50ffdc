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
_MONEY = r"(?:[€$£]|(?:euros?|eur|dollars?|usd|pounds?|gbp|franken|francs|chf)\b)"
_LONG = r"(?:(?:k?m|kilomet(?:er|re)s?|met(?:er|re)s?|miles|mètres|kilomètres)\b)"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?![\d:])|(?:[01]?\d|2[0-3])\.[0-5]\d(?=\s?(?:uhr\b|[ap]\.?m\b))"
_NUMBER = re.compile(
    rf"(?:(?<![\w.,])|(?<=US\$)|(?<=\bv)(?=\d+\.\d))(?:(?<!:)(?P<clock>{_CLOCK})|"
    rf"(?P<spaced>\d{{1,3}}(?: \d{{3}}){{1,3}}(?=\s?(?:{_MONEY}|{_LONG})))|"
    rf"(?P<digits>(?:\d{{1,3}}(?:[{_SPACES}]\d{{3}}(?!\d))+|\d)[\d.,]*(?<![.,])))|"
    rf"\b(?:(?P<words>{_BELOW})|(?P<alone>{'|'.join(POWERS)}))\b",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"(k|mn?|bn?)\b", re.IGNORECASE)
_SUFFIXES = {"k": 1_000, "m": 1_000_000, "mn": 1_000_000, "b": 1_000_000_000, "bn": 1_000_000_000}
"""What stands behind the digits of an amount of money, `$1.5k`, `€10bn`, or of a crowd: `1.2m people`."""
_CROWD = re.compile(
    rf"\s(?:{_MONEY}|(?:people|users|customers|inhabitants|residents|visitors|viewers|members|copies|votes|jobs)\b)",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    rf"\s?{_MONEY}|\s(?:einwohnern?|menschen|personen|mitarbeitern?|jahren?|tagen?|stunden)\b", re.IGNORECASE
)
"""What is not told to a thousandth of one: `1.500 Euro` and `1.500 Tage` group thousands."""


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number, the power of ten (or dozen) said behind it, whether it is spelt in words, and where it stands; what is
    no amount (a version, a date, a time of day) as it is written."""

    value: float
    power: float
    spelt: bool
    span: Span
    written: str = ""

    @property
    def digits(self) -> str:
        """The value in the one way of writing it."""
        return self.written or f"{self.value:.12g}"


def numerals(text: str) -> Iterator[Numeral]:
    """The numbers of `text`, in order."""
    at = 0
    for match in _NUMBER.finditer(text):
        if match.start() >= at:  # not the "million" of "two million"
            found = (_words if match["words"] or match["alone"] else _figures)(text, match)
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
    if match["clock"]:
        return _clock(match)
    money = text[match.start() - 1] in "$€£¥" if match.start() else False
    power, at = 1.0, match.end()
    while more := _POWER.match(text, at):
        power, at = power * BEHIND[more[1].lower()], more.end()
    if (suffix := _SUFFIX.match(text, at)) and (money or suffix[1].lower() == "bn" or _CROWD.match(text, suffix.end())):
        power, at = power * _SUFFIXES[suffix[1].lower()], suffix.end()
    digits = re.sub(f"[{_SPACES} ]", "", match["digits"] or match["spaced"])
    whole = power == 1 and (money or _WHOLE.match(text, at) is not None)
    value, written = _written(digits, whole=whole)
    return Numeral(value * power, power, False, Span(match.start(), at), written)


def _clock(match: re.Match[str]) -> Numeral:
    """`8.30 Uhr` and `8:30` are one, and so are `8:00` and the 8 of "8 o'clock"."""
    hours, minutes = map(int, re.split("[:.]", match["clock"]))
    written = f"{hours}:{minutes:02}" if minutes else ""
    return Numeral(hours + minutes / 60, 1.0, False, Span(match.start(), match.end()), written)


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


def _written(digits: str, *, whole: bool) -> tuple[float, str]:
    """`1,500`, `1.500.000` and `1.500,5` group thousands, and so does `1.500` of what is told in whole ones; any other
    single mark is the decimal one. A version and a date keep their digits, which come second."""
    for mark, other in (",.", ".,"):
        if re.fullmatch(rf"[1-9]\d{{0,2}}(?:\{mark}\d{{3}})+(?:\{other}\d+)?", digits) and (
            mark == "," or whole or len(re.findall("[.,]", digits)) > 1
        ):
            return float(digits.replace(mark, "").replace(other, ".")), ""
    first, *rest = re.split(r"[.,]", digits)
    return float(f"{first}.{''.join(rest) or 0}"), digits if len(rest) > 1 else ""
