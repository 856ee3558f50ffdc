"""Making chunks and their vectors out of documents, and keeping the vectors in the library as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.pipelines.ingest_report import IngestReport
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import progress, trace
from fovea.rag.remember import RememberingEncoder
from fovea.rag.situator import ALARM, alikeness
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library.library import Library, chunk_keys, vector_key
from fovea.segmenters.chain import segment

if TYPE_CHECKING:
    import numpy as np


class Maker:
    """Segments, situates, pools and encodes for one run. `slice_chunks` texts are encoded between two commits."""

    def __init__(self, spec: PipelineSpec, library: Library, report: IngestReport, slice_chunks: int) -> None:
        self.spec, self.library, self.report, self.slice = spec, library, report, slice_chunks
        self.encoder = spec.encoder
        self.situated = spec.situate.fingerprint if spec.situate and spec.situate.form != "none" else ""
        self.pooled = spec.pool.fingerprint if self.situated or not spec.pool.by_text else ""
        self.rises: list[float] = []
        """How much more alike situating has made the chunks of each document."""
        if self.pooled:  # Segmenter, pooler and situator share one reading, which lasts: a kill costs one slice.
            memory = _LibraryMemory(library, spec.encoder.fingerprint, report)
            self.encoder = RememberingEncoder.of(spec.encoder, memory, slice_chunks)

    def cut(self, document: Document, said: dict[str, str]) -> list[Chunk]:
        """The chunks of a document, with their vectors where these need the whole of it; what is said of the places of
        chunks is put into `said`.
        """
        stages = self.report.trace
        with stages.stage("segment") as cut:
            chunks = segment(document, self.spec.segment, self.encoder)
            cut.count(chunks=len(chunks))
        if self.spec.situate and self.spec.situate.lexical:
            with stages.stage("situate") as stage:
                heard = self.spec.situate.texts(document, chunks)
                said.update((c.id, text) for c, text in zip(chunks, heard, strict=True) if text)
                stage.count(chunks=len(chunks), said=sum(map(bool, heard)))
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

    def alarm(self) -> None:
        """Warn where context dominates: chunks of a document that are nearly alike are found, or missed, together."""
        if self.rises and (rise := sum(self.rises) / len(self.rises)) > ALARM and self.spec.situate:
            with self.report.trace.stage("situate"):
                trace.warn(
                    f"{self.spec.situate.name} made chunks of one document more alike, by {rise:.2f} in the mean: "
                    "compare with a smaller weight, or form: residual",
                    len(self.rises),
                )

    def encode(self, texts: list[str]) -> None:
        """Encode what has no vector yet, unless the vectors of chunks were pooled."""
        if self.pooled:
            return
        encoder = self.spec.encoder
        keyed = {vector_key(text, encoder.fingerprint): text for text in texts}
        missing = [(key, keyed[key]) for key in self.library.missing(list(keyed))]
        missing.sort(key=lambda pair: (len(pair[1]), pair[0]))
        self.report.encoded += len(missing)
        self.report.reused += len(texts) - len(missing)
        with self.report.trace.stage("encode") as stage, progress.bar("encode chunks", len(missing)) as bar:
            stage.count(texts=len(missing), reused=len(texts) - len(missing))
            for at in range(0, len(missing), self.slice):
                keys, slice_ = zip(*missing[at : at + self.slice])
                self.library.add_vectors(keys, encoder.encode(slice_))
                bar.advance(len(slice_))


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
