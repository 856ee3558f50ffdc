"""A cell's value as its number format shows it: `0.256` under `0.0%` is `25.6%`.

The codes are those of ECMA-376 part 1, 18.8.31: up to four sections (positive; negative; zero; text), digits `0 # ?`,
thousands, percent, exponents, fractions, dates, elapsed time, quoted words, currencies and conditions. Month and day
names are English. Colours and widths are no text. The two built-in codes whose look is the reader's own setting
(`mm-dd-yy` and its form with a time) are shown as ISO dates, which read alike everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

Value = str | bool | int | float | datetime | date | time | timedelta
LOCAL = {"mm-dd-yy": "yyyy-mm-dd", "m/d/yy h:mm": "yyyy-mm-dd h:mm"}
"""Built-in codes 14 and 22, shown in the order that the reader's system is set to."""
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_(?P<gap>.)|\*.|\[\$(?P<currency>[^\]-]*)[^\]]*\]'
    r"|\[(?P<elapsed>h+|m+|s+)\]|\[[^\]]*\]|(?P<general>General)|(?P<noon>AM/PM|A/P)|(?P<exponent>E[+-])"
    r"|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?)|(?P<digit>[0#?])|(?P<mark>[.,%/@])|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_SECTION = re.compile(r'(?:"[^"]*"?|\\.|\[[^\]]*\]|[^;"\\\[])*', re.DOTALL)
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)\]")
_COMPARE = {
    "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b,
}  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Token(NamedTuple):
    """A piece of a section: its kind (a group of `_TOKEN`) and what it says."""

    kind: str
    text: str


Section = tuple[tuple[Token, ...], str]
"""The tokens of a section, and its own text, which may hold a condition."""


def shown(value: Value, code: str = "General") -> str:
    """`value` as the format `code` shows it. A code that nobody understands shows the value in general form."""
    if isinstance(value, bool):
        return str(value).upper()
    try:
        if isinstance(value, (int, float)) and (common := _common(code)):
            return _commonly(value, *common)
        return _shown(value, sections(LOCAL.get(code, code)))
    except (ArithmeticError, LookupError, ValueError):
        return general(value) if isinstance(value, (int, float)) else str(value)


@lru_cache(maxsize=512)
def _common(code: str) -> tuple[str, int, str] | None:
    """Of the codes that most cells have (`0`, `0.00`, `#,##0.0`, `0%`): the comma, the decimal places, the percent."""
    found = re.fullmatch(r"(#,##)?0(?:\.(0+))?(%?)", code)
    return ("," if found[1] else "", len(found[2] or ""), found[3]) if found else None


def _commonly(value: int | float, comma: str, places: int, percent: str) -> str:
    """The same as `_shown` in a fifth of its time."""
    exact = _exact(value) * (100 if percent else 1)
    return f"{exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):{comma}f}{percent}"


def _exact(value: int | float) -> Decimal:
    return Decimal(str(value) if isinstance(value, int) else f"{value + 0.0:.15g}")  # nought has no sign


def _shown(value: Value, parts: tuple[Section, ...]) -> str:
    if isinstance(value, str):
        return _text(value, parts)
    if isinstance(value, (datetime, date, time, timedelta)):
        return _date(value, parts[0])
    found, sign = _choose(value, parts)
    if not found:
        return ""
    return sign + _number(abs(value), found) if _numeric(found) else "".join(_literals(found, general(value)))


@lru_cache(maxsize=512)
def sections(code: str) -> tuple[Section, ...]:
    """The sections of a code."""
    parts, at = list[Section](), 0
    while at <= len(code) and len(parts) < 4:
        found = _SECTION.match(code, at)
        text = found[0] if found else ""
        parts.append((tuple(_tokens(text)), text))
        at += len(text) + 1
    return tuple(parts)


def general(value: int | float) -> str:
    """A number without a format: up to 15 digits, as spreadsheets keep them."""
    return str(value) if isinstance(value, int) else f"{value:.15g}".replace("e+", "E+").replace("e-", "E-")


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "gap":
            yield Token("literal", " ")
        elif kind in ("quoted", "escaped", "currency", "other"):
            yield Token("literal", match[kind])
        elif kind:
            yield Token(kind, match[kind])


