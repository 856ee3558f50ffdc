"""pgvector: a table of a Postgres server, with its HNSW index, as an index that follows the library.

Three things that pgvector does not do unasked: it takes `ef_search` rows from its graph and filters those, so a filter
may leave fewer than `k`: here the scan goes on (`hnsw.iterative_scan`), and where it ends too early all rows are
compared. Its graph holds a `vector` of 2,000 numbers at most: longer ones go in as `halfvec`, and what is found is
ranked by the whole vectors. And a graph is built many times faster over rows that are there than row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, PositiveFloat

from fovea.rag import trace
from fovea.rag.component import Component
from fovea.rag.corpus import Rows, Truth, VectorStore
from fovea.rag.errors import FoveaError, StoreError, require
from fovea.rag.filters import Filter
from fovea.rag.requirements import Requirement
from fovea.rag.secret_words import words_of
from fovea.rag.types import Scalar
from fovea.retrievers.stores.follower import Follower, Position
from fovea.retrievers.stores.pgvector_filters import compile_filter
from fovea.retrievers.stores.pgvector_server import connected, fix_of, indexed_as
from fovea.retrievers.stores.url import Url

if TYPE_CHECKING:
    import numpy as np

Result = TypeVar("Result")
EFFORT = "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)"
MOST_CANDIDATES = 1000
BY_GRAPH = "{column} <#> %s::{graph}"
EXACT = "-(embedding <#> %s) DESC, no"
"""No order that the graph has, so that Postgres cannot take it."""
SPARE = 16
"""Rows asked of a graph of halves beyond twice `k`, to be ranked by the whole vectors."""


class PgvectorStore(VectorStore, name="pgvector"):
    """A table in Postgres with pgvector 0.8 or newer, searched by its HNSW graph or row by row."""

    packages: ClassVar[Mapping[str, str]] = {"psycopg": "pgvector", "pgvector": "pgvector"}

    url: Url = "postgresql://"
    """The database, such as `postgresql://me@localhost:5432/mine`; what it leaves out, Postgres's own variables say
    (PGHOST, PGUSER, ...). The password is taken from PGPASSWORD or `~/.pgpass`, and never stands in a file of
    settings."""
    collection: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,47}$")] = "fovea"
    """The table's name; two libraries in one database need two."""
    exact: bool = False
    """Whether every row is compared, and no graph is made."""
    m: Annotated[int, Field(ge=2, le=100)] = 16
    """Links of a row in each layer of the graph. Fixed when the index is made."""
    ef_construction: Annotated[int, Field(ge=4, le=1000)] = 128
    """Candidates kept while a row is put in, at least `2 m`; more make a better graph, slower. Fixed then too.
    pgvector's own 64 leaves out whole clusters of rows by chance."""
    ef_search: Annotated[int, Field(ge=1, le=1000)] = 128
    """Candidates kept while searching; more find more."""
    holds: Literal["auto", "vector", "halfvec"] = "auto"
    """What the graph holds: `halfvec` takes half the space; what is found is ranked by the whole vectors all the same.
    `auto` is `vector` up to the 2,000 numbers that it may have, then `halfvec`, up to 4,000."""
    maintenance_work_mem: Annotated[str, Field(pattern=r"^[1-9]\d*(kB|MB|GB|TB)$")] = "1GB"
    """Memory of the server for building the graph; one that does not fit is built many times slower, with a warning."""
    timeout: PositiveFloat = 60.0
    """Seconds to wait for a connection."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the database."""
        yield from super().requirements(encoder)
        look = lambda: connected(self.url, 3.0, create=False).close()  # noqa: E731
        yield Requirement(f"the database {self.url}", look, offline=False)

    @property
    def shared(self) -> bool:
        """A server is."""
        return True

    def open(self, truth: Truth, *, read_only: bool = False) -> PgvectorIndex:
        """Open the table that follows `truth`; raises MissingExtra without psycopg or pgvector."""
        for module in self.packages:
            require(module, extra="pgvector", needed_by="the store pgvector")
        return PgvectorIndex(self, truth, read_only=read_only)


