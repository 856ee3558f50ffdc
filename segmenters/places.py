"""Where a text may be cut when nothing better is left, from good to bad: clauses, words, parts of words, characters.

Each function gives the places strictly inside `text[start:end]`, in rising order; what follows a place is never white
space, and nothing but white space is never left alone between two of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

Places = Callable[[str, int, int], list[int]]

_WIDE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han."""
_CLOSING = "，、；：。！？…」』】》〉）”’,;:.!?)\\]}"
_CLAUSE = re.compile(r"(?:(?<=[,;:)\]—–]\s)|(?<=[，、；：]))\S")
_WORD = re.compile(rf"(?<=\s)\S|(?<=[^\W{_WIDE}])[{_WIDE}]|(?<=[{_WIDE}{_CLOSING}])[^\W]")
_PART = re.compile(r"(?<=[^\w\s])[^\W_]|(?<=_)[^\W_]|(?<=[a-z])[A-Z]")
_CHARACTER = re.compile(r"\S")
_ZWJ = "\u200d"


def clauses(text: str, start: int, end: int) -> list[int]:
    """After commas, colons, semicolons, dashes and closing brackets."""
    return _inside(_CLAUSE, text, start, end)


def words(text: str, start: int, end: int) -> list[int]:
    """After white space, and between the characters of scripts that write none."""
    return _inside(_WORD, text, start, end)


def parts(text: str, start: int, end: int) -> list[int]:
    """After punctuation inside a word (paths, addresses, snake_case) and where camelCase turns."""
    return _inside(_PART, text, start, end)


def graphemes(text: str, start: int, end: int) -> list[int]:
    """Between characters as people see them: not before combining marks, not inside joined emoji or flags."""
    piece = text[start:end].rstrip()
    if piece.isascii():  # as most is, and nothing in it extends anything
        return characters(text, start, end)
    found, flags = [], 0
    for at in range(start + 1, start + len(piece)):
        flags = flags + 1 if _is_flag(text[at - 1]) else 0
        if not (text[at].isspace() or _extends(text[at]) or text[at - 1] == _ZWJ or (_is_flag(text[at]) and flags % 2)):
            found.append(at)
    return found


def characters(text: str, start: int, end: int) -> list[int]:
    """Between any two code points."""
    return _inside(_CHARACTER, text, start, end)


LADDER: tuple[Places, ...] = (clauses, words, parts, graphemes, characters)
"""From the best places to the last resort."""


def _inside(pattern: re.Pattern[str], text: str, start: int, end: int) -> list[int]:
    return [m.start() for m in pattern.finditer(text, start + 1, end)]


def _extends(char: str) -> bool:
    """Whether `char` belongs to the character before it: marks, joiners, skin tones, tags, Hangul vowels and finals."""
    if char < "\u0300":
        return False
    tone_or_tag = "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f"
    return tone_or_tag or char in "\u200c\u200d" or "\u1160" <= char <= "\u11ff" or unicodedata.category(char)[0] == "M"


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
