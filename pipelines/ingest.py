"""Ingestion: from paths to a library that is exactly what the files say.

For every file: hash it; skip it if nothing changed; else load, segment, encode what was never encoded, and commit the
file in one transaction. Files are taken in groups, so that small ones share encoder batches and memory does not grow
with the corpus. Encoded vectors are committed as they come and named by content: after `kill -9` at any moment the same
command ends in the same state as a clean run, and at most one slice of texts is encoded again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from fovea.pipelines import recipes
from fovea.pipelines.added import checked, each
from fovea.pipelines.ingest_report import IngestReport
from fovea.pipelines.loaders.select import Selection, loader_for
from fovea.pipelines.loading import loaded, reason
from fovea.pipelines.making import Maker
from fovea.pipelines.situated import label
from fovea.pipelines.sources.gone import gone, kept_back, lost, not_there, suspicious, there
from fovea.pipelines.sources.known import Known
from fovea.pipelines.sources.own import Own
from fovea.pipelines.sources.places import Places, whole
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.workers.files import Unread, begun, received
from fovea.pipelines.workers.local import Workers
from fovea.pipelines.workers.spread import SpreadEncoder
from fovea.pipelines.workers.work import Read
from fovea.rag import progress, trace
from fovea.rag.errors import DocumentError, FoveaError
from fovea.rag.loader import Loader
from fovea.rag.tables import with_headers
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library.library import Library, SourceRow

__all__ = ["Ingest", "IngestReport"]

GROUP_CHUNKS = 1024
"""Chunks gathered over files before they are encoded and committed."""
SLICE_CHUNKS = 128
"""Texts encoded between two commits of vectors: what a kill can cost."""
A_FILE = SourceRow("", mtime_ns=1)
"""A file of which nothing is known yet: what was added without one has no time."""


@dataclass
class _Item:
    """One source on its way in; `was` is what it was called before."""

    row: SourceRow
    new: bool
    documents: list[tuple[Document, list[Chunk]]]
    was: str = ""
    said: dict[str, str] = field(default_factory=dict)
    """What a chunk is found by beside its own words, by its id: the header above its rows, and its place."""

    @property
    def chunks(self) -> int:
        return sum(len(c) for _, c in self.documents)


class Ingest:
    """One run over one library."""

    def __init__(
        self,
        spec: PipelineSpec,
        loaders: Sequence[Loader],
        library: Library,
        base: Path,
        workers: Workers | None = None,
    ) -> None:
        self.spec, self.loaders, self.library = spec, loaders, library
        self.report = IngestReport()
        self.places = Places(base)
        self.group_chunks = GROUP_CHUNKS
        self.workers = workers
        encoder = SpreadEncoder.over(spec.encoder, workers) if workers else None
        self.maker = Maker(spec, library, self.report, SLICE_CHUNKS, encoder)
        self.kept: dict[Path, str] = {}
        """Folders whose vanished sources stay, since they may come back, with the reason."""
        self._noted: set[str] = set()

    def run(self, paths: Iterable[str | Path], *, forget: bool = False) -> IngestReport:
        """Ingest files, folders and globs; then remove what has gone from the folders among them. Where that would be
        all, or most, it stays (`refuse` raises the error), unless one says `forget`.
        """
        self.known = Known(self.library, self.places)
        present, vanished = self._sorted([Path(whole(path)) for path in paths], forget)
        selection = Selection(present, self.loaders, self.spec.store.path)
        globs = [path for path in present if gone(path)]
        self._take(selection.files())
        self.report.skipped = selection.skipped
        self.report.unknown = [self.places.name(path) for path in selection.unknown]
        self.library.note_unknown(self.report.unknown, [self.places.name(folder) for folder in selection.folders])
        self._not_seen(selection.unread)
        with self.report.trace.stage("remove"):
            self._remove_gone([*selection.folders, *globs, *vanished], forget)
        return self.report

    def refuse(self) -> None:
        """Raise DocumentError if sources were kept that have gone from their folders."""
        if self.kept:
            raise kept_back(list(self.kept.values()), list(self.kept))

    def add(self, documents: Iterable[Document] | Document) -> IngestReport:
        """Bring documents that are no files in step, each a source by its id; none is removed. One that cannot be
        stored is a failure of the report, by its id, and the others are stored.
        """
        group: list[_Item] = []
        taken: dict[str, str] = {}
        try:
            for document in each(documents):
                group += self._brought(document, taken)
                if sum(i.chunks for i in group) >= self.group_chunks:
                    self._commit(group)
                    group = []
        except Exception:  # Raised by whoever makes the documents: what came before is stored.
            self._commit(group)
            raise
        self._commit(group)
        self.maker.alarm()
        return self.report

    def _brought(self, document: Document, taken: dict[str, str]) -> list[_Item]:
        """A document with its chunks; nothing if it cannot be stored, which is a failure, or is stored already."""
        try:
            item = self._new(document, taken)
        except FoveaError as error:
            self._not_added(str(getattr(document, "id", document)), error)
            return []
        return [item] if item else []

    def _new(self, document: Document, taken: dict[str, str]) -> _Item | None:
        """A document with its chunks, or None if it is stored already; `taken` has the digests of this run by id."""
        document = checked(document)
        row = self._row(document)
        if taken.get(row.name, row.digest) != row.digest:
            raise DocumentError(
                f"two different documents have the id {document.id!r}: the first is stored, this one is not",
                fix="give each document its own id",
            )
        old = self.library.source(row.name)
        if old and old.mtime_ns:
            raise DocumentError(
                f"the id {document.id!r} is the name of a file that was ingested", fix="give the document another id"
            )
        stored = old and old.status == "ok" and (old.digest, old.recipe) == (row.digest, row.recipe)
        if stored or row.name in taken:
            self.report.unchanged += 1
            return None
        taken[row.name] = row.digest
        item = _Item(row, old is None, [])
        item.documents.append((document, self.maker.cut(document, item.said)))
        return item

    def _not_added(self, name: str, error: FoveaError) -> None:
        with self.report.trace.stage("add"):
            trace.warn(str(error))
        self.report.failed[name] = str(error)

    def retry(self) -> IngestReport:
        """Take the failed files again."""
        self.known = Known(self.library, self.places)
        failed = [row.name for row in self.library.sources(status="failed")]
        self._take(path for name in failed if not lost(path := self.places.path(name)))
        self._remove([name for name in failed if lost(self.places.path(name))])
        return self.report

    def _sorted(self, paths: Sequence[Path], forget: bool) -> tuple[list[Path], list[Path]]:
        """The paths that are there, and those that are gone though the store has sources from them."""
        present, vanished = list[Path](), list[Path]()
        for path in paths:
            known = 0 if there(path) else len(list(self.known.under(path)))
            if known and not forget:
                raise not_there(path, known)
            (vanished if known else present).append(path)
        return present, vanished

    def _not_seen(self, unread: Mapping[Path, str]) -> None:
        self.report.failed |= {f.as_posix(): f"{f.as_posix()}: not read: {why}" for f, why in unread.items()}

    def _take(self, files: Iterator[Path]) -> None:
        group: list[_Item] = []
        with progress.bar("ingest files") as bar:
            for path, reading in begun(files, self._to_read, self.workers):
                if (item := self._prepare(path, reading)) is not None:
                    group.append(item)
                if sum(i.chunks for i in group) >= self.group_chunks:
                    self._commit(group)
                    group = []
                bar.advance(1, path.name)
            self._commit(group)
        self.maker.alarm()

    def _prepare(self, path: Path, reading: Future[Read] | None = None) -> _Item | None:
        """Load and segment one file, or wait for the worker that does; None if it is unchanged or cannot be read."""
        name, others = self.known.called(path)
        old, was = self.library.source(name), ""
        row = replace(A_FILE, name=name)
        try:
            loader = loader_for(path, self.loaders)
            loader.check(path)
            with self.report.trace.stage("hash"):
                row = self._stamp(path, name, loader)
            if old and old.status == "ok" and (old.digest, old.recipe) == (row.digest, row.recipe):
                self.report.unchanged += 1
                self._remove(others)
                return None
            if old is None:
                was = next(iter(others), None) or self.known.moved(name, row.digest) or ""
            item = _Item(row, old is None, [], was)
            if reading is None:
                item.documents += self._documents(path, name, loader, item.said)
            else:
                item.documents += received(reading, self.maker.cut, item.said, self.report.trace)
            if self._stamp(path, name, loader).digest != row.digest:
                raise DocumentError("the file changed while it was read", fix="run the same command again")
            self._remove([n for n in others if n != was])
            return item
        except Unread as error:
            why = str(error)
        except Exception as error:
            why = reason(error, path, name)
        if was and (before := self.library.source(was)) and not before.chunks:
            self.library.remove([was])
        self.library.fail(row, why)
        self.report.failed[name] = why
        return None

    def _stamp(self, path: Path, name: str, loader: Loader) -> SourceRow:
        digest, stat = sha256(), path.stat()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        recipe = recipes.of_file(loader, self.spec)
        time = stat.st_mtime_ns or A_FILE.mtime_ns
        return SourceRow(name, digest=digest.hexdigest(), size=stat.st_size, mtime_ns=time, recipe=recipe)

    def _row(self, document: Document) -> SourceRow:
        plain = [document.text, document.title, document.media_type, dict(document.metadata), list(document.pages)]
        digest = sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        return SourceRow(document.id, digest=digest, size=len(document.text), recipe=recipes.of_document(self.spec))

    def _documents(
        self, path: Path, name: str, loader: Loader, said: dict[str, str]
    ) -> Iterator[tuple[Document, list[Chunk]]]:
        """The documents of a file with their chunks; what is said of chunks is put into `said`."""
        for document in loaded(path, name, loader, self.report.trace):
            yield document, self.maker.cut(document, said)

    def _to_read(self, path: Path) -> str:
        """What a file is called that is new or has changed. Empty for one that is unchanged or cannot be read:
        `_prepare` will see that again, and say it.
        """
        with suppress(FoveaError, OSError):
            loader = loader_for(path, self.loaders)
            loader.check(path)
            name, _ = self.known.called(path)
            old = self.library.source(name)
            if not old or old.status != "ok":
                return name
            row = self._stamp(path, name, loader)
            return "" if (old.digest, old.recipe) == (row.digest, row.recipe) else name
        return ""

    def _commit(self, group: list[_Item]) -> None:
        self.maker.encode([text for item in group for cut in item.documents for text in with_headers(*cut)])
        with self.report.trace.stage("store") as store:
            for item in group:
                try:
                    self._put(item)
                except DocumentError as error:
                    if item.row.mtime_ns:
                        self.library.fail(item.row, str(error))
                    self._not_added(item.row.name, error)
                    continue
                store.count(sources=1, chunks=item.chunks)

    def _put(self, item: _Item) -> None:
        """Write one source, in one transaction."""
        made_by = {"pooled": self.maker.pooled, "situated": self.maker.situated, "situator": label(self.spec.situate)}
        self._note(item.row.recipe)
        with self.library.transaction():
            if item.was:
                self.library.rename(item.was, item.row.name)
            self.library.replace(item.row, item.documents, **made_by, said=item.said)
        self.report.chunks += item.chunks
        if item.was:
            self.report.moved[item.row.name] = item.was
        else:
            (self.report.added if item.new else self.report.changed).append(item.row.name)

    def _note(self, recipe: str) -> None:
        """Let the library remember the settings behind a recipe that it will have."""
        if recipe not in self._noted:
            self.library.note_settings(recipe, recipes.settings(self.spec))
            self._noted.add(recipe)

    def _remove(self, names: Sequence[str]) -> None:
        if names:
            self.library.remove(names)
            self.report.removed += names

    def _remove_gone(self, folders: Sequence[Path], forget: bool) -> None:
        """Remove the sources under `folders` whose files are no longer there, unless there are suspiciously many."""
        known, asked, own = Known(self.library, self.places), set[str](), Own(self.spec.store.path)
        self._remove([name for name, real in known.real.items() if own.is_part(real)])
        for folder in folders:
            below = set(known.under(folder)) - asked
            vanished = sorted(name for name in below if lost(self.places.path(name)))
            asked |= below
            paths = [self.places.path(name) for name in vanished]
            if not forget and (why := suspicious(folder, len(below) - len(vanished), paths)):
                self.kept[folder] = why
            else:
                self._remove(vanished)
        asked |= set(self.report.removed)
        self.report.gone = [name for name in known.real if name not in asked and lost(self.places.path(name))]
