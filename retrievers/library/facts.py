"""Filters as SQL over the table of facts, one row for each field of each document, and over the built-in fields.

The SQL means exactly what `fovea.rag.filters.matches` means of `Chunk.fields`. Where SQL could not (integers over 64
bits, NaN, lone surrogates, very long lists), the documents concerned are put to `matches` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fovea.rag.fields import BUILT_IN, fields, kind
from fovea.rag.filters import All, Compare, Filter, Not, Some, compares, matches
from fovea.rag.types import Scalar
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.values import odd, read_metadata, unpack

MOST_VALUES = 500
"""A filter with more values than this is answered without SQL."""
DEEPEST = 60
_FIELDS = """WITH RECURSIVE next(field) AS (
    SELECT min(field) FROM facts
    UNION ALL SELECT (SELECT min(field) FROM facts WHERE field > next.field) FROM next WHERE field IS NOT NULL
), kinds(kind) AS (VALUES ('text'), ('number'), ('bool'))
SELECT field, kind FROM next, kinds
WHERE EXISTS (SELECT 1 FROM facts WHERE facts.field = next.field AND facts.kind = kinds.kind)"""
"""Field by field through the index: looking at every fact would take long for many documents."""
_SIGN = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


_COLUMNS = {
    "source": "source", "path": "source", "suffix": "suffix(source)", "title": "title", "media_type": "media_type",
}  # fmt: skip
"""The built-in fields of documents, in the table of documents; `page` is a column of chunks."""


def chunks_matching(db: Database, where: Filter) -> tuple[str, list[Scalar]]:
    """An SQL condition on rows of chunks and its values, for any filter."""
    if any(odd(v) for v in _values(where)) or len(list(_values(where))) > MOST_VALUES or _depth(where) > DEEPEST:
        return _by_hand(db, where, "1"), []
    sql, values = compile_filter(where)
    if db.one("SELECT 1 FROM documents WHERE odd LIMIT 1") is None:
        return sql, values
    others = "document NOT IN (SELECT id FROM documents WHERE odd)"
    return f"(({sql} AND {others}) OR {_by_hand(db, where, 'odd')})", values


def compile_filter(where: Filter) -> tuple[str, list[Scalar]]:
    """The filter as a condition on rows of chunks."""
    match where:
        case All(parts):
            return _joined(parts, " AND ", "1")
        case Some(parts):
            return _joined(parts, " OR ", "0")
        case Not(part):
            sql, values = compile_filter(part)
            return f"NOT {sql}", values
        case Compare(field, "exists", value):
            sql, values = _holding(field, "1", "page IS NOT NULL", [])
            return (sql if value else f"NOT {sql}"), values
        case Compare(field, op, value):
            test, values = _test(op, value)
            on_page, _ = _test(op, value, "'number'", "page")
            return _holding(field, test, f"(page IS NOT NULL AND {on_page})", values)
    raise TypeError(f"not a filter: {where!r}")


def known(db: Database) -> dict[str, set[str]]:
    """The kinds of value that each field has, the built-in ones among them. O(fields + odd documents)."""
    found = {field: {sort} for field, sort in BUILT_IN.items()}
    for field, sort in db.all(_FIELDS):
        found.setdefault(field, set()).add(sort)
    for (stored,) in db.all("SELECT metadata FROM documents WHERE odd"):
        for field, value in read_metadata(stored, db.path).items():
            found.setdefault(field, set()).add(kind(value))
    return found


def _holding(field: str, test: str, on_page: str, values: list[Scalar]) -> tuple[str, list[Scalar]]:
    """Chunks whose field passes a test on `kind` and `value`. A built-in field counts where the document has no own."""
    own = f"document IN (SELECT document FROM facts WHERE field = ? AND {test})"
    if field not in BUILT_IN:
        return own, [field, *values]
    without = "document NOT IN (SELECT document FROM facts WHERE field = ?)"
    there = on_page
    if field in _COLUMNS:
        rows = f"SELECT id AS document, 'text' AS kind, {_COLUMNS[field]} AS value FROM documents"
        there = f"document IN (SELECT document FROM ({rows}) WHERE value <> '' AND {test})"
    return f"({own} OR ({without} AND {there}))", [field, *values, field, *values]


def _joined(parts: tuple[Filter, ...], word: str, empty: str) -> tuple[str, list[Scalar]]:
    compiled = [compile_filter(p) for p in parts]
    return f"({word.join(sql for sql, _ in compiled) or empty})", [v for _, values in compiled for v in values]


def _test(
    op: str, value: Scalar | tuple[Scalar, ...], its_kind: str = "kind", have: str = "value"
) -> tuple[str, list[Scalar]]:
    """A condition on the kind and the value of one fact, by the SQL that names them."""
    if isinstance(value, tuple):
        any_of = " OR ".join(f"({its_kind} = ? AND {have} = ?)" for _ in value) or "0"
        return f"{'NOT ' if op == 'not in' else ''}({any_of})", [x for v in value for x in (kind(v), v)]
    if op in ("contains", "starts_with"):
        return f"({its_kind} = 'text' AND instr({have}, ?) {'> 0' if op == 'contains' else '= 1'})", [value]
    if op == "!=":
        return f"NOT ({its_kind} = ? AND {have} = ?)", [kind(value), value]
    return f"({its_kind} = ? AND {have} {_SIGN.get(op, '=')} ?)", [kind(value), value]


def _values(where: Filter) -> Iterator[Scalar]:
    """Every value and field name of a filter."""
    for part in compares(where):
        yield part.field
        yield from part.value if isinstance(part.value, tuple) else (part.value,)


def _depth(where: Filter) -> int:
    match where:
        case All(parts) | Some(parts):
            return 1 + max(map(_depth, parts), default=0)
        case Not(part):
            return 1 + _depth(part)
    return 1


def _by_hand(db: Database, where: Filter, among: str) -> str:
    """A condition that lists what matches in Python, of the documents that meet the SQL `among`."""
    kept = [(no, page) for no, page, seen in _seen(db, among) if matches(where, seen)]
    # Numbers are written out: they are ours, and SQLite limits bound values.
    return (
        f"(document, ifnull(page, 0)) IN (VALUES {', '.join(f'({no}, {page})' for no, page in kept)})" if kept else "0"
    )


def _seen(db: Database, among: str) -> Iterator[tuple[int, int, dict[str, Scalar]]]:
    """Documents by number with each of their pages (0 for none) and what filters see there."""
    sql = (
        f"SELECT id, source, title, media_type, metadata FROM documents WHERE {among} AND id > ? ORDER BY id LIMIT 1000"
    )
    rows: Sequence[tuple[int, str, str, str, str]] = [(0, "", "", "", "")]
    while rows := db.all(sql, (rows[-1][0],)):
        some = f"SELECT id FROM documents WHERE {among} AND id BETWEEN ? AND ?"
        ends = (rows[0][0], rows[-1][0])
        pages = db.all(f"SELECT DISTINCT document, page FROM chunks WHERE document IN ({some})", ends)
        about = {number: rest for number, *rest in rows}
        for number, page in pages:
            if number in about:
                source, title, media_type, metadata = about[number]
                facts = read_metadata(metadata, db.path)
                yield number, page or 0, fields(unpack(source), unpack(title), unpack(media_type), page, facts)
