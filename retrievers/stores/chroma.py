"""Chroma as an index that follows the library: a server by `url`, or embedded in the process and kept in files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from fovea.rag.component import Component
from fovea.rag.corpus import Rows, Truth, VectorStore
from fovea.rag.errors import FoveaError, StoreError, require
from fovea.rag.filters import Filter
from fovea.rag.requirements import Requirement, server
from fovea.rag.secret_words import words_of
from fovea.rag.types import Scalar
from fovea.retrievers.stores.chroma_filters import compile_filter, record
from fovea.retrievers.stores.follower import Follower, Position
from fovea.retrievers.stores.url import Url

if TYPE_CHECKING:
    import numpy as np


START = "chroma run --path FOLDER starts a server"


class ChromaStore(VectorStore, name="chroma"):
    """A Chroma collection, searched by its HNSW graph. Its telemetry is off."""

    packages: ClassVar[Mapping[str, str]] = {"chromadb": "chroma"}
    folder = "chroma"

    url: Url | None = None
    """The server, such as `http://localhost:8000`, which `chroma run` starts. Left out, the collection lies in files
    under `path`."""
    api_key_env: str = "CHROMA_API_KEY"
    """The environment variable that holds the server's key, sent as `x-chroma-token`; the key itself never stands in
    a file of settings."""
    collection: str = "fovea"
    """The collection's name; two libraries on one server need two."""
    ef: PositiveInt = 128
    """Candidates kept while searching; more find more. Fixed when the collection is made."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the server, where there is to be one."""
        yield from super().requirements(encoder)
        if self.url is not None:
            yield server(self.url, "the store 'chroma'", f"{START}, or leave url out for files")

    @property
    def shared(self) -> bool:
        """A server is; of files, a process has one client."""
        return self.url is not None

    def open(self, truth: Truth, *, read_only: bool = False) -> ChromaIndex:
        """Open the collection that follows `truth`; raises MissingExtra without chromadb."""
        require("chromadb", extra="chroma", needed_by="the store chroma")
        return ChromaIndex(self, truth, read_only=read_only)


class ChromaIndex(Follower):
    """The open collection. Ids are the chunks' numbers; beside each field lies its kind, under `?field`."""

    label = "Chroma"

    def __init__(self, store: ChromaStore, truth: Truth, *, read_only: bool = False) -> None:
        self._folder = store.path / store.folder
        super().__init__(truth, store.url or str(self._folder), read_only=read_only)
        self._store = store
        self._opened: Any = None

    @property
    def _nowhere(self) -> bool:
        """Whether there are no files, which a reader must not begin."""
        return self._store.url is None and self._read_only and not self._folder.is_dir()

    @cached_property
    def _client(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        if self._nowhere:
            raise StoreError("Chroma does not hold this library yet", where=self._where, fix="fovea rebuild fills it")
        with self._plain():
            settings = Settings(anonymized_telemetry=False, allow_reset=False)
            if self._store.url is not None:
                key = os.environ.get(self._store.api_key_env, "").strip()
                headers = {"x-chroma-token": key} if key else None
                return chromadb.HttpClient(self._store.url, headers=headers, settings=settings)
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
            fix = "fovea rebuild makes the collection anew from the library; nothing is encoded"
            if self._store.url is not None:
                fix = f"is the server running, and its key in the environment? {START}; {fix}"
            said = f"Chroma says: {type(error).__name__}: {words_of(error)}"
            raise StoreError(said, where=self._where, fix=fix) from None

    def _position(self) -> Position | None:
        if self._nowhere:
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
            if self._store.url is not None:
                raise
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
            if self._read_only or self._store.url is not None:
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
            self._opened.upsert(ids=ids, embeddings=rows.vectors, metadatas=[record(m) for m in metadata])

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
        """Let go of the files or the connection."""
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
