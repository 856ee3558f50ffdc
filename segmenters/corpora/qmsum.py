"""QMSum: transcripts of meetings, of which people said which turns belong to which topic (M. Zhong et al., "QMSum",
2021).

A unit is a turn. Topics are given as ranges of turns, first and last included, which may leave gaps, overlap and come
in any order; a boundary lies before the first turn of every range and after its last one, where that is inside the
meeting. Turns that nobody gave a topic so become segments of their own, since what stands around a topic is another.

Marks of the transcribers such as `{vocalsound}` are taken out. A turn of which nothing is left (one in twenty) says
nothing and is no unit; a boundary beside it lies between the turns around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fovea.rag.training.files import eighth, malformed
from fovea.segmenters.sectioned import Sectioned, Split
from fovea.segmenters.units import Units

_MARK = re.compile(r"\{\s*[A-Za-z_]+\s*\}")


def is_qmsum(data: Any) -> bool:
    """Whether the JSON of a file is a meeting."""
    return isinstance(data, dict) and {"meeting_transcripts", "topic_list"} <= data.keys()


def read_qmsum(data: Any, path: Path, name: str) -> Sectioned:
    """One meeting; its folder says what it is for, and of those in `train` one in eight is kept to develop on.

    Raises DocumentError for a meeting without the fields it must have.
    """
    try:
        contents = [str(turn["content"]) for turn in data["meeting_transcripts"]]
        spans = [(int(a), int(b)) for topic in data["topic_list"] for a, b in topic["relevant_text_span"]]
    except (KeyError, TypeError, ValueError) as error:
        raise malformed(path, f"no meeting of QMSum: {type(error).__name__}: {error}") from None
    turns = [" ".join(_MARK.sub(" ", content).split()) for content in contents]
    units = Units.given([turn for turn in turns if turn])
    return Sectioned(name, units, _boundaries(turns, spans), "qmsum", _split(path))


def _boundaries(turns: Sequence[str], spans: Iterable[tuple[int, int]]) -> np.ndarray:
    """Where topics end among the turns that say something: bool `(gaps,)`."""
    before = np.cumsum([0, *(bool(turn) for turn in turns)])
    starts = [turn for first, last in spans for turn in (first, last + 1) if 0 < turn < len(turns)]
    found = np.zeros(max(int(before[-1]) - 1, 0), bool)
    gaps = before[starts] - 1
    found[gaps[(gaps >= 0) & (gaps < len(found))]] = True
    return found


def _split(path: Path) -> Split:
    if path.resolve().parent.name != "train":
        return "test"
    return "dev" if eighth(path.stem) == 1 else "train"
