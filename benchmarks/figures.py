"""Runs the benchmarks whose figures README.md and docs/ quote, and keeps what each said beside the code it was said of.

    python benchmarks/figures.py [--data DIR] [--place NAME=PATH ...] [--only NAME ...] [--stale]
    python benchmarks/figures.py --list [--stale]
    python benchmarks/figures.py --show NAME

figures.yaml lists them. Those without a record run one after another, and those whose measured files have changed since
(`--stale`: the latter alone). A record, `figures/NAME.json`, is written whole when its command has ended well, so that
the same command goes on from wherever it was stopped. It holds the commit, versions, machine, seconds, what was
printed, and a hash of every measured file, which tells without a history whether it is older than the code. One that
fails keeps the record it had, and is named at the end; the others run all the same, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.figures_listed import ROOT, Recipe, arguments, digest, read, state
from benchmarks.figures_record import commit, machine, printed, table, text_of, versions
from fovea.rag.errors import nearest


class Figures:
    """The list of a repository, the records beside it, and what is made on the way."""

    def __init__(self, root: Path, places: Mapping[str, str], cache: Path) -> None:
        self.root, self.places, self.cache = root, dict(places), cache
        self.listed = read(root / "benchmarks" / "figures.yaml")

    def path(self, name: str) -> Path:
        """Where its record lies, or will."""
        return self.root / "benchmarks" / "figures" / f"{name}.json"

    def record(self, name: str) -> dict[str, Any] | None:
        """What its last run left."""
        return json.loads(self.path(name).read_text("utf-8")) if self.path(name).exists() else None

    def state(self, name: str) -> str:
        """`no record`, `current`, or `older: ` and what has changed since."""
        figure = self.listed.figures[name]
        return state(self.record(name), figure, self.listed.files(figure, self.root))

    def missing(self, name: str) -> dict[str, str]:
        """The places that it wants and was not given, with what they are."""
        wanted = self.listed.given(self.listed.figures[name])
        return {place: what for place, what in wanted.items() if place not in self.places}

    def run(self, name: str) -> int:
        """The exit code; where it is 0 there is a record. What changes while it runs makes it older."""
        figure = self.listed.figures[name]
        files = self.listed.files(figure, self.root)
        own = self.cache / "own" / f"{name}-{digest(files)}"
        if "{own}" in figure.command:
            own.mkdir(parents=True, exist_ok=True)
        at = {**self.places, "cache": str(self.cache / "vectors"), "own": str(own)}
        if code := self._make(figure, at):
            return code
        on = {**commit(self.root), "machine": machine(), "versions": versions(), "files": files}
        began, before = time.perf_counter(), os.times()
        done = self._call(figure.command, at)
        seconds, after = time.perf_counter() - began, os.times()
        if done.returncode:
            return done.returncode
        processor = after.children_user + after.children_system - before.children_user - before.children_system
        record = {
            "command": figure.command, "seconds": round(seconds, 2), "processor_seconds": round(processor, 2), **on,
            "printed": printed(done.stdout, {**at, ".": str(self.root), "~": str(Path.home())}),
        }  # fmt: skip
        path = self.path(name)
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(text_of(record), "utf-8")
        part.replace(path)
        return 0

    def _make(self, recipe: Recipe, at: dict[str, str]) -> int:
        """What it takes, where it is not there, in a folder named by the code that makes it."""
        for name, place in self.listed.made(recipe).items():
            if code := self._make(place, at):
                return code
            folder = self.cache / "made" / digest(self.listed.files(place, self.root) | {"command": place.command})
            at[name] = str(folder / name)
            if Path(at[name]).exists():
                continue
            part = folder / "part" / name
            part.parent.mkdir(parents=True, exist_ok=True)
            for command in place.command.splitlines():
                print(f"  {name}: {command}", flush=True)
                if code := self._call(command, {**at, "out": str(part)}).returncode:
                    return code
            Path(at[name]).parent.mkdir(parents=True, exist_ok=True)
            part.replace(at[name])
        return 0

    def _call(self, command: str, at: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        words, env = arguments(command, at)
        path = os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH", "")]))
        return subprocess.run(words, cwd=self.root, env={**os.environ, **env, "PYTHONPATH": path},
                              stdout=subprocess.PIPE, encoding="utf-8", errors="replace")  # fmt: skip


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """0 if all that ran went well, 1 if one failed or one that was asked for by name was left out, 2 for a mistake."""
    parser = argparse.ArgumentParser(prog="figures.py", description="Run the benchmarks that the pages quote.")
    parser.add_argument("--data", metavar="DIR", help="the same as --place data=DIR: the folder of test sets")
    parser.add_argument("--place", action="append", default=[], metavar="NAME=PATH", help="others that commands take")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these figures alone")
    parser.add_argument("--stale", action="store_true", help="only what is older than the code it measures")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--show", metavar="NAME", help="print the table of a record")
    parser.add_argument("--cache", type=Path, help="what is made on the way, and kept (build/figures)")
    given = parser.parse_args(words)
    places = dict(one.partition("=")[::2] for one in given.place) | ({"data": given.data} if given.data else {})
    figures = Figures(root, {name: os.path.abspath(path) for name, path in places.items() if path},
                      (given.cache or root / "build" / "figures").absolute())  # fmt: skip
    names = [given.show] if given.show else given.only or list(figures.listed.figures)
    _check(parser, figures, names, list(places))
    if given.show:
        record = figures.record(given.show)
        print(table(record) if record else f"{given.show} has no record")
        return 0 if record else 1
    states = {name: figures.state(name) for name in names}
    states = {name: said for name, said in states.items() if not given.stale or said.startswith("older")}
    if given.list:
        for name, said in states.items():
            print(f"{name:<24} {figures.listed.figures[name].minutes:>5g} min  {said}")
        return 0
    try:
        return _run_all(figures, [name for name, said in states.items() if said != "current"], bool(given.only))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from there", file=sys.stderr)
        return 130


def _check(parser: argparse.ArgumentParser, figures: Figures, names: Sequence[str], places: Sequence[str]) -> None:
    """Ends with exit code 2 for a name that is not listed and a path that is not there."""
    listed = figures.listed
    wanted = [name for name, what in listed.places.items() if isinstance(what, str)]
    for option, said, known in (("--only", names, list(listed.figures)), ("--place", places, wanted)):
        for name in said:
            if name not in known:
                near = nearest(name, known)
                parser.error(f"{option}: figures.yaml has no {name!r}" + (f"; the nearest is {near}" if near else ""))
    for name in places:
        if not (path := figures.places.get(name)) or not Path(path).exists():
            parser.error(f"{name}: there is nothing at {path}" if path else f"--place {name}: expected NAME=PATH")


def _run_all(figures: Figures, names: Sequence[str], named: bool) -> int:
    failed, left = [], 0
    for number, name in enumerate(names, 1):
        if missing := figures.missing(name):
            place, what = next(iter(missing.items()))
            print(f"[{number}/{len(names)}] {name}: left out, it wants --place {place}=PATH: {what}", flush=True)
            left += 1
            continue
        print(f"[{number}/{len(names)}] {name}: about {figures.listed.figures[name].minutes:g} minutes", flush=True)
        try:
            code = figures.run(name)
        except OSError as error:
            print(f"  {error.filename}: {error.strerror}", flush=True)
            code = 1
        if code:
            print(f"  failed with exit code {code}; what it said stands above", flush=True)
            failed.append(name)
    print(f"{len(names) - left - len(failed)} recorded, {left} left out, {len(failed)} failed", end="")
    print(f": {', '.join(failed)}" if failed else "")
    return int(bool(failed or (named and left)))


if __name__ == "__main__":
    raise SystemExit(main())
