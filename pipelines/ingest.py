"""Ingestion: from paths to a library that is exactly what the files say.

For every file: hash it; skip it if nothing changed; else load, segment, encode what was never encoded, and commit the
file in one transaction. Files are taken in groups, so that small ones share encoder batches and memory does not grow
with the corpus. Encoded vectors are committed as they come and named by content: after `kill -9` at any moment the same
command ends in the same state as a clean run, and at most one slice of texts is encoded again.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines.loaders.select import Selection, loader_for
from fovea.pipelines.situated import label
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import progress, trace
from fovea.rag.component import fingerprint
from fovea.rag.errors import DocumentError, FoveaError
from fovea.rag.loader import Loader
from fovea.rag.remember import RememberingEncoder
from fovea.rag.situator import ALARM, alikeness
from fovea.rag.tables import headers, with_headers
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library.library import Library, SourceRow, chunk_keys, vector_key
from fovea.segmenters.chain import segment

if TYPE_CHECKING:
    import numpy as np

GROUP_CHUNKS = 1024
"""Chunks gathered over files before they are encoded and committed."""
SLICE_CHUNKS = 128
"""Texts encoded between two commits of vectors: what a kill can cost."""


@dataclass
class IngestReport:
    """What one run did. `encoded` counts texts the encoder saw, `reused` chunks whose vectors were there already."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    chunks: int = 0
    encoded: int = 0
    reused: int = 0
    trace: Trace = field(default_factory=Trace)

    @property
    def ok(self) -> bool:
        """Whether every file could be read."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "added": self.added, "changed": self.changed, "unchanged": self.unchanged, "removed": self.removed,
            "failed": self.failed, "skipped": dict(self.skipped), "chunks": self.chunks, "encoded": self.encoded,
            "reused": self.reused, "trace": self.trace.to_dict(),
        }  # fmt: skip


@dataclass
class _Item:
    """One file on its way in."""

    row: SourceRow
    new: bool
    documents: list[tuple[Document, list[Chunk]]]
    said: dict[str, str] = field(default_factory=dict)
    """What a chunk is found by beside its own words, by its id: the header above its rows, and its place."""

    @property
    def chunks(self) -> int:
        return sum(len(c) for _, c in self.documents)


class _LibraryMemory:
    """Vectors of sentences and situations in the library, beside those of chunks: a changed document costs its changed
    sentences, and another weight costs nothing.
    """

    def __init__(self, library: Library, fingerprint: str, report: IngestReport) -> None:
        self.library, self.fingerprint, self.report = library, fingerprint, report

    def get(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors there are, by text."""
        keyed = {vector_key(text, self.fingerprint): text for text in texts}
        found = {keyed[key]: vector for key, vector in self.library.vectors_named(list(keyed)).items()}
        self.report.reused += len(found)
        return found

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors, in one durable commit."""
        self.report.encoded += len(texts)
        self.library.add_vectors([vector_key(text, self.fingerprint) for text in texts], vectors)


class Ingest:
    """One run over one library."""

    def __init__(self, spec: PipelineSpec, loaders: Sequence[Loader], library: Library, base: Path) -> None:
        self.spec, self.loaders, self.library, self.base = spec, loaders, library, base
        self.report = IngestReport()
        self.encoder = spec.encoder
        self.situated = spec.situate.fingerprint if spec.situate and spec.situate.form != "none" else ""
        self.pooled = spec.pool.fingerprint if self.situated or not spec.pool.by_text else ""
        self.rises: list[float] = []
        """How much more alike situating has made the chunks of each document."""
        if self.pooled:  # Segmenter, pooler and situator share one reading, which lasts: a kill costs one slice.
            memory = _LibraryMemory(library, spec.encoder.fingerprint, self.report)
            self.encoder = RememberingEncoder.of(spec.encoder, memory, SLICE_CHUNKS)

    def run(self, paths: Iterable[str | Path]) -> IngestReport:
        """Ingest files, folders and globs; then remove what has gone from the folders among them."""
        selection = Selection([self._absolute(p) for p in paths], self.loaders)
        self._take(selection.files())
        self.report.skipped = selection.skipped
        with self.report.trace.stage("remove"):
            self._remove_gone(selection.folders)
        return self.report

    def add(self, documents: Iterable[Document]) -> IngestReport:
        """Bring documents that are no files in step, each a source by its id; none is removed."""
        group: list[_Item] = []
        for document in documents:
            document = replace(document, source=document.source or document.id)
            row = self._row(document)
            old = self.library.source(row.name)
            if old and old.status == "ok" and (old.digest, old.recipe) == (row.digest, row.recipe):
                self.report.unchanged += 1
                continue
            item = _Item(row, old is None, [])
            item.documents.append((document, self._cut(document, item.said)))
            group.append(item)
            if sum(i.chunks for i in group) >= GROUP_CHUNKS:
                self._commit(group)
                group = []
        self._commit(group)
        self._alarm()
        return self.report

    def retry(self) -> IngestReport:
        """Take the failed files again."""
        failed = [row.name for row in self.library.sources(status="failed")]
        self._take(self.base / name for name in failed if not _gone(self.base / name))
        self.library.remove(gone := [name for name in failed if _gone(self.base / name)])
        self.report.removed = gone
        return self.report

    def name(self, path: Path) -> str:
        """A file's name in the library: relative to the pipeline's folder if it lies there, else absolute."""
        return path.relative_to(self.base).as_posix() if path.is_relative_to(self.base) else path.as_posix()

    def _absolute(self, path: str | Path) -> Path:
        return Path(os.path.abspath(path))

    def _take(self, files: Iterator[Path]) -> None:
        group: list[_Item] = []
        with progress.bar("ingest files") as bar:
            for path in files:
                if (item := self._prepare(path)) is not None:
                    group.append(item)
                if sum(i.chunks for i in group) >= GROUP_CHUNKS:
                    self._commit(group)
                    group = []
                bar.advance(1, path.name)
            self._commit(group)
        self._alarm()

    def _prepare(self, path: Path) -> _Item | None:
        """Load and segment one file, or None if it is unchanged or cannot be read."""
        name = self.name(path)
        old = self.library.source(name)
        row = SourceRow(name)
        try:
            loader = loader_for(path, self.loaders)
            with self.report.trace.stage("hash"):
                row = self._stamp(path, name, loader)
            if old and old.status == "ok" and (old.digest, old.recipe) == (row.digest, row.recipe):
                self.report.unchanged += 1
                return None
            item = _Item(row, old is None, [])
            item.documents += self._documents(path, name, loader, item.said)
            if self._stamp(path, name, loader).digest != row.digest:
                raise DocumentError("the file changed while it was read", fix="run the same command again")
            return item
        except FoveaError as error:
            reason = str(error)
        except OSError as error:
            reason = f"cannot read it: {error.strerror or error}"
        except Exception as error:  # A parser may raise anything; the file gets the blame, the others go on.
            trace.log.debug("%s", name, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
        self.library.fail(row, reason)
        self.report.failed[name] = reason
        return None

    def _stamp(self, path: Path, name: str, loader: Loader) -> SourceRow:
        digest, stat = sha256(), path.stat()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        recipe = fingerprint([loader.fingerprint, self.spec.recipe])
        return SourceRow(name, digest=digest.hexdigest(), size=stat.st_size, mtime_ns=stat.st_mtime_ns, recipe=recipe)

    def _row(self, document: Document) -> SourceRow:
        plain = [document.text, document.title, document.media_type, dict(document.metadata), list(document.pages)]
        digest = sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        recipe = fingerprint(["document", self.spec.recipe])
        return SourceRow(document.id, digest=digest, size=len(document.text), recipe=recipe)

    def _documents(
        self, path: Path, name: str, loader: Loader, said: dict[str, str]
    ) -> Iterator[tuple[Document, list[Chunk]]]:
        """The documents of a file with their chunks; what is said of chunks is put into `said`."""
        stages = self.report.trace
        with stages.stage("load") as load:
            documents = loader.load(path)
        while True:
            with stages.stage("load"):
                document = next(documents, None)
            if document is None:
                return
            tail = document.id.removeprefix(path.as_posix())
            document = replace(document, id=name + tail, source=name)
            load.count(documents=1, characters=len(document.text))
            yield document, self._cut(document, said)

    def _cut(self, document: Document, said: dict[str, str]) -> list[Chunk]:
        """The chunks of a document, with their vectors where these need the whole of it."""
        stages = self.report.trace
        with stages.stage("segment") as cut:
            chunks = segment(document, self.spec.segment, self.encoder)
            cut.count(chunks=len(chunks))
        heard = headers(document, chunks)  # Whatever situates them: rows are found by the names of their columns.
        if self.spec.situate and self.spec.situate.lexical:
            with stages.stage("situate") as stage:
                places = self.spec.situate.texts(document, chunks)
                heard = [" ".join(filter(None, both)) for both in zip(places, heard, strict=True)]
                stage.count(chunks=len(chunks), said=sum(map(bool, places)))
        said.update((c.id, text) for c, text in zip(chunks, heard) if text)
        if self.pooled:
            self._pool(document, chunks)
        return chunks

    def _pool(self, document: Document, chunks: list[Chunk]) -> None:
        """Make the vectors of one document's chunks out of what was read of it, situate them, and keep them."""
        keys = chunk_keys(document, chunks, self.spec.encoder.fingerprint, self.pooled, self.situated)
        lacking = self.library.missing(keys)
        with self.report.trace.stage("pool") as stage:
            stage.count(chunks=len(chunks), reused=len(keys) - len(lacking))
            if not lacking:
                return
            found = self.spec.pool.vectors(document, chunks, self.encoder)
        if self.situated and self.spec.situate:
            with self.report.trace.stage("situate"):
                own, found = found, self.spec.situate.vectors(document, chunks, found, self.encoder)
                if len(chunks) > 1:
                    self.rises.append(alikeness(found) - alikeness(own))
        self.library.add_vectors(keys, found)

    def _alarm(self) -> None:
        """Warn where context dominates: chunks of a document that are nearly alike are found, or missed, together."""
        if self.rises and (rise := sum(self.rises) / len(self.rises)) > ALARM and self.spec.situate:
            with self.report.trace.stage("situate"):
                trace.warn(
                    f"{self.spec.situate.name} made chunks of one document more alike, by {rise:.2f} in the mean: "
                    "compare with a smaller weight, or form: residual",
                    len(self.rises),
                )

    def _commit(self, group: list[_Item]) -> None:
        if not self.pooled:
            self._encode([text for item in group for cut in item.documents for text in with_headers(*cut)])
        with self.report.trace.stage("store") as store:
            for item in group:
                made_by = {"pooled": self.pooled, "situated": self.situated, "situator": label(self.spec.situate)}
                self.library.replace(item.row, item.documents, **made_by, said=item.said)
                (self.report.added if item.new else self.report.changed).append(item.row.name)
                self.report.chunks += item.chunks
                store.count(sources=1, chunks=item.chunks)

    def _encode(self, texts: list[str]) -> None:
        encoder = self.spec.encoder
        keyed = {vector_key(text, encoder.fingerprint): text for text in texts}
        missing = [(key, keyed[key]) for key in self.library.missing(list(keyed))]
        missing.sort(key=lambda pair: (len(pair[1]), pair[0]))
        self.report.encoded += len(missing)
        self.report.reused += len(texts) - len(missing)
        with self.report.trace.stage("encode") as stage, progress.bar("encode chunks", len(missing)) as bar:
            stage.count(texts=len(missing), reused=len(texts) - len(missing))
            for at in range(0, len(missing), SLICE_CHUNKS):
                keys, slice_ = zip(*missing[at : at + SLICE_CHUNKS])
                self.library.add_vectors(keys, encoder.encode(slice_))
                bar.advance(len(slice_))

    def _remove_gone(self, folders: Sequence[Path]) -> None:
        """Remove sources under `folders` whose files are no longer there; what was added without a file stays."""
        prefixes = tuple("" if f == self.base else self.name(f) + "/" for f in folders)
        gone = [
            row.name for row in self.library.sources()
            if row.mtime_ns and row.name.startswith(prefixes) and _gone(self.base / row.name)
        ]  # fmt: skip
        self.library.remove(gone)
        self.report.removed = gone


def _gone(path: Path) -> bool:
    """Whether there is certainly no such file; one that may not be looked at is not gone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
