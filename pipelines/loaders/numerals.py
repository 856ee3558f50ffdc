"""Numbers of lists in the forms that office programs and web pages have: digits, letters, Roman numerals."""

from __future__ import annotations

import re

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip

_LETTERS = {
    "Letter": "abcdefghijklmnopqrstuvwxyz",
    "russian": "абвгдежзиклмнопрстуфхцчшщыэюя",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "ganada": "가나다라마바사아자차카타파하",
    "chosung": "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
    "ideographTraditional": "甲乙丙丁戊己庚辛壬癸",
    "ideographZodiac": "子丑寅卯辰巳午未申酉戌亥",
}
"""Alphabets by what the names of forms hold; behind their end letters are doubled."""
_ENCLOSED = {"decimalEnclosedCircle": "①", "decimalEnclosedFullstop": "⒈", "decimalEnclosedParen": "⑴"}
"""The first of twenty characters each."""
_COUNTING = re.compile(r"(?:chinese|taiwanese|japanese)Counting(?:Thousand|System)?")
_DIGITS = "〇一二三四五六七八九"


def formatted(number: int, form: str) -> str:
    """A number in a form as Word names it, such as `lowerLetter`, or by how it writes 1, such as `001`; in digits where
    the form is not known here."""
    alphabet = next((letters for name, letters in _LETTERS.items() if name in form), "")
    if alphabet and number > 0:
        letter = alphabet[(number - 1) % len(alphabet)] * ((number - 1) // len(alphabet) + 1)
        return letter.upper() if "pper" in form else letter
    if form in _ENCLOSED and 0 < number <= 20:
        return chr(ord(_ENCLOSED[form]) + number - 1)
    if _COUNTING.fullmatch(form) and 0 < number < 10000:
        return counted(number)
    if form == "ideographDigital":
        return "".join(_DIGITS[int(one)] for one in str(number)) if number >= 0 else str(number)
    if form == "numberInDash":
        return f"- {number} -"
    if form.endswith("Roman") and 0 < number < 4000:
        return roman(number).upper() if form == "upperRoman" else roman(number)
    if form == "decimalZero" or form.isdecimal():
        return f"{number:0{len(form) if form.isdecimal() else 2}d}"
    if form == "ordinal":
        teens = 10 <= number % 100 <= 20
        return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
    return "" if form in ("none", "bullet") else str(number)


def counted(number: int) -> str:
    """A number from 1 to 9,999 as it is counted in Chinese and Japanese: 12 is 十二, 105 is 一百〇五."""
    written, gap = "", False
    for worth, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, worth)
        written += (_DIGITS[0] * (gap and bool(written)) + _DIGITS[digit] + unit) if digit else ""
        gap = not digit
    return written[1:] if written.startswith("一十") else written


def roman(number: int) -> str:
    """A number from 1 to 3,999 in small Roman numerals."""
    written = ""
    for worth, letters in _ROMAN:
        written += letters * (number // worth)
        number %= worth
    return written
