"""YAML as we accept it: plain data with the place of every value, and nothing that can surprise.

Refused, each with file:line:column: tags (`!!python/...`), duplicate keys, tabs, keys that are not text, recursive or
exploding aliases. `on`, `no` and the like stay texts, as in YAML 1.2; only `true` and `false` are truth values.
`${NAME}` in a value is the environment variable, always as text and never as YAML; `$${` is `${` itself. `!env NAME`
is the same for a whole value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fovea.rag.errors import ConfigError, ConfigErrors, nearest_file
from fovea.rag.shallow import Shallow

MOST_NODES = 20_000
DEEPEST = 100
"""Levels of nesting."""
BIGGEST = 1 << 63
"""Whole numbers stay below."""
Place = tuple[Hashable, ...]
_VARIABLE = re.compile(r"(\$?)\$\{([^{}$]*)(\}?)")
_NO_TEXT = re.compile("[\\0\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Core(Shallow, yaml.SafeLoader):
    """A safe loader whose plain scalars follow YAML 1.2's core schema."""


_Core.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    _Core.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


@dataclass
class Source:
    """Plain data read from YAML, and where each part of it stands. Lines and columns are counted from 1."""

    file: str
    data: Any = None
    values: dict[Place, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Place, tuple[int, int]] = field(default_factory=dict)
    unset: dict[Place, ConfigError] = field(default_factory=dict)
    """Values that name environment variables which are not set; such a name stands in `data` as it was written."""
    base: Path = Path()
    """The folder that relative paths start from."""

    @property
    def context(self) -> dict[str, Any]:
        """What validation is told of it, for `fovea.rag.placed`."""
        return {"base": self.base}

    def where(self, place: Place, *, key: bool = False) -> str:
        """`file:line:column` of a value (or of its key); of the nearest enclosing part if it is not there."""
        for length in range(len(place), -1, -1):
            for marks in (self.keys, self.values) if key and length == len(place) else (self.values, self.keys):
                if (mark := marks.get(place[:length])) is not None:
                    return f"{self.file}:{mark[0]}:{mark[1]}"
        return self.file


def read(path: Path, *, lenient: bool = False) -> Source:
    """Read a YAML file; raises ConfigError with the place of what is wrong. Where `lenient`, variables that are not set
    are left for the reader, in `Source.unset`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = nearest_file(path, (".yaml", ".yml"))
        fix = f"did you mean {near}? If not: fovea init {path}" if near else f"fovea init {path}"
        raise ConfigError(f"there is no file {path}", fix=fix) from None
    except (OSError, ValueError) as error:  # A path with a NUL, or bytes that are no UTF-8.
        raise ConfigError(f"cannot read it: {error}", where=str(path)) from None
    source = parse(text, file=str(path), lenient=lenient)
    source.base = path.resolve().parent
    return source


def parse(text: str, *, file: str = "<yaml>", lenient: bool = False) -> Source:
    """Read YAML from a text."""
    source = Source(file)
    try:
        node = yaml.compose(text, Loader=_Core)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, file) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=file) from None
    except RecursionError:
        raise ConfigError(f"nested more than {DEEPEST} levels deep", where=file) from None
    if node is None:
        raise ConfigError("the file is empty", where=file, fix=f"fovea init {file}")
    _Walk(source).visit(node, (), ())
    if source.unset and not lenient:
        raise ConfigErrors(source.unset.values())
    return source


def quoted(text: str) -> str:
    """The text as `parse` gives it back: what looks like a variable is none."""
    return text.replace("${", "$${")


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line and "\\t" in (error.problem or ""):
        return ConfigError("a tab; YAML is indented with spaces", where=where)
    context = f" ({error.context})" if error.context else ""
    fix = """between { and }, put it in quotes: "${NAME}\"""" if "${" in line else ""
    return ConfigError(f"not YAML: {error.problem}{context}", where=where, fix=fix)


class _Walk:
    def __init__(self, source: Source) -> None:
        self.source, self.nodes = source, 0

    def visit(self, node: yaml.Node, place: Place, above: tuple[int, ...]) -> Any:
        self.nodes += 1
        mark = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.source.values[place] = mark
        if id(node) in above:
            raise self.error("an alias that contains itself", place)
        if len(above) > DEEPEST:
            raise self.error(f"nested more than {DEEPEST} levels deep", place)
        if self.nodes > MOST_NODES:
            raise self.error(f"more than {MOST_NODES} values: aliases that explode?", place)
        value = self.value(node, place, (*above, id(node)))
        if not place:
            self.source.data = value
        return value

    def value(self, node: yaml.Node, place: Place, above: tuple[int, ...]) -> Any:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self.mapping(node, place, above)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.visit(item, (*place, i), above) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(tag, node.value, place)
        raise self.error(
            f"the YAML tag {node.tag!r} is not allowed here", place, "write plain values; names go in 'use:'"
        )

    def mapping(self, node: yaml.MappingNode, place: Place, above: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            mark = (key.start_mark.line + 1, key.start_mark.column + 1)
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if key.tag != "tag:yaml.org,2002:str" or name is None:
                at = f"{self.source.file}:{mark[0]}:{mark[1]}"
                raise ConfigError("a key must be a plain text", where=at, got=str(name))
            self.source.keys.setdefault((*place, name), mark)
            if name in found:
                first = self.source.keys[(*place, name)]
                raise ConfigError(
                    f"the key {name!r} stands twice; first in line {first[0]}",
                    where=f"{self.source.file}:{mark[0]}:{mark[1]}",
                )
            found[name] = self.visit(value, (*place, name), above)
        return found

    def scalar(self, tag: str, text: str, place: Place) -> Any:
        match tag:
            case "str":
                return self.text(_VARIABLE.sub(lambda found: self.variable(found, place), text), place)
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return self.number(int, text, place)
            case "float":
                return self.number(float, text, place)
            case "!env":
                return self.environment(text, place)
        raise self.error(f"the YAML tag {tag!r} is not allowed", place, "write the plain value; names go in 'use:'")

    def number(self, kind: type[int] | type[float], text: str, place: Place) -> int | float:
        try:
            if -BIGGEST <= (found := kind(text)) < BIGGEST or kind is float:
                return found
            raise ValueError
        except ValueError:  # Said to be one by a tag, or an integer of thousands of digits.
            shown = text if len(text) < 40 else f"{text[:20]}... ({len(text):,} characters)"
            raise self.error(f"not a number of at most 64 bits: {shown}", place) from None

    def text(self, text: str, place: Place) -> str:
        """The text; half a surrogate pair and NUL, which no file, name or prompt can hold, are refused."""
        if odd := _NO_TEXT.search(text):
            raise self.error(f"the character {odd[0]!r} can stand in no text", place)
        return text

    def variable(self, found: re.Match[str], place: Place) -> str:
        escaped, name, closed = found.groups()
        if escaped:
            return found[0][1:]
        if not closed or not _NAME.fullmatch(name):
            raise self.error(f"{found[0]!r} names no environment variable", place, "${NAME}, or $${ for the characters")
        return self.environment(name, place)

    def environment(self, name: str, place: Place) -> str:
        if name not in os.environ:
            what, fix = f"the environment variable {name} is not set", f"export {name}=..."
            self.source.unset.setdefault(place, self.error(what, place, fix))
            return f"${{{name}}}"
        return os.environ[name]

    def error(self, what: str, place: Place, fix: str = "") -> ConfigError:
        return ConfigError(what, where=self.source.where(place), fix=fix)
