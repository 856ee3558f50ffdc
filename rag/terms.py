"""The terms of the lexical index, and those a question looks for: words, and what they make together.

Words are those of `fovea.rag.tokens.words`.

- Of a script without spaces the index holds each written unit and each two that stand side by side. A question looks
  for the pairs (for a unit that stands alone, for itself), so that a word is found inside a sentence, and a sentence
  that only shares its characters is not.
- What marks join is a term too, beside its parts: `2.10.1`, `user@example.com`, `192.168.0.1`, `docs/setup.md`, `R&D`.
  A hyphen or underscore beside a letter is left out (`e-mail`, `email` and, broken over two lines, `e-` `mail` have the
  term `email`; `ABC-123` and `ABC123` have `abc123`), and so is the v of a version, whose first number is a term too.
  What points join inside of a longer name (`2.10.1` in `v2.10.1-rc1`) is a term of its own, and so are `C++`, `C#` and
  `.NET`.

A term's marks are written full-width, which no folded text has, so that whoever takes terms apart at spaces and marks,
such as SQLite's FTS5 in stores of an older Fovea, takes them for letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from fovea.rag.folding import fold
from fovea.rag.tokens import cut, patterns

LONGEST = 100
"""Characters of a joined term; a longer one is found by its parts alone."""
_JOINTS = "-._/@:+#&"
_WIDE = {ord(mark): ord(mark) + 0xFEE0 for mark in _JOINTS}
_SILENT = re.compile(r"[-_](?:(?<=[^\W\d_].)|(?=[^\W\d_]))|^v(?=[0-9])")
_VERSION = re.compile(r"v([0-9]+)\.[0-9]")
_BUT_POINTS = re.compile("[-_/@:+#&]+")
_JOINT = {m: re.compile(rf"\{m}(?<=[^\W_].)" + ("" if m in "+#" else r"(?=[^\W_])")) for m in _JOINTS}
_BEGUN = re.compile(r"\.(?<![^\s(].)(?=[^\W\d_])")
"""Where a name begins with a point: `.net`. Each pattern begins with one character, which `re` looks for fast."""
_BROKEN = re.compile(r"-(?<=[^\W\d_].)\n[ \t]*(?=[^\W\d_])")


def index_terms(text: str) -> list[str]:
    """The terms by which `text` is found, in any order. O(text)."""
    found, runs, names = _cut(fold(text))
    for run in runs:
        found += [*run, *_pairs(run)]
    return found + names


def query_terms(text: str) -> list[str]:
    """The terms that `text` looks for, each once: those by which it is found, but no unit that has a neighbour."""
    found, runs, names = _cut(fold(text))
    for run in runs:
        found += _pairs(run) or run
    return list(dict.fromkeys(found + names))


def _cut(folded: str) -> tuple[list[str], list[list[str]], list[str]]:
    """The words between spaces, the units of each run of a script without spaces, and what marks join, as terms."""
    if "-\n" in folded:
        folded = _BROKEN.sub("-", folded)
    runs: list[list[str]] = []
    if not folded.isascii():
        known = patterns(folded)
        runs = [known.unit.findall(run) for run in known.run.findall(folded)]
        folded = known.run.sub(" ", folded) if runs else folded
    return cut(folded), runs, list(_names(folded))


def _names(folded: str) -> Iterator[str]:
    """What marks join, as terms."""
    begun = [found.start() for found in _BEGUN.finditer(folded)]
    joints = [found.start() for mark in _JOINTS if mark in folded for found in _JOINT[mark].finditer(folded)]
    if not joints and not begun:
        return
    name = _name(patterns(folded).spaced)
    end = 0
    for start in sorted([*begun, *joints]):
        if start < end:
            continue
        while start > end and _inside(folded[start - 1]):
            start -= 1
        if found := name.match(folded, start):
            end = found.end()
            yield from _forms(found[0])
            yield from _VERSION.findall(found[0][:LONGEST])


def _pairs(run: list[str]) -> list[str]:
    return [a + b for a, b in pairwise(run)]


def _forms(name: str) -> list[str]:
    """The name as a term, and what points join inside of it."""
    some = dict.fromkeys(
        [name, *(part for part in _BUT_POINTS.split(name) if "." in part[1:])] if "." in name else [name]
    )
    silent = [_SILENT.sub("", form) for form in some if len(form) <= LONGEST]
    return [form if form.isalnum() else form.translate(_WIDE) for form in silent]


def _inside(char: str) -> bool:
    """Whether a character belongs to a word."""
    return char.isalnum() or unicodedata.category(char)[0] == "M"


@cache
def _name(word: str) -> re.Pattern[str]:
    """Words that marks join, with a mark before or behind that is part of the name."""
    return re.compile(rf"\.?{word}(?:[{_JOINTS}]{word})*(?:\+\+?|\#)?")
