"""Sources: one row a file, with what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fovea.retrievers.library.database import Database, sound
from fovea.retrievers.library.values import pack, unpack

COLUMNS = "name, digest, size, mtime_ns, recipe, status, error, attempts, documents, chunks, updated"
BATCH = 512


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where documents came from. `digest` is of the file, `recipe` of the settings that made chunks of it, `attempts`
    counts failures since it last went well, `updated` is the time in UTC.
    """

    name: str
    digest: str = ""
    size: int = 0
    mtime_ns: int = 0
    recipe: str = ""
    status: str = "ok"
    error: str = ""
    attempts: int = 0
    documents: int = 0
    chunks: int = 0
    updated: str = ""


def find(db: Database, name: str) -> tuple[int, SourceRow] | None:
    """The row of a source and its number, or None."""
    row = db.one(f"SELECT id, {COLUMNS} FROM sources WHERE name = ?", (pack(name),))
    return (row[0], _row(db, row[1:])) if row else None


def every(db: Database, status: str | None) -> Iterator[SourceRow]:
    """All sources, or those of one status, in order of their names."""
    last: str | bytes = ""
    while True:
        rows = db.all(
            f"SELECT {COLUMNS} FROM sources WHERE name > ? AND (?2 IS NULL OR status = ?2) ORDER BY name LIMIT {BATCH}",
            (last, status),
        )
        yield from (_row(db, row) for row in rows)
        if len(rows) < BATCH:
            return
        last = rows[-1][0]


def save(db: Database, row: SourceRow) -> int:
    """Write a row, over the one of the same name if there is one; returns its number."""
    row = replace(row, updated=datetime.now(UTC).isoformat(timespec="seconds"))
    values = [pack(v) if isinstance(v, str) else v for v in (getattr(row, f) for f in COLUMNS.split(", "))]
    changes = ", ".join(f"{c} = excluded.{c}" for c in COLUMNS.split(", ")[1:])
    holes = ", ".join("?" * len(values))
    db.run(f"INSERT INTO sources ({COLUMNS}) VALUES ({holes}) ON CONFLICT (name) DO UPDATE SET {changes}", values)
    found = db.one("SELECT id FROM sources WHERE name = ?", values[:1])
    assert found
    return int(found[0])


def rename(db: Database, old: str, new: str) -> None:
    """Give a row another name, and forget the digest that says that it is up to date."""
    db.run("UPDATE sources SET name = ?, digest = '' WHERE name = ?", (pack(new), pack(old)))


def _row(db: Database, values: tuple[Any, ...]) -> SourceRow:
    with sound(db.path, "a source"):
        plain: list[Any] = [unpack(v) if isinstance(v, bytes) else v for v in values]
        return SourceRow(*plain)
