"""Chroma, embedded in the process and kept in files, as an index that follows the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from fovea.rag.corpus import Rows, Truth, VectorStore
from fovea.rag.errors import FoveaError, StoreError, require
from fovea.rag.filters import All, Compare, Filter, Not, Some
from fovea.rag.types import Scalar
from fovea.retrievers.stores.follower import Follower, Position
from fovea.retrievers.stores.refusal import refuse

if TYPE_CHECKING:
    import numpy as np

Where = dict[str, Any]
KINDS = ["text", "number", "bool"]
_OPERATORS = {"==": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_OPPOSITE = {"<": "$gte", "<=": "$gt", ">": "$lte", ">=": "$lt"}


class ChromaStore(VectorStore, name="chroma"):
    """A persistent Chroma collection under `path`, searched by its HNSW graph. Its telemetry is off."""

    packages: ClassVar[Mapping[str, str]] = {"chromadb": "chroma"}
    folder = "chroma"

    collection: str = "fovea"
    """The collection's name."""
    ef: PositiveInt = 128
    """Candidates kept while searching; more find more. Fixed when the collection is made."""

    def open(self, truth: Truth, *, read_only: bool = False) -> ChromaIndex:
        """Open the collection that follows `truth`; raises MissingExtra without chromadb."""
        require("chromadb", extra="chroma", needed_by="the store chroma")
        return ChromaIndex(self, truth, read_only=read_only)


class ChromaIndex(Follower):
    """The open collection. Ids are the chunks' numbers; beside each field lies its kind, under `?field`."""

    label = "Chroma"

    def __init__(self, store: ChromaStore, truth: Truth, *, read_only: bool = False) -> None:
        self._folder = store.path / store.folder
        super().__init__(truth, str(self._folder), read_only=read_only)
        self._store = store
        self._opened: Any = None

    @cached_property
    def _client(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        if self._read_only and not self._folder.is_dir():
            raise StoreError("Chroma does not hold this library yet", where=self._where, fix="fovea rebuild fills it")
        with self._plain():
            settings = Settings(anonymized_telemetry=False, allow_reset=False)
            try:
                return chromadb.PersistentClient(str(self._folder), settings=settings)
            except BaseException:
                _forget_broken(str(self._folder))
                raise

    def _collection(self) -> Any:
        """The collection, or None where there is none."""
        from chromadb.errors import NotFoundError

        with self._plain():
            try:
                self._opened = self._client.get_collection(self._store.collection, embedding_function=None)
            except (NotFoundError, ValueError):
                self._opened = None
        return self._opened

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Turn Chroma's errors into ours."""
        try:
            yield
        except FoveaError:
            raise
        except BaseException as error:
            # Chroma's core panics on damaged files, which is no Exception.
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
                raise
            raise StoreError(
                f"Chroma says: {type(error).__name__}: {error}",
                where=self._where,
                fix="fovea rebuild makes the collection anew from the library; nothing is encoded",
            ) from None

    def _position(self) -> Position | None:
        if self._read_only and not self._folder.is_dir():
            return None
        collection = self._collection()
        facts = (collection.metadata or {}) if collection is not None else {}
        if not {"uuid", "sequence"} <= facts.keys():
            return None
        return Position(facts["uuid"], facts["sequence"], tuple(json.loads(facts.get("unfit", "[]"))))

    def _set_position(self, position: Position) -> None:
        facts = {"uuid": position.uuid, "sequence": position.sequence, "unfit": json.dumps(position.unfit)}
        with self._plain():
            self._opened.modify(metadata=facts)

    def _empty(self) -> None:
        try:
            if self._collection() is not None:
                with self._plain():
                    self._client.delete_collection(self._store.collection)
            self._create()
        except StoreError:
            self._clear()
            self._create()

    def _clear(self) -> None:
        """Remove all files: those that Chroma cannot read are nothing that was not in the library."""
        self.close()
        with suppress(OSError):  # Creating says it.
            if self._folder.is_file():
                self._folder.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)

    def rebuild(self) -> None:
        """Empty the store and fill it anew from the library; without its files, where writing finds damage."""
        try:
            super().rebuild()
        except StoreError:
            if self._read_only:
                raise
            self._clear()
            super().rebuild()

    def _create(self) -> None:
        with self._plain():
            self._opened = self._client.create_collection(
                self._store.collection,
                configuration={"hnsw": {"space": "ip", "ef_search": self._store.ef}},
                embedding_function=None,
            )

    def _write(self, rows: Rows, metadata: Sequence[dict[str, Scalar]]) -> None:
        ids = [str(no) for no in rows.nos]
        with self._plain():
            self._opened.upsert(ids=ids, embeddings=rows.vectors, metadatas=[_record(m) for m in metadata])

    def _delete(self, nos: Sequence[int]) -> None:
        with self._plain():
            self._opened.delete(ids=[str(no) for no in nos])

    def _query(self, vector: np.ndarray, k: int, where: Filter | None, unfit: Sequence[str]) -> list[tuple[int, float]]:
        compiled = True if where is None else compile_filter(where, unfit)
        rows = self._count()
        if compiled is False or not rows:
            return []
        with self._plain():
            found = self._opened.query(
                query_embeddings=vector[None],
                n_results=min(k, rows),
                where=None if compiled is True else compiled,
                include=["distances"],
            )
        return [(int(no), 1.0 - distance) for no, distance in zip(found["ids"][0], found["distances"][0])]

    def _stored(self, nos: Sequence[int]) -> dict[int, np.ndarray]:
        with self._plain():
            found = self._opened.get(ids=[str(no) for no in nos], include=["embeddings"])
        return {int(no): vector for no, vector in zip(found["ids"], found["embeddings"])}

    def _count(self) -> int:
        with self._plain():
            return int(self._opened.count())

    def close(self) -> None:
        """Let go of the files."""
        client = self.__dict__.pop("_client", None)
        self._opened = None
        if client is not None:
            client.close()


def _forget_broken(folder: str) -> None:
    """Let Chroma begin anew in a folder: it keeps what it could not start there, for every later client of the process
    (chromadb 1.5), and has no public way to drop that alone.
    """
    from chromadb.api.shared_system_client import SharedSystemClient

    if folder not in getattr(SharedSystemClient, "_identifier_to_refcount", {folder: 1}):
        SharedSystemClient._identifier_to_system.pop(folder, None)


def _record(metadata: dict[str, Scalar]) -> dict[str, Scalar] | None:
    """A record's metadata; Chroma takes None for nothing, and no empty mapping."""
    record: dict[str, Scalar] = {}
    for field, value in metadata.items():
        record[_key(field)] = _plain(value)
        record["?" + field] = KINDS[0] if isinstance(value, str) else KINDS[2 if isinstance(value, bool) else 1]
    return record or None


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