def _choose(value: int | float, parts: tuple[Section, ...]) -> tuple[tuple[Token, ...], str]:
    """The section for a number, and the minus sign that it does not write itself."""
    minus = "-" if value < 0 else ""
    conditions = [_CONDITION.search(text) for _, text in parts]
    if any(conditions):
        for (tokens, _), condition in zip(parts, conditions):
            if condition is None or _COMPARE[condition[1]](value, float(condition[2])):
                return tokens, minus
        return (Token("general", ""),), minus
    numbers = [tokens for tokens, _ in parts[:3]]
    if value < 0 and len(numbers) > 1:
        return numbers[1], ""
    return (numbers[2], "") if value == 0 and len(numbers) > 2 else (numbers[0], minus)


def _numeric(tokens: tuple[Token, ...]) -> bool:
    return any(token.kind == "digit" for token in tokens)


def _literals(tokens: tuple[Token, ...], value: str) -> Iterator[str]:
    for token in tokens:
        if token.kind == "general" or token == Token("mark", "@"):
            yield value
        elif token.kind == "literal":
            yield token.text


def _text(value: str, parts: tuple[Section, ...]) -> str:
    tokens = parts[3][0] if len(parts) == 4 else parts[-1][0]
    if Token("mark", "@") not in tokens:
        return value
    return "".join(_literals(tokens, value))


def _number(value: int | float, tokens: tuple[Token, ...]) -> str:
    marks = [token.text for token in tokens if token.kind == "mark"]
    exact = _exact(value) * 100 ** marks.count("%")
    if any(token.kind == "exponent" for token in tokens):
        return _scientific(exact, tokens)
    digits = [n for n, token in enumerate(tokens) if token.kind == "digit"]
    slash = next((n for n, t in enumerate(tokens) if t == Token("mark", "/") and digits[0] < n), 0)
    if slash:
        return _fraction(exact, tokens, slash)
    point = next((n for n, token in enumerate(tokens) if token == Token("mark", ".")), len(tokens))
    before = [n for n in digits if n < point]
    last = before[-1] if before else point
    commas = [n for n, token in enumerate(tokens) if token == Token("mark", ",")]
    exact /= 1000 ** sum(n > digits[-1] or last < n < point for n in commas)
    thousands = any(before and before[0] < n < last for n in commas)
    whole, _, part = _fixed(exact, sum(n > point for n in digits)).partition(".")
    filled = _integer(whole, [tokens[n].text for n in before], thousands)
    filled += _decimals(part, [tokens[n].text for n in digits if n > point])
    return _fill(tokens, dict(zip(digits, filled)), point if part else -1)


def _fill(tokens: tuple[Token, ...], digits: dict[int, str], point: int) -> str:
    out = []
    for n, token in enumerate(tokens):
        if n == point:
            out.append("." if any(digits.get(k, "").strip() for k in range(n + 1, len(tokens))) else "")
        elif token.kind == "digit":
            out.append(digits[n])
        elif token.kind == "literal" or token == Token("mark", "%"):
            out.append(token.text)
    return "".join(out).strip()


def _fixed(value: Decimal, places: int) -> str:
    return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"


def _integer(whole: str, holders: list[str], thousands: bool) -> list[str]:
    """What stands at each placeholder before the point; the first takes all digits that are left."""
    if not holders:
        return []
    whole = "" if whole == "0" else whole
    least = next((len(holders) - n for n, holder in enumerate(holders) if holder == "0"), 0)
    whole = whole.rjust(least, "0")
    out = []
    for place in range(len(holders)):  # From the right.
        end = len(whole) - place
        piece = (whole[:end] if place == len(holders) - 1 else whole[end - 1 : end]) if end > 0 else ""
        out.append(_grouped(piece, place) if thousands else piece)
    return out[::-1]


def _grouped(piece: str, place: int) -> str:
    """Digits of which the last stands at `place` from the right, with a comma after every third from there."""
    return "".join(d + "," * (n > 0 and n % 3 == 0) for d, n in zip(piece, range(place + len(piece) - 1, -1, -1)))


def _decimals(part: str, holders: list[str]) -> list[str]:
    shown_ = len(part)
    while shown_ and holders[shown_ - 1] != "0" and part[shown_ - 1] == "0":
        shown_ -= 1
    return [digit if n < shown_ else "" for n, digit in enumerate(part)]


