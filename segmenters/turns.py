"""Turns: who says what, and when, in chats, transcripts and subtitles.

A turn is what begins with a name and a colon (`Ann: Good morning.`, also after a time in brackets, or inside `<Ann>`),
or with the time line of a subtitle (WebVTT, SubRip), up to where the next begins. Names count where at least half of
the lines have one and one of them comes twice, or a subtitle tags its voices (`<v Ann>`); a text without names or times
has a turn a line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fovea.rag.types import Span

_CLOCK = r"(\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?)"
_STAMP = re.compile(
    rf"[\[(]?(?:\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}},?[ T]{{1,2}})?"
    rf"{_CLOCK}(?: ?([AaPp])\.?[Mm]\.?)?[\])]?(?: ?[-–])? ?"
)
_NAME = re.compile(r"(?:<v ([^>\n]{1,40})>|<([^>\n]{1,40})>|([^\W\d_][^\n:<>.!?]{0,39})[:：])(?=\s|$|(?<=[>：]))\s*")
_CUE = re.compile(rf"{_CLOCK} --> {_CLOCK}[^\n]*\n?")
_LINE = re.compile(r"[^\r\n]+")
LONGEST_NAME = 4
"""Words in a name."""


class Turn(NamedTuple):
    """What one speaker says at a time."""

    speaker: str
    """The name; empty where none is written."""
    seconds: float | None
    """When it begins, after midnight or the recording's start."""
    words: str
    """What is said, in one line, without name and time."""


def spans(text: str) -> list[Span]:
    """Where the turns of `text` lie, trimmed and in order, with nothing but white space left out. O(len(text))."""
    lines = [(match.start(), match[0]) for match in _LINE.finditer(text) if not match[0].isspace()]
    begins = _begins([line for _, line in lines])
    starts = [at + len(line) - len(line.lstrip()) for (at, line), begin in zip(lines, begins) if begin]
    edges = [*starts, len(text)]
    return [Span(a, a + len(text[a:b].rstrip())) for a, b in pairwise(edges)]


def _begins(lines: Sequence[str]) -> list[bool]:
    """Which lines begin a turn; the first always does."""
    cues = [bool(_CUE.match(line.strip())) for line in lines]
    if sum(cues) > 1:
        # A cue may have a number or a name in the line before its times.
        numbered = [after and line.strip().isdigit() for line, after in zip(lines, [*cues[1:], False])]
        begins = [n or (c and not before) for n, c, before in zip(numbered, cues, [False, *numbered])]
    else:
        named = _named([line.strip() for line in lines])
        begins = [bool(turn.speaker) for turn in named] if any(turn.speaker for turn in named) else [True] * len(lines)
    return [True, *begins[1:]] if lines else []


def turns(texts: Sequence[str]) -> list[Turn]:
    """Speaker, time and words of texts that are a turn each."""
    return _named([text.strip() for text in texts])


def _named(texts: Sequence[str]) -> list[Turn]:
    found = [_parsed(text) for text in texts]
    names = Counter(turn.speaker for turn, _ in found if turn.speaker)
    meant = max(names.values(), default=0) > 1 or any("<v " in text for text in texts)
    if meant and 2 * sum(names.values()) >= len(found):
        return [turn for turn, _ in found]
    return [Turn("", turn.seconds, plain) for turn, plain in found]


def _parsed(text: str) -> tuple[Turn, str]:
    """The turn as it is if names are meant, and its words if they are not."""
    seconds, at = None, 0
    if (digits := re.match(r"\d+\s*\n", text)) and _CUE.match(text, digits.end()):
        at = digits.end()
    if (clock := _CUE.match(text, at)) or (clock := _STAMP.match(text)):
        seconds, at = _seconds(clock[1], clock[2] if clock.re is _STAMP else None), clock.end()
    plain = " ".join(text[at:].split())
    name = _NAME.match(text, at)
    if not name or len((who := (name[1] or name[2] or name[3]).strip()).split()) > LONGEST_NAME:
        return Turn("", seconds, plain), plain
    return Turn(who, seconds, " ".join(text[name.end() :].split())), plain


def _seconds(clock: str, half: str | None) -> float:
    """Of `1:02`, minutes and seconds or hours and minutes alike, of `1:02:03.5`, and of `1:02 pm`."""
    parts = [float(part.replace(",", ".")) for part in clock.split(":")]
    if half:
        parts[0] = parts[0] % 12 + (12 if half in "pP" else 0)
    parts = [*parts, 0.0] if len(parts) == 2 else parts
    return parts[0] * 3600 + parts[1] * 60 + parts[2]
