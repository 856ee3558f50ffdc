"""Folding: what readers see as the same word becomes the same letters. The one place where words are folded.

What is folded: case (Greek final sigma and the Turkish i's too); width, ligatures and other compatibility forms (NFKD);
accents, harakat and Hebrew points; letters that Unicode does not take apart (ł, ø, đ, æ, ß); kashida, soft hyphens,
joiners and whatever else has no look of its own; digits of every script, and groups of digits (1,234,567 and 1 234 567
with its spaces unbreakable or thin are 1234567). What is kept apart: kana with and without voicing, vowel signs of
Indic and South-East Asian scripts, Cyrillic и and й. `fold(fold(text)) == fold(text)`.

Words alone are folded (`fovea.rag.tokens.words`, and terms over them), so that lexical search, likeness and re-ranking
see the same words; no text is, so that offsets, quotes, and the numbers that claims compare are those of the text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain

_ALIKE = {
    **dict(zip("łøđðħŧıȷƀɓƈɖɗƌɠǥɦɨɉƙɫɲŋƥɍʂƭʈʉƶƴ", "loddhtijbbcdddgghijklnnprsttuzy")),
    "æ": "ae", "œ": "oe", "þ": "th", "ĸ": "k",
    "‐": "-", "‑": "-", "−": "-", "⁄": "/", "’": "'", "‘": "'", "ʼ": "'", "ʻ": "'", "′": "'",
    "ک": "ك", "ی": "ي", "ى": "ي", "ہ": "ه", "ھ": "ه", "٬": ",", "٫": ".", "ـ": "",
}  # fmt: skip
"""Letters and marks that look alike, or that people type for another, once they are decomposed and in lower case."""
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u0898-\u089f\u08ca-\u08ff\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef](?<![иИуУ]\u0306)(?<![іІ]\u0308)"
)
"""Marks that words are often written without; й, ў and ї are letters."""
_APART = re.compile(
    "[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u215f\u2189\u2460-\u24ff\u2776-\u2793](?<=[0-9].)"
    r"|[\u00b2\u00b3\u00b9\u2070-\u2079](?<=[^\W\d_]{3}.)"
)
"""Where NFKD would run together what readers see apart: 3½, 10⁶, a word and the number of its note."""
_WIDE_GROUP = re.compile(r"[\u00a0\u2007\u2009\u202f](?<=\d.)(?=\d{3}(?!\d))")
_GROUPED = [re.compile(rf"{mark}(?<=[0-9].)[0-9]{{2}}") for mark in (",", "'", r"\.")]
"""These and those above begin with the character itself, which `re` looks for fast; what stands before comes after."""
_GROUPS = re.compile(
    r"[0-9](?<![0-9.,'].)(?:[0-9]{0,2}([,'])[0-9]{3}(?:\1[0-9]{3})*(?!\1?[0-9])"
    r"|[0-9]?(?:,[0-9]{2})+,[0-9]{3}(?!,?[0-9])|[0-9]{0,2}\.[0-9]{3}\.[0-9]{3}(?!\.?[0-9]))"
)
_SAID_TWICE = re.compile("เเ|\u0e4d([\u0e48-\u0e4b])")


def fold(text: str) -> str:
    """`text` with everything folded that readers see as the same. O(text)."""
    if text.isascii():
        folded = text.lower()
    else:
        folded = text.replace("№", " no ").replace("™", " ").replace("℠", " ")
        folded = _WIDE_GROUP.sub(",", _APART.sub(r" \g<0>", folded))
        folded = _ACCENTS.sub("", unicodedata.normalize("NFKD", folded)).casefold().translate(_table())
        folded = unicodedata.normalize("NFC", _SAID_TWICE.sub(_once, folded))
    if any(grouped.search(folded) for grouped in _GROUPED):
        folded = _GROUPS.sub(lambda found: re.sub("[,'.]", "", found[0]), folded)
    return folded


def _once(found: re.Match[str]) -> str:
    """Thai as it is spelled: one sara ae in place of two sara e, the tone before the nikhahit."""
    return f"{found[1]}\u0e4d" if found[1] else "แ"


@cache
def _table() -> dict[int, str | None]:
    """For `str.translate`: letters alike, digits as digits, and None for what cannot be seen."""
    table: dict[int, str | None] = {ord(letter): plain for letter, plain in _ALIKE.items()}
    for code in chain(range(128, 0x20000), range(0xE0000, 0xE0080)):  # No other plane has any.
        kind = unicodedata.category(char := chr(code))
        if kind == "Nd":
            table[code] = str(unicodedata.decimal(char))
        elif kind == "Cf":
            table[code] = None
    return table
