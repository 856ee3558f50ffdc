"""Superscripts and subscripts in running text: `10^6`, `H2O`, `1st`, `3 1/2`, `Acme™`, `note[3]`.

Loaders set the marks `SUP` or `SUB` before and `END` behind what is raised or lowered, and `resolved` replaces them. A
number that is raised never runs into the digits before it: 10 to the 6 is not 106.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from fovea.pipelines.loaders.formula import grouped

SUP, SUB, END = "\ufdd0", "\ufdd1", "\ufdd2"
"""Noncharacters, which no text holds."""
DEEPEST = 10
"""How deep what is raised or lowered stands in other such; beyond, it is set as these are."""
_MARKS = re.compile(f"([{SUP}{SUB}{END}])")
_ORDINAL = re.compile(r"st|nd|rd|th|er|re|ère|e|d|de|ème|eme|ième|o|a|os|as|te|ste", re.IGNORECASE)
_SHORTENED = re.compile(r"lle|lles|me|mes|gr|o|os", re.IGNORECASE)
_PLAIN = re.compile(r"\[.*\]|[*†‡§¶®©™℠°′″’'ªº]+|#+", re.DOTALL)
_TRADE = {"TM": "™", "SM": "℠", "(R)": "®"}
_NUMERATOR = re.compile(r"(?:\^|(?<!\d))(\d+)\s*[/⁄∕]\s*\Z")
_ELEMENT = re.compile(r"(?:\b|\d|\)|[A-Z])[A-Z][a-z]?\Z|\)\Z")


def resolved(text: str) -> str:
    """`text` without marks. Linear in its length."""
    if not _MARKS.search(text):
        return text
    stack: list[tuple[str, list[str]]] = [("", [])]
    deeper = 0
    for piece in (*_MARKS.split(text), *END * text.count(SUP), *END * text.count(SUB)):
        if piece in (SUP, SUB) and len(stack) > DEEPEST:
            deeper += 1
        elif piece in (SUP, SUB):
            stack.append((piece, []))
        elif piece == END and deeper:
            deeper -= 1
        elif piece == END and len(stack) > 1:
            which, inside = stack.pop()
            _place(stack[-1][1], which, "".join(inside))
        elif piece and piece != END:
            stack[-1][1].append(piece)
    return re.sub(r"(?<![\w)])\^?(\d+)⁄(\d+)", r"\1/\2", "".join(stack[0][1]))


def run_on(runs: Iterable[tuple[str, str]]) -> str:
    """Runs of text, each behind its mark (`SUP`, `SUB` or none), as one text; neighbours of one mark are one."""
    together = ((mark, "".join(text for _, text in group)) for mark, group in groupby(runs, key=itemgetter(0)))
    return resolved("".join(f"{mark}{text}{END}" if mark else text for mark, text in together))


def _place(parts: list[str], which: str, text: str) -> None:
    """Put what was raised or lowered behind `parts`."""
    before = "".join(parts[-3:])
    above = _NUMERATOR.search(before) if which == SUB and text.strip().isdigit() else None
    if above:
        whole = before[: above.start()]
        parts[-3:] = [whole, " " if whole[-1:].isdigit() else "", f"{above[1]}/{text.strip()}"]
    elif text.strip():
        parts.append(_raised(before, text) if which == SUP else _lowered(before, text))


def _raised(before: str, text: str) -> str:
    bare, last = text.strip(), before[-1:]
    if bare.upper() in _TRADE:
        return _TRADE[bare.upper()]
    ordinal = last.isdigit() and _ORDINAL.fullmatch(bare)
    if not last.strip() or ordinal or _PLAIN.fullmatch(bare) or (last.isalpha() and _SHORTENED.fullmatch(bare)):
        return text
    if last in ".,;:!?\"'”’»":
        return f"[{bare}]"
    return f"^{grouped(bare)}"


def _lowered(before: str, text: str) -> str:
    bare, last = text.strip(), before[-1:]
    if not last.strip() or (bare.isdigit() and _ELEMENT.search(before[-4:])):
        return text
    return f"_{grouped(bare)}"
