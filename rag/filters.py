"""One small typed language for metadata filters, compiled by each store to its own.

    parse("year >= 2020 and lang in ['en', 'de'] and not draft == true")

An operator or field type that a store lacks is an error of that store, never silence. A chunk without the field matches
no comparison with it, so `not year > 2000` also keeps chunks that have no year.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fovea.rag.documents import Scalar
from fovea.rag.errors import QueryError, nearest

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "exists"]


@dataclass(frozen=True, slots=True)
class Compare:
    """One field against one value. `contains` is a substring test; `exists` has the value True or False."""

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
_CALLS: tuple[Operator, ...] = ("contains", "exists")


def parse(text: str) -> Filter:
    """Read a filter; raises QueryError with the column and what is allowed there."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None)
        raise QueryError(
            f"cannot read the filter {text!r}",
            where=f"column {column}" if column else "",
            fix="for example: year >= 2020 and lang in ['en', 'de']",
        ) from None
    return _node(tree, text)


def _node(node: ast.expr, text: str) -> Filter:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return All(tuple(_node(v, text) for v in values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return Some(tuple(_node(v, text) for v in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Not(_node(operand, text))
        case ast.Compare(left=ast.Name(id=field), ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _compare(field, _OPERATORS[type(op)], _value(right, text), right, text)
        case ast.Call(func=ast.Name(id=call), args=[ast.Name(id=field), *rest], keywords=[]) if len(rest) <= 1:
            if call == "exists" and not rest:
                return Compare(field, "exists", True)
            if call == "contains" and rest:
                return _compare(field, "contains", _value(rest[0], text), rest[0], text)
            if call not in _CALLS:
                raise _error(node, text, f"unknown function {call!r}", nearest(call, _CALLS))
    raise _error(node, text, "expected FIELD OPERATOR VALUE, exists(FIELD), contains(FIELD, TEXT), and, or, not")


def _compare(field: str, op: Operator, value: Scalar | tuple[Scalar, ...], node: ast.expr, text: str) -> Compare:
    if (op in ("in", "not in")) != isinstance(value, tuple):
        raise _error(node, text, f"{op!r} takes {'a list' if op in ('in', 'not in') else 'a single value'}")
    if op == "contains" and not isinstance(value, str):
        raise _error(node, text, "'contains' takes a text")
    if op in ("<", "<=", ">", ">=") and isinstance(value, bool):
        raise _error(node, text, f"{op!r} needs a number or a text")
    return Compare(field, op, value)


def _value(node: ast.expr, text: str) -> Scalar | tuple[Scalar, ...]:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id="true" | "false" as word):
            return word == "true"
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            values = tuple(_value(i, text) for i in items)
            if any(isinstance(v, tuple) for v in values):
                raise _error(node, text, "a list cannot hold a list")
            return values  # type: ignore[return-value]
    raise _error(node, text, "expected a text in quotes, a number, true, false, or a list of them")


def _error(node: ast.expr, text: str, what: str, near: str | None = None) -> QueryError:
    fix = f"did you mean {near!r}?" if near else "for example: year >= 2020 and lang in ['en', 'de']"
    return QueryError(f"{what}, got {ast.unparse(node)!r}", where=f"filter, column {node.col_offset + 1}", fix=fix)


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
}


def matches(where: Filter, metadata: Mapping[str, Scalar]) -> bool:
    """The meaning of the language, in plain Python: what every store's compiled filter is tested against."""
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

    def sort(x: object) -> str:
        return "bool" if isinstance(x, bool) else "number" if isinstance(x, (int, float)) else type(x).__name__

    return sort(a) == sort(b)
