"""One small typed language for filters over the fields of chunks, compiled by each store to its own.

    parse("year >= 2020 and lang in ['en', 'de'] and not draft == true")
    parse("`Invoice No.` == 'A1' and starts_with(path, 'handbook/')")

A name that is no plain word (spaces, hyphens, `class`) stands in backticks; a backtick in it is doubled.

An operator or field type that a store lacks is an error of that store, never silence. A chunk without the field matches
no comparison with it, so `not year > 2000` also keeps chunks that have no year.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from fovea.rag.documents import Scalar
from fovea.rag.errors import QueryError, nearest
from fovea.rag.fields import kind

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "starts_with", "exists"]


@dataclass(frozen=True, slots=True)
class Compare:
    """One field against one value. `contains` and `starts_with` test a part of a text; `exists` has True or False."""

    field: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; with no parts, always true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter


Filter = Compare | All | Some | Not


def compares(where: Filter) -> Iterator[Compare]:
    """Every comparison of a filter, from left to right."""
    match where:
        case All(parts) | Some(parts):
            for part in parts:
                yield from compares(part)
        case Not(part):
            yield from compares(part)
        case Compare():
            yield where


_OPERATORS: dict[type[ast.cmpop], Operator] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_CALLS: tuple[Operator, ...] = ("contains", "starts_with", "exists")
_EXAMPLE = "for example: year >= 2020 and lang in ['en', 'de'] and `Invoice No.` == 'A1'"
DEEPEST = 100
"""How many of `not`, `and` and `or` may stand within each other."""
_SHOWN = 200
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`((?:[^`]|``)+)`|\s""")


def parse(text: str) -> Filter:
    """Read a filter; raises QueryError with the column and what is allowed there."""
    return _Reader(text.strip()).read()


def quoted(field: str) -> str:
    """A field's name as it stands in a filter: in backticks where it is no plain word."""
    plain = field.isidentifier() and not keyword.iskeyword(field) and field not in ("true", "false")
    return field if plain and field == unicodedata.normalize("NFKC", field) else "`" + field.replace("`", "``") + "`"


def _short(text: str) -> str:
    """A text in an error, its beginning alone where it is long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r} and {len(text) - _SHOWN:,} characters more"


class _Reader:
    """Reads by Python's own parser, for which names in backticks become plain names of the same length."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: dict[str, str] = {}
        self.plain = _QUOTED.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        if found[1] is None:
            return " " if found[0].isspace() else found[0]
        plain = f"ǀ{len(self.names):x}".ljust(len(found[0]), "_")
        self.names[plain] = found[1].replace("``", "`")
        return plain

    def read(self) -> Filter:
        try:
            tree = ast.parse(self.plain, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            column = getattr(error, "offset", None) or (isinstance(error, SyntaxError) and len(self.plain) + 1)
            fix = f"{_EXAMPLE}; names with spaces, hyphens or keywords stand in backticks"
            where = f"filter, column {column}" if column else "filter"
            raise QueryError(f"cannot read the filter {_short(self.text)}", where=where, fix=fix) from None
        return self._filter(tree, DEEPEST)

    def _filter(self, node: ast.expr, deep: int) -> Filter:
        if not deep:
            raise QueryError(
                f"more than {DEEPEST} of 'not', 'and' and 'or' stand within each other: {_short(self.text)}",
                where="filter",
                fix="two 'not' are none, and a list stands for many 'or': team in ['law', 'sales']",
            )
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return All(tuple(self._filter(v, deep - 1) for v in values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return Some(tuple(self._filter(v, deep - 1) for v in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self._filter(operand, deep - 1))
            case ast.Compare(left=ast.Name(id=field), ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return self._compare(field, _OPERATORS[type(op)], right)
            case ast.Call(func=ast.Name(id=call), args=[ast.Name(id=field), *rest], keywords=[]) if len(rest) <= 1:
                if call not in _CALLS:
                    raise self._error(node, f"unknown function {call!r}", nearest(call, _CALLS))
                if call == "exists" and not rest:
                    return Compare(self.names.get(field, field), "exists", True)
                if call in _CALLS[:2] and rest:
                    return self._compare(field, call, rest[0])
        calls = "contains(FIELD, TEXT), starts_with(FIELD, TEXT)"
        raise self._error(node, f"expected FIELD OPERATOR VALUE, exists(FIELD), {calls}, and, or, not")

    def _compare(self, field: str, op: Operator, node: ast.expr) -> Compare:
        value = self._value(node)
        if (op in ("in", "not in")) != isinstance(value, tuple):
            raise self._error(node, f"{op!r} takes {'a list' if op in ('in', 'not in') else 'a single value'}")
        if op in _CALLS and not isinstance(value, str):
            raise self._error(node, f"{op!r} takes a text")
        if op in ("<", "<=", ">", ">=") and isinstance(value, bool):
            raise self._error(node, f"{op!r} needs a number or a text")
        return Compare(self.names.get(field, field), op, value)

    def _value(self, node: ast.expr) -> Scalar | tuple[Scalar, ...]:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.Name(id="true" | "false" as word):
                return word == "true"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                values = tuple(self._value(i) for i in items)
                if any(isinstance(v, tuple) for v in values):
                    raise self._error(node, "a list cannot hold a list")
                return values  # type: ignore[return-value]
        raise self._error(node, "expected a text in quotes, a number, true, false, or a list of them")

    def _error(self, node: ast.expr, what: str, near: str | None = None) -> QueryError:
        column = len(self.plain.encode()[: node.col_offset].decode()) + 1
        length = len(ast.get_source_segment(self.plain, node) or "")
        fix = f"did you mean {near!r}?" if near else f"{_EXAMPLE}; names with spaces or hyphens stand in backticks"
        got = self.text[column - 1 : column - 1 + length]
        return QueryError(f"{what}, got {_short(got)}", where=f"filter, column {column}", fix=fix)


_TESTS: dict[str, Callable[..., bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda a, b: any(_alike(a, v) and a == v for v in b),
    "not in": lambda a, b: not any(_alike(a, v) and a == v for v in b),
    "contains": lambda a, b: b in a,
    "starts_with": lambda a, b: a.startswith(b),
}


def matches(where: Filter, metadata: Mapping[str, Scalar]) -> bool:
    """The meaning of the language, in plain Python: what every store's compiled filter is tested against. Of a chunk,
    `metadata` are its `fields`.
    """
    match where:
        case All(parts):
            return all(matches(p, metadata) for p in parts)
        case Some(parts):
            return any(matches(p, metadata) for p in parts)
        case Not(part):
            return not matches(part, metadata)
        case Compare(field, "exists", value):
            return (field in metadata) == value
        case Compare(field, op, value):
            if field not in metadata:
                return False
            have = metadata[field]
            if isinstance(value, tuple):
                return _TESTS[op](have, value)
            if not _alike(have, value):
                return op == "!="
            return _TESTS[op](have, value)
    raise TypeError(f"not a filter: {where!r}")


def _alike(a: object, b: object) -> bool:
    """Numbers compare with numbers, texts with texts, truth values with truth values; nothing else."""
    return kind(a) == kind(b)
