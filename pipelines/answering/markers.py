"""Citation markers in a model's answer, and the brackets that are none.

A marker stands behind a statement, `... at 80 degrees [1].`, or opens a line. Brackets mean themselves

- inside code, JSON and formulas, in a link `[1](...)` and in the definition of one,
- where they are what the sentence speaks of: behind a word that wants more (`holds [1, 2, 3]`, `interval [0, 1]`), or
  before an operator,
- right behind a word, if that is a name of code (`a[1]`), if a passage says just that, or if a marker follows apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fovea.pipelines.answering.code import spans_of_code, within
from fovea.rag import trace

_ONE = r"\[\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*\]"
_SEVERAL = rf"{_ONE}(?:(?:\s*[,;]\s*|\s+(?:and|und|et|y|e)\s+){_ONE})*"
_SOURCES = r"(?:see|cf\.?|sources?|passages?|citations?|references?|siehe|quellen?|voir)"
_MARKER = re.compile(
    rf"(?<![ \t])[ \t]*+(?:(?P<one>{_SEVERAL})|【(?P<lens>\d{{1,3}})(?:†[^【】]*+)?】|"
    rf"\((?:{_SOURCES}:?\s+)?(?P<aside>(?:{_SEVERAL}\s*)+)\)|"
    rf"(?:(?<=\n)|(?<![\s\S])){_SOURCES}:?\s+(?P<line>{_SEVERAL}(?:\s*+{_SEVERAL})*+)\.?(?=[^\S\n]*+(?:\n|\Z)))",
    re.IGNORECASE,
)
"""One marker, `(see [1] and [2])`, or a line of its own `Sources: [1], [2]`."""
_OPERATOR = r"[=<>+*/^∈∉≤≥≈≠]|\b(?:between|in|of|to|from|with|by|per|than)"
_HOLDS = (
    r"[(:]|\b(?:is|are|was|were|equals?|hold(?:s|ing)?|contain(?:s|ing)?|returns?|gives?|yields?|prints?|outputs?|becomes?|"
    r"lists?|arrays?|tuples?|vectors?|sets?|intervals?|ranges?|sequences?|indices|index|values?|numbers?|elements?|items?|"
    r"coordinates?|ist|sind|enthält|liste|intervall|est|sont|contient|intervalle|es|son|contiene|lista|intervalo)"
)
_TAKES_ONE = re.compile(rf"(?:{_OPERATOR})\s*\Z", re.IGNORECASE)
_TAKES_LIST = re.compile(rf"(?:{_OPERATOR}|{_HOLDS})\s*\Z", re.IGNORECASE)
"""What stands before a number, or before a list, in brackets that the sentence needs."""
_GOES_ON = re.compile(r"\]?(?:\(|\[(?!\d)|\.\w|\s*(?:[=<>+*/^∈≤≥≈≠]|:(?!\w)\s*(?=https?://|<)))")
_WORD = re.compile(r"\w+\Z")
_IDENTIFIER = re.compile(r"[a-z]|\w+_\w+|[a-z]+[A-Z]\w*")
_APART = re.compile(rf"[ \t]+{_ONE}")
REACH = 24
"""How many characters before a bracket are read: the longest word of the list, and spaces."""


def unmarked(text: str, passages: int, told: Sequence[str] = ()) -> tuple[str, list[tuple[int, int]]]:
    """`text` without the markers that name one of so many passages, and `(place in the new text, passage from 0)`.

    `told` are the passages' texts: what they say in brackets is quoted, not cited. A marker whose number names no
    passage is taken out with a warning. Linear in the text.
    """
    parts: list[str] = [""]
    marks: list[tuple[int, int]] = []
    at = length = 0
    for match, named in _markers(text, passages, told):
        if not all(1 <= n <= passages for n in named):
            trace.warn(f"the answer cites {match[0].strip()}, but there are {passages} passages")
        if before := text[at : match.start()]:
            parts.append(before)
            length += len(before)
        marks += [(length, n - 1) for n in named if 1 <= n <= passages]
        at = match.end()
        if parts[-1][-1:] in ("", "\n"):  # a marker that opens a line belongs to what follows
            while text[at : at + 1] in (" ", "\t"):
                at += 1
    return "".join([*parts, text[at:]]), marks


def _markers(text: str, passages: int, told: Sequence[str]) -> Iterator[tuple[re.Match[str], list[int]]]:
    code = spans_of_code(text)
    for match in _MARKER.finditer(text):
        named = list(_numbers(match["one"] or match["lens"] or match["aside"] or match["line"]))
        if not named or (0 in named and len(named) > 1) or within(match.end() - 1, code):
            continue
        subscript = _attached(text, match) and (max(named) > passages or _subscript(text, match, told))
        if not subscript and not _needed(text, match):
            yield match, named


def _needed(text: str, match: re.Match[str]) -> bool:
    """Whether the sentence needs the bracket."""
    if match["one"] is None:
        return False
    takes = _TAKES_ONE if _single(match) else _TAKES_LIST
    before = text[max(0, match.start() - REACH) : match.start()]
    return bool(_GOES_ON.match(text, match.end()) or takes.search(before))


def _single(match: re.Match[str]) -> bool:
    return bool(match["one"]) and match["one"][1:-1].isdigit()


def _attached(text: str, match: re.Match[str]) -> bool:
    return match[0][0] == "[" and text[max(0, match.start() - 1) : match.start()].isalnum()


def _subscript(text: str, match: re.Match[str], told: Sequence[str]) -> bool:
    """Whether the word before takes the bracket as its own: a name of code, a word of the passages that has it there
    too, or one whose marker follows apart.
    """
    word = _WORD.search(text[max(0, match.start() - REACH) : match.start()])
    if not word:
        return False
    named = _single(match) and _IDENTIFIER.fullmatch(word[0])
    return bool(named or _APART.match(text, match.end()) or any(word[0] + match[0] in passage for passage in told))


def _numbers(marker: str) -> Iterator[int]:
    """The numbers of `[1]`, `[1, 3]`, `[2-4]` and of several of these in a row."""
    for low, high in re.findall(r"(\d+)(?:\s*[–-]\s*(\d+))?", marker):
        yield from range(int(low), int(high or low) + 1)
