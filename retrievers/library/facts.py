"""Metadata filters as SQL over the table of facts: one row for each field of each document.

The SQL means exactly what `fovea.rag.filters.matches` means. Where SQL could not (integers over 64 bits, NaN, lone
surrogates, very long lists), the documents concerned are put to `matches` itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from fovea.rag.filters import All, Compare, Filter, Not, Some, matches
from fovea.rag.types import Scalar
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.values import kind, odd, read_metadata

MOST_VALUES = 500
"""A filter with more values than this is answered without SQL."""
DEEPEST = 60
_SIGN = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


def documents_matching(db: Database, where: Filter) -> tuple[str, list[Scalar]]:
    """An SQL condition on `document` and its values, for any filter."""
    if any(odd(v) for v in _values(where)) or len(list(_values(where))) > MOST_VALUES or _depth(where) > DEEPEST:
        found = [no for no, stored in _metadata(db) if matches(where, read_metadata(stored, db.path))]
        return _listed(found)
    sql, values = compile_filter(where)
    strange = db.all("SELECT id, metadata FROM documents WHERE odd")
    if not strange:
        return sql, values
    kept = [no for no, stored in strange if matches(where, read_metadata(stored, db.path))]
    also, more = _listed(kept)
    return f"(({sql} AND document NOT IN (SELECT id FROM documents WHERE odd)) OR {also})", [*values, *more]


def compile_filter(where: Filter) -> tuple[str, list[Scalar]]:
    """The filter as a condition on the column `document`."""
    match where:
        case All(parts):
            return _joined(parts, " AND ", "1")
        case Some(parts):
            return _joined(parts, " OR ", "0")
        case Not(part):
            sql, values = compile_filter(part)
            return f"NOT {sql}", values
        case Compare(field, "exists", value):
            return f"document {'' if value else 'NOT '}IN (SELECT document FROM facts WHERE field = ?)", [field]
        case Compare(field, op, value):
            test, values = _test(op, value)
            return f"document IN (SELECT document FROM facts WHERE field = ? AND {test})", [field, *values]
    raise TypeError(f"not a filter: {where!r}")


def _joined(parts: tuple[Filter, ...], word: str, empty: str) -> tuple[str, list[Scalar]]:
    compiled = [compile_filter(p) for p in parts]
    return f"({word.join(sql for sql, _ in compiled) or empty})", [v for _, values in compiled for v in values]


def _test(op: str, value: Scalar | tuple[Scalar, ...]) -> tuple[str, list[Scalar]]:
    """A condition on `kind` and `value` of one fact."""
    if isinstance(value, tuple):
        any_of = " OR ".join("(kind = ? AND value = ?)" for _ in value) or "0"
        return f"{'NOT ' if op == 'not in' else ''}({any_of})", [x for v in value for x in (kind(v), v)]
    if op == "contains":
        return "(kind = 'text' AND instr(value, ?) > 0)", [value]
    if op == "!=":
        return "NOT (kind = ? AND value = ?)", [kind(value), value]
    return f"(kind = ? AND value {_SIGN.get(op, '=')} ?)", [kind(value), value]


def _values(where: Filter) -> Iterator[Scalar]:
    """Every value and field name of a filter."""
    match where:
        case All(parts) | Some(parts):
            for part in parts:
                yield from _values(part)
        case Not(part):
            yield from _values(part)
        case Compare(field, _, value):
            yield field
            yield from value if isinstance(value, tuple) else (value,)


def _depth(where: Filter) -> int:
    match where:
        case All(parts) | Some(parts):
            return 1 + max(map(_depth, parts), default=0)
        case Not(part):
            return 1 + _depth(part)
    return 1


def _metadata(db: Database) -> Iterator[tuple[int, str]]:
    last = 0
    while rows := db.all("SELECT id, metadata FROM documents WHERE id > ? ORDER BY id LIMIT 1000", (last,)):
        yield from rows
        last = rows[-1][0]


def _listed(documents: list[int]) -> tuple[str, list[Scalar]]:
    """A condition that lists documents. Numbers are written out: they are ours, and SQLite limits bound values."""
    return f"document IN ({', '.join(map(str, documents))})", []
