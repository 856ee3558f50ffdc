"""Making chunks and their vectors out of documents, and keeping the vectors in the library as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.pipelines.ingest_report import IngestReport
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import progress, trace
from fovea.rag.encoder import Encoder
from fovea.rag.remember import RememberingEncoder
from fovea.rag.situator import ALARM, alikeness
from fovea.rag.tables import headers
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library.library import Library, chunk_keys, vector_key
from fovea.segmenters.chain import segment

if TYPE_CHECKING:
    import numpy as np


class Maker:
    """Segments, situates, pools and encodes for one run. `slice_chunks` texts are encoded between two commits;
    `encoder` gives the vectors of the pipeline's own.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        library: Library,
        report: IngestReport,
        slice_chunks: int,
        encoder: Encoder | None = None,
    ) -> None:
        self.spec, self.library, self.report, self.slice = spec, library, report, slice_chunks
        self.encoder = encoder or spec.encoder
        self.situated = spec.situate.fingerprint if spec.situate and spec.situate.form != "none" else ""
        self.pooled = spec.pool.fingerprint if self.situated or not spec.pool.by_text else ""
        self.rises: list[float] = []
        """How much more alike situating has made the chunks of each document."""
        if self.pooled:  # Segmenter, pooler and situator share one reading, which lasts: a kill costs one slice.
            memory = _LibraryMemory(library, spec.encoder.fingerprint, report)
            self.encoder = RememberingEncoder.of(self.encoder, memory, slice_chunks)

    def cut(self, document: Document, said: dict[str, str]) -> list[Chunk]:
        """The chunks of a document, with their vectors where these need the whole of it; what a chunk is found by
        beside its own words is put into `said`.
        """
        chunks = cut(document, self.spec, self.encoder, said, self.report.trace)
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
        keyed = {vector_key(text, self.encoder.fingerprint): text for text in texts}
        missing = [(key, keyed[key]) for key in self.library.missing(list(keyed))]
        missing.sort(key=lambda pair: (len(pair[1]), pair[0]))
        self.report.encoded += len(missing)
        self.report.reused += len(texts) - len(missing)
        parts = [missing[at : at + self.slice] for at in range(0, len(missing), self.slice)]
        with self.report.trace.stage("encode") as stage, progress.bar("encode chunks", len(missing)) as bar:
            stage.count(texts=len(missing), reused=len(texts) - len(missing))
            found = self.encoder.encode_each([text for _, text in part] for part in parts)
            for part, vectors in zip(parts, found):
                self.library.add_vectors([key for key, _ in part], vectors)
                bar.advance(len(part))


def cut(
    document: Document, spec: PipelineSpec, encoder: Encoder, said: dict[str, str], stages: trace.Trace
) -> list[Chunk]:
    """The chunks of a document; what a chunk is found by beside its own words (the header above its rows, and its
    place) is put into `said`.
    """
    with stages.stage("segment") as segmenting:
        chunks = segment(document, spec.segment, encoder)
        segmenting.count(chunks=len(chunks))
    heard = headers(document, chunks)  # Whatever situates them: rows are found by the names of their columns.
    if spec.situate and spec.situate.lexical:
        with stages.stage("situate") as stage:
            places = spec.situate.texts(document, chunks)
            heard = [" ".join(filter(None, both)) for both in zip(places, heard, strict=True)]
            stage.count(chunks=len(chunks), said=sum(map(bool, places)))
    said.update((c.id, text) for c, text in zip(chunks, heard) if text)
    return chunks


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
