"""Qdrant through its client: a server or cluster by `url`, or the client's local mode in files, for trying it out."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from fovea.rag.component import Component
from fovea.rag.corpus import Rows, Truth, VectorStore
from fovea.rag.errors import FoveaError, LockedError, StoreError, require
from fovea.rag.filters import All, Compare, Filter, Not, Some
from fovea.rag.requirements import Requirement, server
from fovea.rag.secret_words import words_of
from fovea.rag.types import Scalar
from fovea.retrievers.stores.follower import Follower, Position
from fovea.retrievers.stores.refusal import refuse
from fovea.retrievers.stores.url import Url

if TYPE_CHECKING:
    import numpy as np

KINDS = ["text", "number", "bool"]
JOURNAL_POINT = 1


class QdrantStore(VectorStore, name="qdrant"):
    """A Qdrant collection, with a small one beside it that holds the position in the library's journal."""

    packages: ClassVar[Mapping[str, str]] = {"qdrant_client": "qdrant"}
    folder = "qdrant"

    url: Url | None = None
    """The server, such as `http://localhost:6333`. Left out, the client keeps the points in files under `path`: about
    a hundred are written a second, all are searched one by one, and one process can have them open."""
    api_key_env: str = "QDRANT_API_KEY"
    """The environment variable that holds the server's key; the key itself never stands in a file of settings."""
    collection: str = "fovea"
    """The collection's name; two libraries on one server need two."""
    exact: bool = False
    """Whether the server compares with every point in place of walking its graph."""
    timeout: PositiveFloat = 60.0
    """Seconds to wait for the server."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the server, where there is to be one."""
        yield from super().requirements(encoder)
        if self.url is not None:
            yield server(self.url, "the store 'qdrant'", "start the server, or leave url out for files")

    @property
    def shared(self) -> bool:
        """A server is; files can be open once."""
        return self.url is not None

    def open(self, truth: Truth, *, read_only: bool = False) -> QdrantIndex:
        """Open the collection that follows `truth`; raises MissingExtra without qdrant-client."""
        require("qdrant_client", extra="qdrant", needed_by="the store qdrant")
        return QdrantIndex(self, truth, read_only=read_only)


