"""benchmarks/figures.yaml: what README.md and docs/ quote is in it, and what is in it is there."""

import argparse
import ast
import re
import shlex
import warnings
from pathlib import Path

import pytest

from benchmarks.figures import Figures
from benchmarks.figures_listed import PLACE, SCRIPT, Recipe, measured, read
from fovea.pipelines.cli.main import _parser
from tests.conftest import ROOT

LISTED = read(ROOT / "benchmarks" / "figures.yaml")
MADE = {name: one for name, one in LISTED.places.items() if isinstance(one, Recipe)}
RECIPES = LISTED.figures | MADE
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUOTED = re.compile(r"(?:[A-Z_]+=\S+ )?(?:python (?:-m )?)?(?:benchmarks[./]|fovea bench )(\w+)(?:\.py)?")
"""The beginning of a command, and the name of its benchmark."""


def quoted(page: Path) -> list[str]:
    """The commands that stand on a page as code."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    return sorted({span for span in spans if QUOTED.match(span)} - {"benchmarks/testbed"})


def said(command: str, name: str = "") -> tuple[str, list[str]]:
    """The benchmark that a command runs, and the words behind it, with places as a page writes them; `name` is made."""
    command = re.sub(r"^\{\w+\}", "python", command.replace("{out}", name))
    command = PLACE.sub(lambda one: one[1] if isinstance(LISTED.places.get(one[1]), Recipe) else "", command)
    begun = QUOTED.match(command)
    return (begun[1], shlex.split(command[begun.end() :])) if begun else ("", [])


SAID = {name: said(one.command) for name, one in LISTED.figures.items()}


def holds(words: list[str], word: str) -> bool:
    """Whether a command has a word of a page; what a reader fills in, in capitals, and what goes on is passed by."""
    if re.search(r"[A-Z]|\.\.\.", word):
        return True
    if "{" in word:
        return any(word.replace(" ", "") in one.replace(" ", "") for one in words)
    return any(word == one.lstrip("/") or one.endswith(f"/{word}") for one in words)


@pytest.mark.parametrize(("page", "command"), [(page, one) for page in PAGES for one in quoted(page)],
                         ids=lambda one: one.stem if isinstance(one, Path) else one[:60])  # fmt: skip
def test_what_a_page_quotes_is_listed(page, command):
    """Under its page, with all of its options: else the figures beside it come of nothing that `make figures` runs."""
    if command in LISTED.others:
        return
    name, words = said(command)
    here = [SAID[own] for own, one in LISTED.figures.items() if page.relative_to(ROOT).as_posix() in one.pages]
    made = [said(line, place) for place, one in MADE.items() for line in one.command.splitlines()]
    runs = [own for ran, own in here + made if ran == name]
    assert runs, f"no figure of benchmarks/figures.yaml that names {page.name} runs {name}"
    assert any(all(holds(own, word) for word in words) for own in runs), f"none of them runs {command}"


@pytest.mark.parametrize("name", LISTED.figures)
def test_a_page_has_what_it_is_said_to_have(name):
    for page, text in LISTED.figures[name].pages.items():
        assert (ROOT / page).read_text("utf-8").count(text) == 1, f"{page} does not have once: {text}"
    assert LISTED.figures[name].pages


def of_source(path: Path) -> tuple[argparse.ArgumentParser, bool]:
    """A script's parser, made of what its source adds to one, and whether that is all of it: nothing is imported."""
    parser, whole = argparse.ArgumentParser(path.name), True
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            if not all(isinstance(name, ast.Constant) for name in call.args):
                whole = False
                continue
            plain = {one.arg: one.value.value for one in call.keywords if isinstance(one.value, ast.Constant)}
            plain = {key: value for key, value in plain.items() if key in ("action", "nargs", "required", "dest")}
            parser.add_argument(*(name.value for name in call.args), **plain)
    return parser, whole


@pytest.mark.parametrize(
    ("name", "command"), [(n, line) for n, one in RECIPES.items() for line in one.command.splitlines()]
)
def test_a_command_is_one_that_runs(name, command):
    places = set(PLACE.findall(command)) - set(LISTED.places)
    assert places <= ({"cache", "own"} if name in LISTED.figures else {"out"})
    words = [word for word in shlex.split(PLACE.sub("path", command)) if not re.match("[A-Z_]+=", word)]
    if words[0] == "fovea":
        if words[1] != "--help":
            _parser(words[1]).parse_args(words[1:])
        return
    assert words[0] == "python" or re.match(r"\{\w+\} ", command)
    script = ROOT / "benchmarks" / f"{''.join(SCRIPT.search(command).groups(''))}.py"
    parser, whole = of_source(script)
    _, rest = parser.parse_known_args(words[3 if words[1] == "-m" else 2 :])
    assert not rest or not whole


def test_every_benchmark_is_run_or_said_why_not():
    ran = {path for one in RECIPES.values() for path in measured(one, ROOT)}
    for path in (ROOT / "benchmarks").glob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        assert (path in ran) != (name in LISTED.others), name
    for other in LISTED.others:
        assert (ROOT / other).exists() or any(other in quoted(page) for page in PAGES), other


def test_names_are_listed_once():
    """YAML itself takes the last of two."""
    names = re.findall(r"^  ([\w./]+):", (ROOT / "benchmarks" / "figures.yaml").read_text("utf-8"), re.MULTILINE)
    assert not [name for name in names if names.count(name) > 1]
    assert set(names) >= {*LISTED.figures, *LISTED.places}


def test_figures_older_than_their_code_are_told():
    """A warning, not a failure: to measure takes hours."""
    figures = Figures(ROOT, {}, ROOT / "build")
    records = {path.stem: path.read_text("utf-8") for path in (ROOT / "benchmarks" / "figures").glob("*.json")}
    assert set(records) <= set(LISTED.figures)
    assert not [name for name, text in records.items() if f"{ROOT}/" in text or f"{Path.home()}/" in text]
    if older := [f"{name}: {said}" for name in records if (said := figures.state(name)).startswith("older")]:
        warnings.warn("figures " + "; ".join(older) + " (python benchmarks/figures.py --stale runs them)", stacklevel=1)
