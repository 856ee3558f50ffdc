"""Tokens without a model, and the words that lexical search, likeness and cohesion go by.

`WordTokenizer` serves encoders that bring no tokenizer of their own (LangChain embeddings, hashing): words, single CJK
characters and punctuation marks are one token each. A long word counts once per started sixteen characters, so that a
cap in tokens is also a cap in characters.

`words` are folded (`fovea.rag.folding`): a run of letters, digits and the marks that belong to them, such as the vowel
signs of Devanagari. Scripts that set no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese and others,
and Korean, whose words carry their particles) are cut into their smallest written units: a character with its marks, in
Thai and Lao a consonant with the vowels before and after it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fovea.rag.folding import fold

if TYPE_CHECKING:
    import numpy as np

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]{{1,16}}|[^\w\s]")


class WordTokenizer:
    """Counts words, CJK characters and marks; needs no model and no files."""

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        return sum(1 for _ in _TOKEN.finditer(text))

    def offsets(self, text: str) -> np.ndarray:
        """Where each token lies: int64 `(tokens, 2)`."""
        import numpy as np

        return np.array([m.span() for m in _TOKEN.finditer(text)], dtype=np.int64).reshape(-1, 2)

    def words(self, text: str) -> list[str]:
        """The tokens themselves, in order."""
        return _TOKEN.findall(text)


_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF),
    (0x3005, 0x3007), (0x3021, 0x318F), (0x31A0, 0x31FF), (0xA980, 0xA9DF), (0xAA00, 0xAADF),
)  # fmt: skip
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\ua48c\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
"""With Yi and Hangul: blocks of nothing but written units."""


class Patterns(NamedTuple):
    """Of folded texts: `word` is a word between spaces or a unit of a script without them, `run` units side by side;
    `spaced` a word between spaces, as a part of other patterns.
    """

    word: re.Pattern[str]
    unit: re.Pattern[str]
    run: re.Pattern[str]
    spaced: str


def words(text: str) -> list[str]:
    """The words of `text`, folded, in their order; of scripts without spaces, each written unit by itself."""
    return cut(fold(text))


def cut(folded: str) -> list[str]:
    """The words of a text that `fold` has made."""
    return patterns(folded).word.findall(folded)


def patterns(folded: str) -> Patterns:
    """The simplest patterns that do for a text."""
    if folded.isascii():
        return _ASCII
    unusual, whole = _built()
    return whole if unusual.search(folded) else _LETTERS


NO_UNITS = "(?!)"
"""The pattern of units where a text has none: all its words stand between spaces."""


def _plain(letter: str) -> Patterns:
    nothing = re.compile(NO_UNITS)
    return Patterns(re.compile(f"{letter}+"), nothing, nothing, f"{letter}+")


_ASCII, _LETTERS = _plain("[a-z0-9]"), _plain(r"[^\W_]")


@cache
def _built() -> tuple[re.Pattern[str], Patterns]:
    """What letters between spaces do not do for, and the patterns that do; of the Unicode data of this Python."""
    marks = _ranges(code for code in range(128, 0x10000) if unicodedata.category(chr(code))[0] == "M")
    above = _ranges(code for code in range(0x10000, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    letters = (code for low, high in _WITHOUT_SPACES for code in range(low, high + 1) if chr(code).isalnum())
    unspaced = _ranges(letters) + _IDEOGRAPHS
    base = f"[{unspaced}][{marks}]*(?:(?<=[\\u1039\\u17d2])[{unspaced}][{marks}]*)*"
    unit = f"[\\u0e40-\\u0e44\\u0ec0-\\u0ec4]?{base}[\\u0e30\\u0e32\\u0e33\\u0e45\\u0eb0\\u0eb2\\u0eb3]*"
    # `re` compares with one range of a class after the other from U+10000 on: these stand apart, where few come.
    letter = f"(?:[^\\W_{unspaced}]|[{marks}]|(?=[\\U00010000-\\U0010ffff])[{above}])"
    spaced = f"[^\\W_{unspaced}]{letter}*"
    whole = Patterns(re.compile(f"{unit}|{spaced}"), re.compile(unit), re.compile(f"(?:{unit})+"), spaced)
    return re.compile(f"[{unspaced}{marks}\\U00010000-\\U0010ffff]"), whole


def _ranges(codes: Iterable[int]) -> str:
    """Rising code points as the inside of a character class."""
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in found)
