"""Every `pip install` line that we print or write is one that works: the name is ours, the extra exists, and it brings
the module it is named for.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project.test_wheel import ROOMS, metadata

SOURCES = sorted([*ROOT.glob("fovea/*.py"), *(path for room in ROOMS for path in ROOT.glob(f"{room}/**/*.py"))])
PAGES = sorted(
    path
    for pattern in ("*.md", "*.txt", "Makefile", "[a-z]*/**/*.md", "[a-z]*/**/*.ipynb", "[a-z]*/**/*.toml")
    for path in ROOT.glob(pattern)
)
LINE = re.compile(r"pip install((?: +[^\s`;|&#]+)+)")
NAMED = re.compile(r"([\w{}][\w.{}-]*)(?:\[([^\]]*)\])?")
PROSE = {"or", "in", "and", "then", "which", "to"}
"""Words with which a sentence goes on behind a command."""
PEERS = {"nltk"}
"""What a benchmark compares with, and no extra brings."""
HOLE = "{}"
"""What stands for the parts of an f-string."""


@pytest.fixture(scope="module")
def shipped(built):
    """The metadata of the built wheel."""
    return metadata(built.wheel)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def trees() -> dict[Path, ast.AST]:
    """Of the sources that may hold what is looked for: to read all others takes seconds."""
    read = {path: path.read_text("utf-8") for path in SOURCES}
    return {path: ast.parse(text) for path, text in read.items() if re.search(r"pip\b|extra|package\(", text)}


def texts(tree: ast.AST) -> Iterator[str]:
    """String constants, and f-strings with holes."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(p.value if isinstance(p, ast.Constant) else HOLE for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def named(text: str) -> Iterator[tuple[str, list[str]]]:
    """The distributions of each `pip install` line in a text, with their extras."""
    for line in LINE.findall(text):
        before = ""
        for word in re.sub(r"[\"'\\]", "", line).split():
            if word in PROSE:
                break
            path, option = word.startswith((".", "/")), word.startswith("-")
            found = NAMED.match("fovea-rag" + word.lstrip("./") if path else word)
            if found and not option and before not in ("-c", "-r"):
                yield found[1], [one for one in (found[2] or "").split(",") if one]
            before = word
            if word[-1] in ",.:)" and word != ".":
                break


@cache
def lines() -> list[tuple[str, str, list[str]]]:
    found = [(path, text) for path, tree in trees().items() for text in texts(tree)]
    found += [(path, path.read_text("utf-8")) for path in PAGES]
    return [(path.relative_to(ROOT).as_posix(), name, extras) for path, text in found for name, extras in named(text)]


@cache
def calls() -> list[tuple[str, str, str]]:
    """Where a module is said to come with an extra: `require(module, extra=...)`, `package(module, extra, ...)`."""
    found = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                given = [k.value for k in node.keywords if k.arg == "extra"]
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                given += node.args[1:2] if called == "package" else []
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                found += [(where, node.args[0].value, one.value) for one in given if isinstance(one, ast.Constant)]
    return found


def declared() -> Iterator[tuple[str, str, str]]:
    """The same in data: what components say of themselves, and constants that hold an extra."""
    from fovea.rag import backend, registry, trained

    for kind in registry.kinds():
        for name, component in registry.components(kind).items():
            yield from ((f"{kind} {name}", module, extra) for module, extra in component.packages.items())
    yield from (("rag/backend.py", backend.PACKAGES[name], extra) for name, extra in backend.EXTRAS.items())
    yield ("rag/trained.py", *trained.READER)


def test_every_distribution_that_a_line_installs_is_ours_or_one_we_require(shipped):
    from fovea.rag.chat import PACKAGES, PROVIDERS

    required = {plain(re.match(r"[\w.-]+", text)[0]) for text in shipped.get_all("Requires-Dist")}
    ours = required | {
        "fovea-rag",
        "pip",
        *PEERS,
    }
    providers = {plain(f"langchain_{PACKAGES.get(name, name)}") for name in PROVIDERS}
    found = lines()
    assert len(found) > 10
    strangers = [(where, name) for where, name, _ in found if HOLE not in name and plain(name) not in ours | providers]
    assert not strangers


def test_every_extra_that_a_line_names_is_one_of_the_wheel(shipped):
    extras = set(shipped.get_all("Provides-Extra"))
    found = [(where, extra) for where, name, named in lines() for extra in named if plain(name) in ("fovea-rag", HOLE)]
    found += [(where, extra) for where, _, extra in (*calls(), *declared())]
    assert len(found) > 40
    assert not [(where, extra) for where, extra in found if extra not in extras | {HOLE}]


def test_every_extra_brings_the_module_that_it_is_named_for(shipped):
    brings = packages_distributions()
    wrong = []
    for where, module, extra in {*calls(), *declared()}:
        made_by = {plain(name) for name in brings.get(module.partition(".")[0], ())}
        if made_by and not made_by & installed_by(extra, tuple(shipped.get_all("Requires-Dist"))):
            wrong.append((where, module, extra))
    assert not wrong


@cache
def installed_by(extra: str, required: tuple[str, ...]) -> frozenset[str]:
    """All that an extra of ours installs, dependencies of dependencies included."""
    own = [text for text in required if re.search(rf"""extra\s*==\s*["']{extra}["']""", text) or "extra" not in text]
    todo = [(match[1], match[2]) for text in own if (match := re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", text))]
    found: set[str] = set()
    while todo:
        name, inner = todo.pop()
        if plain(name) == "fovea-rag":
            found |= {one for part in (inner or "").split(",") for one in installed_by(part, required)}
            continue
        if plain(name) in found:
            continue
        found.add(plain(name))
        try:
            more = [text for text in requires(name) or [] if "extra" not in text]
        except PackageNotFoundError:
            continue
        todo += [(match[0], None) for text in more if (match := re.match(r"[\w.-]+", text))]
    return frozenset(found)


def test_the_scan_finds_what_is_wrong():
    said = 'fix: pip install -U "fovea[onnx,minilm]>=1" x.y, or another; pip install -c limits.txt -e ".[dev]"  # all'
    assert list(named(said)) == [("fovea", ["onnx", "minilm"]), ("x.y", []), ("fovea-rag", ["dev"])]
    [text] = [t for t in texts(ast.parse("f'pip install \"fovea-rag[{extra}]\"'")) if "pip" in t]
    assert list(named(text)) == [("fovea-rag", [HOLE])]