def _scientific(value: Decimal, tokens: tuple[Token, ...]) -> str:
    cut = next(n for n, token in enumerate(tokens) if token.kind == "exponent")
    places = sum(t.kind == "digit" for t in tokens[:cut]) - 1 if Token("mark", ".") in tokens[:cut] else 0
    mantissa, _, power = f"{value:.{max(places, 0)}E}".partition("E")
    least = sum(t.kind == "digit" for t in tokens[cut:])
    sign = "-" if int(power) < 0 else "+" if tokens[cut].text.endswith("+") else ""
    return f"{mantissa}E{sign}{str(abs(int(power))).rjust(least, '0')}"


def _fraction(value: Decimal, tokens: tuple[Token, ...], slash: int) -> str:
    """`5 1/4` for `# ?/?`, `10/8` for `?/8`."""
    below = "".join(t.text for t in tokens[slash + 1 :] if t.kind == "digit" or t.text.isdigit())
    fixed = re.fullmatch(r"[1-9]\d*", below)
    mixed = any(t.kind == "literal" and t.text == " " for t in tokens[:slash])
    whole = int(value) if mixed else 0
    rest = Fraction(value) - whole
    if fixed:
        above, under = round(rest * int(below)), int(below)
    else:
        near = rest.limit_denominator(10 ** max(len(below), 1) - 1)
        above, under = near.numerator, near.denominator
    if mixed and above == under:
        whole, above = whole + 1, 0
    if not above:
        return str(whole)
    return f"{whole} {above}/{under}" if whole else f"{above}/{under}"


def _date(value: datetime | date | time | timedelta, part: Section) -> str:
    tokens = part[0]
    if not any(token.kind in ("date", "elapsed") for token in tokens):
        return str(value)
    if isinstance(value, timedelta):
        moment, elapsed = datetime(1899, 12, 30) + value, value
    else:
        moment, elapsed = _moment(value), timedelta()
        elapsed = moment - datetime(1899, 12, 30)
    noon = any(token.kind == "noon" for token in tokens)
    out = []
    for n, token in enumerate(tokens):
        if token.kind == "date":
            out.append(_date_part(moment, token.text.lower(), noon, _minutes(tokens, n)))
        elif token.kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[token.text[0].lower()]
            out.append(str(round(elapsed.total_seconds()) // unit).rjust(len(token.text), "0"))
        elif token.kind == "noon":
            out.append("AM" if moment.hour < 12 else "PM")
        elif token.kind == "literal" or token.kind == "mark":
            out.append(token.text if token.text != "@" else "")
    return "".join(out).strip()


def _moment(value: datetime | date | time) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime.combine(value, time()) if isinstance(value, date) else datetime.combine(date(1899, 12, 30), value)


def _minutes(tokens: tuple[Token, ...], n: int) -> bool:
    """Whether the `m` at `n` is minutes: it stands after hours or before seconds."""
    units = [(k, t.text[0].lower()) for k, t in enumerate(tokens) if t.kind in ("date", "elapsed")]
    at = next(i for i, (k, _) in enumerate(units) if k == n)
    return (at > 0 and units[at - 1][1] == "h") or (at + 1 < len(units) and units[at + 1][1] == "s")


def _date_part(moment: datetime, mask: str, noon: bool, minutes: bool) -> str:
    unit, width = mask[0], len(mask)
    if unit == "y":
        return f"{moment.year:04}" if width > 2 else f"{moment.year % 100:02}"
    if unit in "md" and width > 2 and not minutes:
        return _named(MONTHS[moment.month - 1] if unit == "m" else DAYS[moment.weekday()], width)
    if unit == "s":
        whole, _, part = mask.partition(".")
        tail = f"{moment.microsecond / 1e6:.{len(part)}f}"[1:] if part else ""
        return _padded(moment.second, whole) + tail
    hour = (moment.hour - 1) % 12 + 1 if noon else moment.hour
    return _padded({"m": moment.minute if minutes else moment.month, "d": moment.day, "h": hour}[unit], mask)


def _named(name: str, width: int) -> str:
    return name[:3] if width == 3 else name[0] if width == 5 else name


def _padded(number: int, mask: str) -> str:
    return str(number).rjust(min(len(mask), 2), "0")
