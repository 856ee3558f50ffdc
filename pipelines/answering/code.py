"""Where an answer holds code or data, in which brackets and tags mean themselves."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

_LINE = re.compile(r"[^\n]*(?:\n|\Z)")
_FENCE = re.compile(r" {0,3}(?:[-*+>] +)?(`{3,}|~{3,})(?P<words>.*)")
_TICKS = re.compile(r"`+")
_OBJECT = re.compile(r'[\[{]\s*(?=["{\[\]}]|-?\d|true|false|null)')
_MATHS = re.compile(
    r"\$\$[^$]+\$\$|\$(?=\S)[^$\n]+(?<=\S)\$|\\\((?:(?!\\[()]).)++\\\)|\\\[(?:(?!\\[\[\]]).)++\\\]", re.DOTALL
)

Spans = Sequence[tuple[int, int]]


def spans_of_code(text: str) -> Spans:
    """`[start, end)` of fenced and inline code, of formulas and of JSON objects, in order, none inside another."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((*_fenced(text), *_objects(text), *(m.span() for m in _MATHS.finditer(text)))):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return sorted((*found, *(span for span in _inline(text) if not within(span[0], found))))


def within(place: int, spans: Spans) -> bool:
    """Whether a place lies in one of the spans."""
    here = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return here >= 0 and place < spans[here][1]


def _fenced(text: str) -> Iterator[tuple[int, int]]:
    """Blocks between fences; one that never closes goes on to the end."""
    start, fence = 0, ""
    for line in _LINE.finditer(text):
        mark = _FENCE.match(line[0])
        if mark and not fence and not ("`" in mark["words"] and mark[1][0] == "`"):
            start, fence = line.start(), mark[1]
        elif mark and fence and mark[1].startswith(fence) and not mark["words"].strip():
            yield start, line.end()
            fence = ""
    if fence:
        yield start, len(text)


def _inline(text: str) -> Iterator[tuple[int, int]]:
    """Code between as many backticks; a run that nothing closes is text. Linear."""
    runs = [match.span() for match in _TICKS.finditer(text)]
    closes: dict[int, list[int]] = {}
    for at, (start, end) in enumerate(runs):
        closes.setdefault(end - start, []).append(at)
    at = 0
    while at < len(runs):
        start, end = runs[at]
        same = closes[end - start]
        after = bisect_right(same, at)
        if after < len(same):
            yield start, runs[same[after]][1]
            at = same[after]
        at += 1


def _objects(text: str) -> Iterator[tuple[int, int]]:
    """JSON objects, and arrays that are the whole text: what is plain list or marker in prose is not for here."""
    if text.lstrip()[:1] in ("[", "{") and _is_json(text):
        yield 0, len(text)
        return
    decoder, at, tries = json.JSONDecoder(), 0, 0
    while tries < 100 and (match := _OBJECT.search(text, at)):
        at = match.end()
        if match[0][0] == "{" or text[match.end()] in '"{':
            tries += 1
            try:
                _, end = decoder.raw_decode(text, match.start())
            except (ValueError, RecursionError):
                continue
            yield match.start(), end
            at = end


def _is_json(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or (isinstance(value, list) and len(value) != 1)
