"""Filters in SQL over a column of `jsonb`, which compares by value and kind as the language of filters does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fovea.rag.filters import All, Compare, Filter, Not, Some
from fovea.retrievers.stores.refusal import refuse

Sql = tuple[str, list[Any]]
_NUMBERS = "(jsonb_typeof(fields -> %s) = 'number' AND fields -> %s {} %s) IS TRUE"
_TEXTS = "(jsonb_typeof(fields -> %s) = 'string' AND {}) IS TRUE"
_PARTS = {"contains": "strpos(fields ->> %s, %s) > 0", "starts_with": "starts_with(fields ->> %s, %s)"}


def compile_filter(where: Filter, unfit: Sequence[str] = ()) -> Sql:
    """A condition that is never NULL, with the values of its places; raises QueryError for fields of which some values
    did not fit. Texts stand in the order of their code points, by the collation "C" of a UTF-8 database.
    """
    refuse(where, "Postgres", unfit, texts=True)
    return _compiled(where)


def _compiled(where: Filter) -> Sql:
    match where:
        case Not(part):
            sql, values = _compiled(part)
            return f"NOT ({sql})", values
        case All(parts):
            return _joined(parts, " AND ", "true")
        case Some(parts):
            return _joined(parts, " OR ", "false")
        case Compare(field, "exists", value):
            return ("" if value else "NOT ") + "(fields ? %s)", [field]
        case Compare(field, "==", value):
            return "fields @> %s", [_json({field: value})]
        case Compare(field, "in", value):
            among = value if isinstance(value, tuple) else (value,)
            return _joined([Compare(field, "==", v) for v in among], " OR ", "false")
        case Compare(field, "!=" | "not in" as op, value):
            same = Compare(field, "==" if op == "!=" else "in", value)
            return _compiled(All((Compare(field, "exists", True), Not(same))))
        case Compare(field, "contains" | "starts_with" as op, value):
            return _TEXTS.format(_PARTS[op]), [field, field, value]
        case Compare(field, op, str() as value):
            return _TEXTS.format(f'(fields ->> %s) COLLATE "C" {op} %s'), [field, field, value]
        case Compare(field, op, value):
            return _NUMBERS.format(op), [field, field, _json(value)]
    raise TypeError(f"not a filter: {where!r}")


def _joined(parts: Sequence[Filter], word: str, empty: str) -> Sql:
    compiled = [_compiled(part) for part in parts]
    return word.join(f"({sql})" for sql, _ in compiled) or empty, [v for _, values in compiled for v in values]


def _json(value: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(value)