class PgvectorIndex(Follower):
    """The open table: number, fields, vector. Its comment says whose it is and how far it has followed."""

    label = "Postgres"

    def __init__(self, store: PgvectorStore, truth: Truth, *, read_only: bool = False) -> None:
        super().__init__(truth, store.url, read_only=read_only)
        self._store = store
        self._open: Any = None
        self._graph = None if store.exact else indexed_as(store.holds, truth.dim, store.url)

    # The connection

    def _do(self, work: Callable[[Any], Result]) -> Result:
        """What `work` gives in one transaction; again on a new connection where the server has let the old one go."""
        from psycopg import OperationalError

        with self._plain():
            if (held := self._open) is not None:
                try:
                    with held.transaction():
                        return work(held)
                except OperationalError:
                    if not held.closed:
                        raise
            self._open = connected(self._store.url, self._store.timeout, create=not self._read_only)
            self._open.add_notice_handler(self._notice)
            with self._open.transaction():
                return work(self._open)

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Turn Postgres's errors into ours."""
        from psycopg import Error

        try:
            yield
        except FoveaError:
            raise
        except Error as error:
            raise StoreError(f"Postgres says: {words_of(error)}", where=self._where, fix=fix_of(error)) from None

    def _notice(self, said: Any) -> None:
        if "maintenance_work_mem" in (said.message_primary or ""):
            trace.warn(
                f"{self._where}: {said.message_primary}: the rest is built many times slower;"
                f" set maintenance_work_mem above {self._store.maintenance_work_mem} (store.maintenance_work_mem)"
            )

    def close(self) -> None:
        """Let go of the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    # The table

    def _named(self, text: str, **names: Any) -> Any:
        """SQL about the table, its index and what the graph holds."""
        from psycopg import sql

        table = sql.Identifier(self._store.collection)
        index = sql.Identifier(f"{self._store.collection}_hnsw")
        graph = self._graph or "vector"
        column = "embedding" if graph == "vector" else f"(embedding::halfvec({self._truth.dim}))"
        held = {"column": sql.SQL(column), "graph": sql.SQL(graph)}
        return sql.SQL(text).format(table=table, index=index, **held, **names)

    def _comment(self, connection: Any) -> tuple[bool, Any]:
        """Whether the table is there, and what its comment says if it is ours."""
        asked = "SELECT obj_description(t, 'pg_class') FROM to_regclass(quote_ident(%s)) AS t WHERE t IS NOT NULL"
        row = connection.execute(asked, [self._store.collection]).fetchone()
        try:
            return row is not None, json.loads(row[0])["fovea"]
        except (TypeError, ValueError, KeyError):
            return row is not None, None

    def _position(self) -> Position | None:
        _, facts = self._do(self._comment)
        return Position(facts["uuid"], facts["sequence"], tuple(facts["unfit"])) if facts and facts["uuid"] else None

    def _set_position(self, position: Position) -> None:
        from psycopg import sql

        if position.sequence:
            self._do(self._index)
        facts = {"uuid": position.uuid, "sequence": position.sequence, "unfit": position.unfit}
        said = sql.Literal(json.dumps({"fovea": facts}))
        self._do(lambda c: c.execute(self._named("COMMENT ON TABLE {table} IS {said}", said=said)))

    def _empty(self) -> None:
        self._do(self._create)

    def _create(self, connection: Any) -> None:
        from psycopg import sql

        there, facts = self._comment(connection)
        if there and facts is None:
            raise StoreError(
                f"the table {self._store.collection!r} is there, and Fovea did not make it",
                where=self._where,
                fix="give the store a `collection` of its own, or DROP that table",
            )
        dim, ours = sql.SQL(str(self._truth.dim)), sql.Literal(json.dumps({"fovea": {"uuid": ""}}))
        for text in (
            "DROP TABLE IF EXISTS {table}",
            "CREATE TABLE {table} (no bigint PRIMARY KEY, fields jsonb NOT NULL, embedding vector({dim}) NOT NULL)",
            "CREATE INDEX ON {table} USING gin (fields jsonb_path_ops)",
            "COMMENT ON TABLE {table} IS {ours}",
        ):
            connection.execute(self._named(text, dim=dim, ours=ours))

    def _follow(self, position: Position) -> int:
        """A graph is built anew where most rows are new ones."""
        if self._truth.count > 2 * self._count():
            self._do(lambda c: c.execute(self._named("DROP INDEX IF EXISTS {index}")))
        return super()._follow(position)

    def _index(self, connection: Any) -> None:
        """Make the graph, if there is to be one and none is there."""
        from psycopg import errors, sql

        there = connection.execute("SELECT to_regclass(quote_ident(%s))", [f"{self._store.collection}_hnsw"])
        if self._graph is None or there.fetchone()[0] is not None:
            return
        m, ef = sql.Literal(self._store.m), sql.Literal(max(self._store.ef_construction, 2 * self._store.m))
        made = self._named(
            "CREATE INDEX {index} ON {table} USING hnsw ({column} {graph}_ip_ops) WITH (m={m}, ef_construction={ef})",
            m=m,
            ef=ef,
        )
        connection.execute("SELECT set_config('maintenance_work_mem', %s, true)", [self._store.maintenance_work_mem])
        try:
            with connection.transaction():
                connection.execute(made)
        except errors.DiskFull:
            # Workers share that memory through /dev/shm, of which a container has 64 MB unless it is given more.
            connection.execute("SELECT set_config('max_parallel_maintenance_workers', '0', true)")
            connection.execute(made)
        connection.execute(self._named("ANALYZE {table}"))

    # Rows

    def _write(self, rows: Rows, metadata: Sequence[dict[str, Scalar]]) -> None:
        from psycopg.types.json import Jsonb

        nos = [int(no) for no in rows.nos]

        def write(connection: Any) -> None:
            connection.execute(self._named("DELETE FROM {table} WHERE no = ANY(%s)"), [nos])
            into = self._named("COPY {table} (no, fields, embedding) FROM STDIN (FORMAT BINARY)")
            with connection.cursor().copy(into) as copy:
                copy.set_types(["int8", "jsonb", "vector"])
                for no, fields, vector in zip(nos, metadata, rows.vectors):
                    copy.write_row((no, Jsonb(fields), vector))

        self._do(write)

    def _delete(self, nos: Sequence[int]) -> None:
        self._do(lambda c: c.execute(self._named("DELETE FROM {table} WHERE no = ANY(%s)"), [list(nos)]))

    def _query(self, vector: np.ndarray, k: int, where: Filter | None, unfit: Sequence[str]) -> list[tuple[int, float]]:
        condition, values = ("true", []) if where is None else compile_filter(where, unfit)

        def nearest(connection: Any) -> list[tuple[int, float]]:
            effort = str(min(MOST_CANDIDATES, max(self._store.ef_search, k)))
            connection.execute(EFFORT, [effort])
            found = self._ranked(connection, vector, k, condition, values) if self._graph else []
            return found if len(found) == k else self._ranked(connection, vector, k, condition, values, EXACT)

        return self._do(nearest)

    def _ranked(
        self, connection: Any, vector: np.ndarray, k: int, condition: str, values: list[Any], order: str = BY_GRAPH
    ) -> list[tuple[int, float]]:
        asked = (
            "SELECT no, -(embedding <#> %s) FROM (SELECT no, embedding FROM {table} WHERE "
            + condition
            + f" ORDER BY {order} LIMIT %s) AS found ORDER BY 2 DESC, no LIMIT %s"
        )
        wide = 2 * k + SPARE if order == BY_GRAPH and self._graph == "halfvec" else k
        found = connection.execute(self._named(asked), [vector, *values, vector, wide, k])
        return [(int(no), float(score)) for no, score in found]

    def _stored(self, nos: Sequence[int]) -> dict[int, np.ndarray]:
        asked = self._named("SELECT no, embedding FROM {table} WHERE no = ANY(%s)")
        return {no: vector.to_numpy() for no, vector in self._do(lambda c: c.execute(asked, [list(nos)]).fetchall())}

    def _count(self) -> int:
        return int(self._do(lambda c: c.execute(self._named("SELECT count(*) FROM {table}")).fetchone()[0]))
