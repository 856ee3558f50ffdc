"""figures.yaml as objects: which commands figures come from, what these take, which files decide what they print."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]
PLACE = re.compile(r"\{([\w./-]+)\}")
"""In a command: a path that is filled in."""
SCRIPT = re.compile(r"-m benchmarks\.(\w+)|\bbenchmarks/(\w+)\.py\b")
"""In a command: the benchmark that it runs."""


class Recipe(BaseModel):
    """What makes a file or folder, `{out}`: commands, a line each."""

    model_config = ConfigDict(extra="forbid")
    command: str
    measures: list[str] = []
    """Globs from the top of the repository; the command's own script is measured too."""


class Figure(Recipe):
    """One command, whose output stands on pages."""

    pages: dict[str, str]
    """Of each page a string by which its figures are found."""
    minutes: float
    """A guess, for who waits."""


class Listed(BaseModel):
    """What figures.yaml says."""

    model_config = ConfigDict(extra="forbid")
    places: dict[str, str | Recipe]
    """What commands take: a text says what whoever runs them must give, a recipe makes it."""
    figures: dict[str, Figure]
    others: dict[str, str]
    """Scripts and commands that no figure of a page is of, and why."""

    def made(self, recipe: Recipe) -> dict[str, Recipe]:
        """The places in its command that recipes make."""
        taken = {name: self.places.get(name) for name in PLACE.findall(recipe.command)}
        return {name: place for name, place in taken.items() if isinstance(place, Recipe)}

    def given(self, recipe: Recipe) -> dict[str, str]:
        """The places that somebody must give, for it and for what it takes, with what they are."""
        taken = {name: self.places.get(name) for name in PLACE.findall(recipe.command)}
        found = {name: place for name, place in taken.items() if isinstance(place, str)}
        for place in self.made(recipe).values():
            found |= self.given(place)
        return found

    def files(self, recipe: Recipe, root: Path) -> dict[str, str]:
        """Hashes of what decides what it prints: measured files by path, and `{place}` for recipes of what it takes."""
        found = {path.relative_to(root).as_posix(): _hash(path.read_bytes()) for path in measured(recipe, root)}
        for name, place in self.made(recipe).items():
            found |= self.files(place, root) | {"{" + name + "}": _hash(place.command.encode())}
        return dict(sorted(found.items()))


def measured(recipe: Recipe, root: Path) -> set[Path]:
    """The files that its globs match, and its script; FileNotFoundError for a glob that matches none."""
    found: set[Path] = set()
    scripts = [f"benchmarks/{one or other}.py" for one, other in SCRIPT.findall(recipe.command)]
    for pattern in [*recipe.measures, *scripts]:
        paths = [path for path in root.glob(pattern) if path.is_file()]
        if not paths:
            raise FileNotFoundError(f"figures.yaml measures {pattern}, which matches no file of {root}")
        found.update(paths)
    return found


def read(path: Path) -> Listed:
    """What a list says; pydantic's ValidationError where it is none."""
    return Listed.model_validate(yaml.safe_load(path.read_text("utf-8")))


def arguments(command: str, at: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Its words, with this Python, and the variables before them. A path fills its word even where it has spaces; a
    word with a place and a star stands for the files that it matches.
    """
    words = shlex.split(command)
    env: dict[str, str] = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    filled: list[str] = []
    for word in words:
        path = PLACE.sub(lambda one: at.get(one[1], one[0]), word)
        filled += sorted(glob(path)) or [path] if PLACE.search(word) and "*" in word else [path]
    head = {"python": [sys.executable], "fovea": [sys.executable, "-m", "fovea"]}.get(filled[0], filled[:1])
    return [*head, *filled[1:]], env


def state(record: dict[str, Any] | None, figure: Figure, files: dict[str, str]) -> str:
    """`no record`, `current`, or `older: ` and what has changed since."""
    if record is None:
        return "no record"
    if record["command"] != figure.command:
        return "older: its command has changed"
    changed = sorted(path for path in {*record["files"], *files} if record["files"].get(path) != files.get(path))
    if not changed:
        return "current"
    more = f" and {len(changed) - 1} more have" if len(changed) > 1 else " has"
    return f"older: {changed[0]}{more} changed since {(record['commit'] or 'its run')[:7]}"


def digest(files: dict[str, str]) -> str:
    """A name for a state of the code."""
    return _hash(json.dumps(files).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
