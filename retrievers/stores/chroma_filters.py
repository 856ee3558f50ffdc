"""Filters and records in Chroma's language, which has no `not`, no missing fields and one type a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fovea.rag.filters import All, Compare, Filter, Not, Some
from fovea.rag.types import Scalar
from fovea.retrievers.stores.refusal import refuse

Where = dict[str, Any]
KINDS = ["text", "number", "bool"]
_OPERATORS = {"==": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_OPPOSITE = {"<": "$gte", "<=": "$gt", ">": "$lte", ">=": "$lt"}


def record(metadata: dict[str, Scalar]) -> dict[str, Scalar] | None:
    """A record's metadata; Chroma takes None for nothing, and no empty mapping."""
    found: dict[str, Scalar] = {}
    for field, value in metadata.items():
        found[_key(field)] = _plain(value)
        found["?" + field] = KINDS[0] if isinstance(value, str) else KINDS[2 if isinstance(value, bool) else 1]
    return found or None


def _plain(value: Any) -> Any:
    """Numbers as floating point: Chroma cuts off the fraction where it compares one of those with an integer."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _key(field: str) -> str:
    """A field's name in Chroma, which keeps some names for itself."""
    return field if field.isidentifier() else "=" + field


def compile_filter(where: Filter, unfit: Sequence[str] = ()) -> Where | bool:
    """The filter in Chroma's language, or the truth value it always has; raises QueryError for what Chroma lacks.

    Chroma has no `not`: it is pushed down to the comparisons. Its `$ne` and `$nin` hold where the field is missing too.
    """
    refuse(where, "Chroma", unfit)
    return _compiled(where, True)


def _compiled(where: Filter, wanted: bool) -> Where | bool:
    """A condition for `where` being `wanted`."""
    match where:
        case Not(part):
            return _compiled(part, not wanted)
        case All(parts):
            return _joined([_compiled(p, wanted) for p in parts], "$and" if wanted else "$or")
        case Some(parts):
            return _joined([_compiled(p, wanted) for p in parts], "$or" if wanted else "$and")
        case Compare(field, "exists", value):
            return _there(field, bool(value) == wanted)
        case Compare(field, "!=" | "not in" as op, value):
            same = Compare(field, "==" if op == "!=" else "in", value)
            if wanted:
                return _joined([_there(field, True), _compiled(same, False)], "$and")
            return _joined([_there(field, False), _compiled(same, True)], "$or")
        case Compare(field, "in", value):
            return _among(field, value if isinstance(value, tuple) else (value,), wanted)
        case Compare(field, op, value):
            if wanted or op == "==":
                return {_key(field): {_OPERATORS[op] if wanted else "$ne": _plain(value)}}
            other = {"?" + field: {"$ne": "number"}}
            return _joined([other, {_key(field): {_OPPOSITE[op]: _plain(value)}}], "$or")
    raise TypeError(f"not a filter: {where!r}")


def _there(field: str, wanted: bool) -> Where:
    return {"?" + field: {"$in" if wanted else "$nin": KINDS}}


def _among(field: str, values: tuple[Scalar, ...], wanted: bool) -> Where | bool:
    """One of the values, or none of them; Chroma wants the values of a list to have one type."""
    plain = [_plain(v) for v in values]
    types = {type(v): [w for w in plain if type(w) is type(v)] for v in plain}
    tests: list[Where | bool] = [{_key(field): {"$in" if wanted else "$nin": some}} for some in types.values()]
    return _joined(tests, "$or" if wanted else "$and")


def _joined(parts: Sequence[Where | bool], word: str) -> Where | bool:
    """All (`$and`) or any (`$or`) of the parts, with those left out that are always the same."""
    decided = word == "$or"
    if decided in [p for p in parts if isinstance(p, bool)]:
        return decided
    open_ = [p for p in parts if not isinstance(p, bool)]
    if not open_:
        return not decided
    return open_[0] if len(open_) == 1 else {word: open_}
