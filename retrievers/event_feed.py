"""Where events come from: a feed, a file of JSON lines with `text`, `start` and maybe `end`, `about`, `entities` and
`weight`; or the corpus itself: sentences that name a time, and somebody or something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import inf, isfinite, isinf
from pathlib import Path
from typing import Any

from fovea.rag import trace
from fovea.rag.errors import DocumentError
from fovea.rag.sentences import sentences
from fovea.rag.types import Chunk, Scalar
from fovea.retrievers.events import Event
from fovea.retrievers.time.days import Interval, moment
from fovea.retrievers.time.lexicon import lexicon
from fovea.retrievers.time.parser import SPOKEN, Languages
from fovea.retrievers.time.scan import scanner

ONE = {"are": "is", "have": "has", "name": "names"}
"""What a verb of many lines is of one."""
_ENTITY = re.compile(r"(?<!\w)[^\W\d_a-zß-öø-ÿ][\w'’.-]*(?:\s+[^\W\d_a-zß-öø-ÿ][\w'’.-]*)*")
"""A run of capitalised words."""


def events_in(chunks: Iterable[Chunk], languages: Languages = SPOKEN) -> Iterator[Event]:
    """The events that chunks tell of: for every time that a sentence names, one; sentences without a time, or without a
    capitalised word after their first, are none. Chunks that overlap tell of the same event once. O(characters).
    """
    scan, told = scanner(languages), set[tuple[str, float, float]]()
    for chunk in chunks:
        for at in sentences(chunk.text):
            text = chunk.text[at.start : at.end].strip()
            if not (found := scan.intervals(text)) or not (entities := _entities(text)):
                continue
            place = f"{chunk.document_id}:{chunk.start + at.start}-{chunk.start + at.end}"
            for interval in found:
                start, end = _told(interval)
                if (text, start, end) not in told:
                    told.add((text, start, end))
                    yield Event(text, start, end, chunk.title, entities, source=place)


def event_of(text: str, now: float, languages: Languages = SPOKEN) -> Event:
    """An event given as text alone: the first time that it names, or `now` where it names none."""
    found = scanner(languages).intervals(text)
    start, end = _told(found[0]) if found else (now, inf)
    return Event(text, start, end, entities=_entities(text))


def read_events(path: Path, *, text: str = "text", languages: Languages = SPOKEN) -> list[Event]:
    """The events of a file of JSON lines; `text` names the field with the text. Where there is no `start`, the first
    time that the text names counts.

    Lines that hold no event, and those without any time, are left out: a counted warning says which. Raises
    DocumentError where the file cannot be read or holds no event at all.
    """
    from fovea.rag.training.files import read_text

    found: list[Event] = []
    wrong: dict[str, list[int]] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            event = _event(line, text, f"{path.name}:{number}", languages)
            if isinstance(event, str):
                wrong.setdefault(event, []).append(number)
            else:
                found.append(event)
    for why, lines in wrong.items():
        trace.warn(f"{path.name}: lines left out because they {why}: {_ranges(lines)}", len(lines))
    if wrong and not found:
        raise DocumentError(
            "the file holds no event: " + "; ".join(_counted(len(lines), why) for why, lines in wrong.items()),
            where=str(path),
            fix=f'lines such as {{"{text}": "...", "start": "2020-06-15"}}',
        )
    return found


def _counted(lines: int, why: str) -> str:
    """`2 lines have no text` and `1 line has no text`."""
    verb, rest = why.split(" ", 1)
    return f"{lines:,} lines {why}" if lines != 1 else f"1 line {ONE[verb]} {rest}"


def _event(line: str, field: str, source: str, languages: Languages) -> Event | str:
    """The event of a line, or why it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "are not JSON"
    if not isinstance(row, Mapping) or not isinstance(row.get(field), str) or not row[field].strip():
        return f"have no text under {field!r}"
    try:
        start, end = _times(row, row[field], languages)
        weight = float(row.get("weight", 1.0))
        entities = tuple(map(str, row.get("entities", ()))) or _entities(row[field])
    except (ValueError, TypeError):
        return "have a start, end, weight or entities that cannot be read"
    if isinf(start):
        return "name no time"
    if not (isfinite(weight) and weight >= 0 and start <= end):
        return "have a weight under 0 or an end before the start"
    return Event(row[field], start, end, str(row.get("about", "")), entities, weight, source)


def _times(row: Mapping[str, Any], text: str, languages: Languages) -> tuple[float, float]:
    """Start and end of a line; the start is infinite where nothing says it."""
    if row.get("start") is None:
        found = scanner(languages).intervals(text)
        return _told(found[0]) if found else (inf, inf)
    start = _point(row["start"], languages)
    return start[0], _point(row["end"], languages)[1] if row.get("end") is not None else inf


def _point(value: Scalar, languages: Languages) -> tuple[float, float]:
    """First and last moment of a time of day, a day, a month or a year; raises ValueError for what is none."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        found = scanner(languages).intervals(str(value))
        one = found[0] if found else lexicon(languages).interval(str(value), datetime(2000, 1, 1))
        if one is None:
            raise
        return one.start, one.end + 1
    exact = moment(at)
    return exact, exact + 1 if len(str(value)) <= 10 else exact


def _told(interval: Interval) -> tuple[float, float]:
    """When an interval of a text begins and ends. One without a beginning ("until 1960") tells of its end."""
    start = interval.end if isinf(interval.start) else interval.start
    return start, interval.end


def _entities(text: str) -> tuple[str, ...]:
    """Runs of capitalised words, without the one that only begins the sentence."""
    found = (match[0].rstrip(".'’-") for match in _ENTITY.finditer(text) if match.start() or " " in match[0])
    return tuple(dict.fromkeys(found))


def _ranges(numbers: Sequence[int]) -> str:
    """`3, 7-9` for 3, 7, 8, 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