class QdrantIndex(Follower):
    """The open collection. Ids are the chunks' numbers; the payload has `value` and `kind` of each field."""

    label = "Qdrant"

    def __init__(self, store: QdrantStore, truth: Truth, *, read_only: bool = False) -> None:
        self._folder = store.path / store.folder
        super().__init__(truth, store.url or str(self._folder), read_only=read_only)
        self._store, self._name, self._journal = store, store.collection, f"{store.collection}_journal"

    @cached_property
    def _client(self) -> Any:
        from qdrant_client import QdrantClient

        with self._plain():
            if self._store.url is None:
                return QdrantClient(path=str(self._folder))
            key = os.environ.get(self._store.api_key_env)
            # The check of versions would warn of a server that is away before the first call says so as an error.
            seconds = math.ceil(self._store.timeout)
            return QdrantClient(url=self._store.url, api_key=key, timeout=seconds, check_compatibility=False)

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Turn the client's errors into ours."""
        try:
            yield
        except (FoveaError, MemoryError):
            raise
        except Exception as error:
            if "already accessed" in str(error):
                raise LockedError(
                    "another process has these Qdrant files open",
                    where=self._where,
                    fix="end it, or run a Qdrant server and set `url`: its local mode serves one process",
                ) from None
            fix = (
                "is the server running, and its key in the environment?"
                if self._store.url
                else ("fovea rebuild makes the files anew from the library; nothing is encoded")
            )
            said = f"Qdrant says: {type(error).__name__}: {words_of(error)}"
            raise StoreError(said, where=self._where, fix=fix) from None

    def _position(self) -> Position | None:
        if self._store.url is None and self._read_only and not self._folder.is_dir():
            return None
        with self._plain():
            if not self._client.collection_exists(self._journal) or not self._client.collection_exists(self._name):
                return None
            points = self._client.retrieve(self._journal, ids=[JOURNAL_POINT], with_payload=True)
        if not points:
            return None
        payload = points[0].payload
        return Position(payload["uuid"], payload["sequence"], tuple(payload["unfit"]))

    def _set_position(self, position: Position) -> None:
        from qdrant_client import models as m

        payload = {"uuid": position.uuid, "sequence": position.sequence, "unfit": list(position.unfit)}
        with self._plain():
            point = m.PointStruct(id=JOURNAL_POINT, vector=[1.0], payload=payload)
            self._client.upsert(self._journal, points=[point], wait=True)

    def _empty(self) -> None:
        try:
            self._create()
        except LockedError:
            raise
        except StoreError:
            if self._store.url is not None:
                raise
            # Files that the client cannot read are nothing that was not in the library.
            self.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._create()

    def _create(self) -> None:
        from qdrant_client import models as m

        with self._plain():
            for name, size in ((self._journal, 1), (self._name, self._truth.dim)):
                if self._client.collection_exists(name):
                    self._client.delete_collection(name)
                vectors = m.VectorParams(size=size, distance=m.Distance.DOT)
                self._client.create_collection(name, vectors_config=vectors)

    def _write(self, rows: Rows, metadata: Sequence[dict[str, Scalar]]) -> None:
        from qdrant_client import models as m

        points = m.Batch(
            ids=[int(no) for no in rows.nos], vectors=rows.vectors.tolist(), payloads=[_payload(p) for p in metadata]
        )
        with self._plain():
            self._client.upsert(self._name, points=points, wait=True)

    def _delete(self, nos: Sequence[int]) -> None:
        from qdrant_client import models as m

        with self._plain():
            self._client.delete(self._name, points_selector=m.PointIdsList(points=list(nos)), wait=True)

    def _query(self, vector: np.ndarray, k: int, where: Filter | None, unfit: Sequence[str]) -> list[tuple[int, float]]:
        from qdrant_client import models as m

        compiled = None if where is None else compile_filter(where, unfit)
        with self._plain():
            found = self._client.query_points(
                self._name,
                query=vector.tolist(),
                limit=k,
                query_filter=compiled,
                search_params=m.SearchParams(exact=self._store.exact),
                with_payload=False,
            )
        return [(int(point.id), float(point.score)) for point in found.points]

    def _stored(self, nos: Sequence[int]) -> dict[int, np.ndarray]:
        import numpy as np

        with self._plain():
            found = self._client.retrieve(self._name, ids=list(nos), with_payload=False, with_vectors=True)
        return {int(point.id): np.asarray(point.vector, np.float32) for point in found}

    def _count(self) -> int:
        with self._plain():
            return int(self._client.count(self._name, exact=True).count)

    def close(self) -> None:
        """Let go of the files or the connection."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()


def _payload(metadata: dict[str, Scalar]) -> dict[str, dict[str, Scalar]]:
    return {"value": metadata, "kind": {field: _kind(value) for field, value in metadata.items()}}


def _kind(value: Scalar) -> str:
    return KINDS[0] if isinstance(value, str) else KINDS[2 if isinstance(value, bool) else 1]


def compile_filter(where: Filter, unfit: Sequence[str] = ()) -> Any:
    """The filter as Qdrant's; raises QueryError for what Qdrant lacks.

    A comparison asks for the field's kind too, since Qdrant's ranges and matches take a truth value for a number.
    Its text match goes by words, so `contains` is refused.
    """
    refuse(where, "Qdrant", unfit)
    return _compiled(where)


def _compiled(where: Filter) -> Any:
    from qdrant_client import models as m

    match where:
        case All(parts):
            return m.Filter(must=[_compiled(p) for p in parts])
        case Some(parts):
            return m.Filter(should=[_compiled(p) for p in parts]) if parts else _never()
        case Not(part):
            return m.Filter(must_not=[_compiled(part)])
        case Compare(field, "exists", value):
            there = m.Filter(must=[_kind_in(field, KINDS)])
            return there if value else m.Filter(must_not=[there])
        case Compare(field, "!=" | "not in" as op, value):
            same = Compare(field, "==" if op == "!=" else "in", value)
            return m.Filter(must=[_kind_in(field, KINDS)], must_not=[_compiled(same)])
        case Compare(field, "in", value):
            values = value if isinstance(value, tuple) else (value,)
            return _compiled(Some(tuple(Compare(field, "==", v) for v in values)))
        case Compare(field, op, value):
            return m.Filter(must=[_kind_in(field, [_kind(value)]), _test(field, op, value)])  # type: ignore[arg-type]
    raise TypeError(f"not a filter: {where!r}")


def _test(field: str, op: str, value: Any) -> Any:
    from qdrant_client import models as m

    key = _key("value", field)
    if isinstance(value, (str, bool)):
        return m.FieldCondition(key=key, match=m.MatchValue(value=value))
    bounds = {"==": {"gte": value, "lte": value}, "<": {"lt": value}, "<=": {"lte": value}, ">": {"gt": value}}
    return m.FieldCondition(key=key, range=m.Range(**bounds.get(op, {"gte": value})))


def _kind_in(field: str, kinds: list[str]) -> Any:
    from qdrant_client import models as m

    return m.FieldCondition(key=_key("kind", field), match=m.MatchAny(any=kinds))


def _never() -> Any:
    from qdrant_client import models as m

    return m.Filter(must=[m.HasIdCondition(has_id=[])])


def _key(part: str, field: str) -> str:
    """A path into the payload; quotes keep dots in a field's name from being steps."""
    return f'{part}."{field}"'
