"""The words of a line of Markdown, without the marks of emphasis, code, links and HTML."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container
from html import unescape

_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_KEPT = {ord(mark): chr(0x10F000 + ord(mark)) for mark in _PUNCTUATION}
"""Punctuation that is no mark, as private characters while marks are looked for."""
_BACK = {ord(private): chr(mark) for mark, private in _KEPT.items()}
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_TICKS = re.compile(r"(?<!\\)`+")
_AUTOLINK = re.compile(r"<([a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^<>\s]*+|[^<>\s@]++@[^<>\s]++)>")
_TAG = re.compile(r"<(?:!--|/?[a-zA-Z])[^<>]*+>")
_TARGET = r"(?:<[^<>]*+>|(?:[^()\s]|\((?:[^()\s]|\([^()\s]*+\))*+\))*+)(?:\s++(?:\"[^\"]*+\"|'[^']*+'|\([^()]*+\)))?+"
_LINK = re.compile(rf"!?\[([^\[\]]*+)\]\(\s*+{_TARGET}\s*+\)")
_REFERENCE = re.compile(r"!?\[([^\[\]]++)\](?:\[([^\[\]]*+)\])?+")
_ATTRIBUTES = re.compile(r"\s\{[#.:][^{}]*+\}\Z")
_RUN = re.compile(r"\*+|_+|~~")


def plain(words: str, defined: Container[str] = ()) -> str:
    """The words a reader sees; `[words][name]` is a link where `defined` holds the name, folded by `label`. Linear."""
    words = _ESCAPED.sub(lambda found: _KEPT[ord(found[1])], _without_code(words))
    words = _TAG.sub("", _AUTOLINK.sub(lambda found: found[1].translate(_KEPT), words))
    for _ in range(3):  # A picture in a link in a link.
        words, links = _LINK.subn(r"\1", words)
        words = _REFERENCE.sub(lambda found: found[1] if label(found[2] or found[1]) in defined else found[0], words)
        if not links:
            break
    words = unescape(_without_emphasis(_ATTRIBUTES.sub("", words)))
    return " ".join(words.translate(_BACK).split())


def label(name: str) -> str:
    """The name of a link's target, as names are compared."""
    return " ".join(name.translate(_BACK).casefold().split())


def _without_code(words: str) -> str:
    """`words` with what stands between equal runs of backticks kept as it is, without them."""
    runs = list(_TICKS.finditer(words))
    places: dict[int, list[int]] = defaultdict(list)  # The runs of each length, last first.
    for n in range(len(runs) - 1, -1, -1):
        places[len(runs[n][0])].append(n)
    parts, at, n = [], 0, 0
    while n < len(runs):
        same = places[len(runs[n][0])]
        while same and same[-1] <= n:
            same.pop()
        if same:
            close = same[-1]
            parts += [words[at : runs[n].start()], words[runs[n].end() : runs[close].start()].translate(_KEPT)]
            at, n = runs[close].end(), close
        n += 1
    return "".join([*parts, words[at:]])


def _without_emphasis(words: str) -> str:
    """`words` without the pairs of `*`, `_` and `~~` that emphasise; a mark between spaces, or `_` in a word, stays."""
    opened: dict[str, list[int]] = {"*": [], "_": [], "~": []}
    drop: set[int] = set()
    for run in _RUN.finditer(words):
        at, end, waiting = run.start(), run.end(), opened[run[0][0]]
        before, after = words[at - 1 : at].strip(), words[end : end + 1].strip()
        inside = run[0][0] == "_" and before.isalnum() and after.isalnum()
        while before and not inside and at < end and waiting:
            drop |= {waiting.pop(), at}
            at += 1
        if after and not inside:
            waiting += range(at, end)
    return "".join(mark for at, mark in enumerate(words) if at not in drop) if drop else words
