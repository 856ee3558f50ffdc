"""Globs over names: `*` ends at a slash, `**` does not, and a folder that matches stands for all below it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` matches a name, or a folder above it."""
    return _match(name.split("/"), pattern.split("/"))


def _match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_match(parts[at:], pattern[1:]) for at in range(len(parts)))
    fits = parts and (parts[0] == pattern[0] or fnmatchcase(parts[0], pattern[0]))
    return bool(fits) and _match(parts[1:], pattern[1:])
