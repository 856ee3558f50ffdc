"""What a document calls its pages: `i-iv, 1-20` for a book with a preface."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROMAN = dict(zip("ivxlcdm", (1, 5, 10, 50, 100, 500, 1000)))
_LABEL = re.compile(r"(.*?)(\d+|[ivxlcdm]+|[IVXLCDM]+)?", re.DOTALL)


def label_ranges(labels: Sequence[str]) -> str:
    """The labels in ranges, or an empty string where pages are only counted from 1 or have no labels."""
    if not any(labels) or list(labels) == [str(n) for n in range(1, len(labels) + 1)]:
        return ""
    ranges: list[list[str]] = []
    for before, label in zip((None, *labels), labels):
        if before is not None and _follows(before, label):
            ranges[-1][1:] = [label]
        else:
            ranges.append([label])
    return ", ".join("-".join(both) for both in ranges)


def _follows(before: str, label: str) -> bool:
    one, other = _parts(before), _parts(label)
    return one[:2] == other[:2] and other[2] == one[2] + 1


def _parts(label: str) -> tuple[str, bool, int]:
    """What stands before the number, whether that is Roman, and the number."""
    match = _LABEL.fullmatch(label)
    prefix, number = (match[1], match[2] or "") if match else (label, "")
    return (prefix, False, int(number)) if number.isdigit() else (prefix, True, _roman(number.lower()))


def _roman(number: str) -> int:
    values = [_ROMAN[c] for c in number]
    return sum(-v if v < max(values[n:]) else v for n, v in enumerate(values))
