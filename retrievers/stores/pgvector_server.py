"""What the store pgvector asks of a Postgres server: a connection, a new enough extension, room for its vectors."""

from __future__ import annotations

import math
from typing import Any

from fovea.rag.errors import StoreError
from fovea.rag.secret_words import words_of

OLDEST = (0, 8)
"""pgvector before that has no iterative scans: a filter would leave fewer rows than there are."""
LONGEST = {"vector": 2000, "halfvec": 4000}
"""Numbers of a vector that pgvector's HNSW index takes, by type."""
NOT_THERE = "is the server running, and the password in PGPASSWORD or ~/.pgpass?"
MADE_ANEW = "fovea rebuild makes the table anew from the library; nothing is encoded"


def connected(url: str, seconds: float, *, create: bool) -> Any:
    """An open connection that knows the types of pgvector; `create` makes the extension in a database without it.

    Raises StoreError where nothing answers, and for a database that cannot hold the vectors or compare the texts.
    """
    import psycopg
    from pgvector.psycopg import register_vector

    try:
        # Behind a pool of connections, a statement prepared on one would be missing on the next.
        connection = psycopg.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, math.ceil(seconds)),
            client_encoding="utf8",
            application_name="fovea",
        )
    except psycopg.Error as error:
        raise StoreError(f"Postgres does not answer: {words_of(error)}", where=url, fix=NOT_THERE) from None
    try:
        _prove(connection, url, create=create)
        register_vector(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prove(connection: Any, url: str, *, create: bool) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"the database's encoding is {encoding}, in which texts have another order",
            where=url,
            fix="createdb --encoding=UTF8 --template=template0 NAME",
        )
    asked = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    row = connection.execute(asked).fetchone()
    if row is None and create:
        _make_extension(connection, url)
        row = connection.execute(asked).fetchone()
    if row is None:
        raise StoreError(
            "the database has no extension `vector` yet", where=url, fix=f"CREATE EXTENSION vector; {MADE_ANEW}"
        )
    if tuple(map(int, row[0].split(".")[:2])) < OLDEST:
        raise StoreError(
            f"pgvector {row[0]} is too old: with a filter its index finds fewer rows than there are",
            where=url,
            fix="install pgvector 0.8 or newer on the server, then: ALTER EXTENSION vector UPDATE",
        )


def _make_extension(connection: Any, url: str) -> None:
    import psycopg

    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        raise StoreError(
            f"the extension `vector` cannot be made: {words_of(error)}",
            where=url,
            fix="install pgvector 0.8 or newer on the server; a superuser makes it: CREATE EXTENSION vector",
        ) from None


def indexed_as(wanted: str, dim: int, url: str) -> str:
    """The type of the graph for vectors of `dim` numbers, `vector` or `halfvec`; raises StoreError where none fits."""
    kinds = list(LONGEST) if wanted == "auto" else [wanted]
    for kind in kinds:
        if dim <= LONGEST[kind]:
            return kind
    most = LONGEST[kinds[-1]]
    fix = "exact: true compares every row" + ("" if most == LONGEST["halfvec"] else ", or holds: halfvec")
    raise StoreError(f"pgvector's index takes {most:,} numbers of type {kinds[-1]}, not {dim:,}", where=url, fix=fix)


def fix_of(error: Any) -> str:
    """What mends an error of Postgres, by its kind."""
    from psycopg import OperationalError, errors

    if isinstance(error, errors.InsufficientPrivilege):
        return "give the role the right to make tables: GRANT CREATE, USAGE ON SCHEMA public TO ROLE"
    if isinstance(error, errors.DiskFull):
        return "the server needs room on its disk, or in /dev/shm (docker run --shm-size=2g)"
    return NOT_THERE if isinstance(error, OperationalError) else MADE_ANEW
