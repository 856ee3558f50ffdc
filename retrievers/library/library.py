"""The library: documents, chunks, vectors and status in one SQLite file, the truth that every index follows.

    with Library.open(path, encoder=encoder) as library:
        library.add_vectors(keys, vectors)
        library.replace(SourceRow("a.txt", digest), [(document, chunks)])

Every change is one transaction, on disk when the call returns (WAL, synchronous FULL). One process writes, any number
read, and readers see the last commit.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace as with_changes
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.rag.corpus import Rows
from fovea.rag.encoder import Encoder
from fovea.rag.filters import Filter
from fovea.rag.terms import query_terms
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library import (
    chunks,
    content,
    facts,
    journal,
    lexicon,
    listing,
    opening,
    situations,
    sources,
    vectors,
)
from fovea.retrievers.library.checks import problems
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.listing import DocumentRow
from fovea.retrievers.library.lock import WriterLock
from fovea.retrievers.library.ranking import Ranking
from fovea.retrievers.library.sources import SourceRow
from fovea.retrievers.library.vectors import chunk_keys, vector_key

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Library", "SourceRow", "chunk_keys", "vector_key"]

REMEMBERED_FILTERS = 8


class Library:
    """An open library; `Library.open` makes one. Threads may share it."""

    def __init__(self, db: Database, lock: WriterLock | None = None) -> None:
        self._db, self._lock, self._ranking = db, lock, Ranking(db)
        self._matching: OrderedDict[tuple[str, str, int], np.ndarray] = OrderedDict()

    # Opening

    FILES = ("library.sqlite*", "writer.lock*", "writer.json", "sets", "read_once")
    """What the folder of a store holds besides its index."""

    @classmethod
    def marked(cls, path: Path) -> bool:
        """Whether the folder `path` bears the mark of a store, whatever state that is in."""
        return opening.ours(path / opening.FILE)

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether there is a library in the folder `path`."""
        return opening.exists(path)

    @classmethod
    def open(
        cls, path: Path, *, encoder: Encoder | None = None, read_only: bool = False, reset: bool = False
    ) -> Library:
        """Open the library in the folder `path`, or begin one there.

        Raises StoreError for a file that is not ours, newer, damaged, or made with another encoder, and when there is
        nothing to read; LockedError while another process writes. `reset` throws away what there is.
        """
        return cls(opening.reader(path, encoder)) if read_only else cls(*opening.writer(path, encoder, reset=reset))

    def close(self) -> None:
        """Let go of the file and of the right to write."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The truth that indexes follow

    @property
    def uuid(self) -> str:
        """Names this library; an index built from another is rebuilt."""
        return str(self._db.meta("uuid"))

    @property
    def sequence(self) -> int:
        """Rises with every committed change of the chunks."""
        return int(self._db.meta("sequence") or 0)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._db.meta("dim") or 0)

    def refuse_empty(self) -> None:
        """Raise StoreError, which says why, if there is no chunk."""
        if self._db.one("SELECT 1 FROM chunks LIMIT 1") is None:
            failed = sum(1 for _ in self.sources("failed"))
            raise opening.nothing_in(str(self._db.path.parent), failed)

    @property
    def count(self) -> int:
        """How many chunks there are."""
        row = self._db.one("SELECT count(*) FROM chunks")
        return int(row[0]) if row else 0

    def added(self, since: int, batch: int = 4096) -> Iterator[Rows]:
        """The chunks that are there now and were added after sequence number `since`, in order of `no`."""
        return journal.added(self._db, since, batch, self.dim)

    def removed(self, since: int) -> np.ndarray:
        """The `no` of every chunk removed after sequence number `since`, int64, rising."""
        return journal.removed(self._db, since)

    def matching(self, where: Filter) -> np.ndarray:
        """The `no` of every chunk whose metadata match, int64, rising. The last few answers are remembered."""
        import numpy as np

        key = (repr(where), self.uuid, self.sequence)
        if (found := self._matching.get(key)) is None:
            condition, values = facts.chunks_matching(self._db, where)
            rows = self._db.all(f"SELECT no FROM chunks WHERE {condition} ORDER BY no", values)
            found = self._matching[key] = np.fromiter((no for (no,) in rows), np.int64, len(rows))
        with suppress(KeyError):  # Another thread may have taken it away.
            while len(self._matching) > REMEMBERED_FILTERS:
                self._matching.popitem(last=False)
        return found

    def fields(self, where: Filter | None = None) -> dict[str, set[str]]:
        """The fields that filters can name, each with the kinds of value it has: "text", "number", "bool"; with
        `where`, those of the documents that match it.
        """
        with self._db.snapshot():
            return facts.known(self._db) if where is None else listing.fields_of(self._db, where)

    def snapshot(self) -> AbstractContextManager[None]:
        """Inside of it, every reading sees one commit, whatever another process commits. Other threads wait."""
        return self._db.snapshot()

    # Sources

    def transaction(self) -> AbstractContextManager[None]:
        """All changes of the block, or none of them."""
        return self._db.transaction()

    def source(self, name: str) -> SourceRow | None:
        """The row of one source, or None."""
        found = sources.find(self._db, name)
        return found[1] if found else None

    def sources(self, status: str | None = None) -> Iterator[SourceRow]:
        """Every source, or those with the status "ok" or "failed", in order of their names."""
        return sources.every(self._db, status)

    def replace(
        self,
        row: SourceRow,
        documents: Iterable[tuple[Document, Sequence[Chunk]]],
        *,
        pooled: str = "",
        situated: str = "",
        situator: str = "",
        said: Mapping[str, str] | None = None,
    ) -> None:
        """What a source holds now, in one transaction: its old documents go, these come, its status is "ok".

        `pooled` is the fingerprint of the pooler that made the vectors of the chunks, where it used more than their
        text or they were situated, and `situated` that of the situator; they were added under the names that
        `chunk_keys` gives. `situator` is what `situators` calls it, for all sources of the row's recipe. `said` is what
        is said of the place of a chunk, by its id: its words are indexed too.

        Raises StoreError for a chunk whose vector was not added, DocumentError for one that is no slice of its
        document and for an id that another source has.
        """
        with self._db.transaction():
            sequence = self._next()
            owner = sources.save(self._db, with_changes(row, status="ok", error="", attempts=0))
            content.take_out(self._db, owner, sequence)
            makers = (str(self._db.meta("encoder")), pooled, situated)
            n = content.put(self._db, owner, documents, makers=makers, said=said or {}, sequence=sequence)
            self._know("situators" if situated else "poolers", pooled + situated)
            if situator and (known := self._recipes()).get(row.recipe) != situator:
                self._db.set_meta("recipes", json.dumps({**known, row.recipe: situator}))
            self._db.run("UPDATE sources SET documents = ?, chunks = ? WHERE id = ?", (*n, owner))

    def _know(self, kind: str, maker: str) -> None:
        """Remember who has made vectors of more than a chunk's text."""
        if maker and maker not in (known := json.loads(str(self._db.meta(kind) or "[]"))):
            self._db.set_meta(kind, json.dumps([*known, maker]))

    def situators(self) -> dict[str, int]:
        """How many chunks each situator has made the vectors of, by what it was called; what was taken in by a Fovea
        that did not say is left out.
        """
        known, found = self._recipes(), Counter[str]()
        for recipe, n in self._db.all("SELECT recipe, sum(chunks) FROM sources WHERE chunks > 0 GROUP BY recipe"):
            found.update({known[recipe]: n} if recipe in known else {})
        return dict(found)

    def _recipes(self) -> dict[str, str]:
        return dict(json.loads(str(self._db.meta("recipes") or "{}")))

    def rename(self, old: str, new: str) -> None:
        """Give a source another name, in one transaction with the `replace` that brings its documents under the new
        name: until then they bear the old.
        """
        with self._db.transaction():
            sources.rename(self._db, old, new)

    def note_unknown(self, names: Sequence[str], folders: Sequence[str]) -> None:
        """Remember the files of unknown type below `folders`; those below others stay as they were noted."""
        below = tuple("" if folder in ("", ".") else folder.rstrip("/") + "/" for folder in folders)
        kept = [name for name in self.unknown() if not name.startswith(below)] if below else self.unknown()
        if (noted := [*kept, *names]) != self.unknown():
            with self._db.transaction():
                self._db.set_meta("unknown", json.dumps(noted))

    def unknown(self) -> list[str]:
        """The files that no loader reads, as they were met when folders were taken in."""
        return list(json.loads(str(self._db.meta("unknown") or "[]")))

    def note_settings(self, recipe: str, settings: Mapping[str, str]) -> None:
        """Remember the settings, by their kind, behind the recipe of rows that will come."""
        with self._db.transaction():
            known = self._made_with()
            self._db.set_meta("made_with", json.dumps({**known, recipe: dict(settings)}))

    def made_with(self) -> list[tuple[str, int, dict[str, str]]]:
        """Each recipe with how many sources that hold chunks were taken in by it, and its settings, if noted."""
        known = self._made_with()
        rows = self._db.all("SELECT recipe, count(*) FROM sources WHERE chunks > 0 GROUP BY recipe ORDER BY recipe")
        return [(recipe, n, known.get(recipe, {})) for recipe, n in rows]

    def _made_with(self) -> dict[str, dict[str, str]]:
        return dict(json.loads(str(self._db.meta("made_with") or "{}")))

    def fail(self, row: SourceRow, error: str) -> None:
        """Note that a source could not be taken, and why. What was stored of it before stays as it was."""
        with self._db.transaction():
            old = self.source(row.name) or SourceRow(row.name)
            row = with_changes(row, documents=old.documents, chunks=old.chunks, attempts=old.attempts + 1)
            row = with_changes(row, recipe=old.recipe) if old.chunks else row  # What made the chunks that stay.
            sources.save(self._db, with_changes(row, status="failed", error=error))

    def remove(self, names: Iterable[str]) -> int:
        """Take sources out with everything that came from them; returns how many there were."""
        gone = 0
        with self._db.transaction():
            sequence = 0
            for name in names:
                if (found := sources.find(self._db, name)) is not None:
                    sequence = sequence or self._next()
                    content.take_out(self._db, found[0], sequence)
                    gone += self._db.run("DELETE FROM sources WHERE id = ?", (found[0],))
        return gone

    def _next(self) -> int:
        sequence = self.sequence + 1
        self._db.set_meta("sequence", sequence)
        return sequence

    # Vectors

    def missing(self, keys: Sequence[str]) -> set[str]:
        """The keys for which there is no vector yet."""
        return set(keys) - vectors.ids(self._db, keys).keys()

    def add_vectors(self, keys: Sequence[str], found: np.ndarray) -> None:
        """Keep unit vectors `(keys, dim)`, each under the key that `vector_key` gave; one durable commit."""
        vectors.add(self._db, keys, found, self.dim)

    def vectors_named(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors there are under `keys`, by key."""
        return vectors.named(self._db, keys, self.dim)

    def vectors_of(self, nos: Sequence[int]) -> np.ndarray:
        """The vectors of chunks by `no`, float32 `(nos, dim)`."""
        return vectors.of_chunks(self._db, nos, self.dim)

    def prune(self) -> int:
        """Drop the vectors that no chunk refers to, and give space back to the disk; returns how many vectors.

        When more chunks were removed than there are, their marks go too, and indexes are rebuilt on their next sync.
        """
        return journal.prune(self._db)

    # Reading

    def document(self, document_id: str) -> Document:
        """A whole document; raises QueryError for an unknown id."""
        return chunks.document(self._db, document_id)

    def documents(self) -> Iterator[Document]:
        """Every document, one at a time."""
        return chunks.documents(self._db)

    def listed(self, where: Filter | None = None, after: str = "") -> Iterator[DocumentRow]:
        """The documents that have a chunk which matches, or all, in order of their ids, those behind the id `after`; no
        text is read.
        """
        return listing.listed(self._db, where, after)

    def holds(self, document_id: str, where: Filter | None = None) -> bool:
        """Whether there is a document of this id that has a chunk which matches."""
        with self._db.snapshot():
            return listing.holds(self._db, document_id, where)

    def document_sources(self) -> Iterator[tuple[str, str]]:
        """The id and the source of every document, in the order in which they were added; no text is read."""
        return chunks.document_sources(self._db)

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, one at a time, in the order in which they were added."""
        return (chunk for _, chunk in chunks.every(self._db))

    def chunks_of(self, document_id: str) -> list[Chunk]:
        """The chunks of a document, in order of their start."""
        return chunks.of_document(self._db, document_id)

    def chunk_by_no(self, nos: Sequence[int]) -> dict[int, Chunk]:
        """Chunks by `no`; those that are gone are left out."""
        return chunks.by_no(self._db, nos)

    def situations(self, nos: Sequence[int]) -> dict[int, str]:
        """What is said of the places of chunks, by `no`; those of which nothing is said are left out."""
        return situations.of_chunks(self._db, nos)

    def no_of(self, chunk_ids: Sequence[str]) -> dict[str, int]:
        """The `no` of each chunk id that is there."""
        return chunks.numbers(self._db, chunk_ids)

    def neighbours(self, chunk: Chunk, before: int, after: int) -> list[Chunk]:
        """The chunks around `chunk` in its document, itself included; raises QueryError for one that is not there."""
        return chunks.neighbours(self._db, chunk, before, after)

    def match(self, text: str, k: int, where: Filter | None = None) -> list[tuple[int, float]]:
        """The `(no, BM25)` of the `k` chunks of highest BM25 score for any term of `text`; equal by rising `no`."""
        with self._db.snapshot():
            lexicon.warn_if_old(self._db)
            inside = self.matching(where) if where is not None else None
            return self._ranking.best(query_terms(text), k, inside)

    def match_uncommon(self, text: str, k: int, share: float, where: Filter | None = None) -> list[tuple[int, float]]:
        """The `(no, BM25)` of the `k` chunks of highest score for the terms of `text` that no more than `share` of all
        chunks hold, or for the rarest; equal by rising `no`.
        """
        with self._db.snapshot():
            lexicon.warn_if_old(self._db)
            inside = self.matching(where) if where is not None else None
            return self._ranking.uncommon(query_terms(text), k, share, inside)

    def holding(self, words: Sequence[str]) -> tuple[int, dict[str, int]]:
        """How many chunks there are, and how many hold each word."""
        with self._db.snapshot():
            return self._ranking.holding(words)

    def check(self) -> list[str]:
        """What is wrong with the file, in sentences; empty when all is well. Reads everything once."""
        return problems(self._db)
