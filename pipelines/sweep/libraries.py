"""Libraries: the stores that trials search, each built once.

A library is named by how its chunks and vectors are made and by the documents; an index over it by its store too. Both
are built by one process while others wait, and go on where a killed one stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.select import Selection
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.cache_file import key_of
from fovea.pipelines.sweep.encoder import StageCorpus, StageEncoder
from fovea.pipelines.sweep.stages import Stages
from fovea.rag.component import fingerprint
from fovea.rag.corpus import VectorIndex
from fovea.rag.errors import DocumentError
from fovea.rag.printable import counted
from fovea.rag.types import Document
from fovea.rag.version import __version__
from fovea.rag.write_whole import write_whole
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.library.library import Library
from fovea.retrievers.stores.embedded import EmbeddedStore

DONE = "done.json"
"""Written when a library is whole: what building it took."""
CHANGED = "the documents have changed since the study began: the same command measures them anew"


@dataclass(frozen=True)
class Documents:
    """What is searched: files under a folder, or documents that came with the questions."""

    base: Path
    paths: Sequence[str] = ()
    given: Sequence[Document] = ()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of their names and content."""
        if not self.paths:
            return fingerprint(
                [[d.id, sha256(d.text.encode("utf-8", "surrogatepass")).hexdigest()] for d in self.given]
            )
        files = Selection([self.base / path for path in self.paths], Pipeline(base=self.base).loaders).files()
        return fingerprint(sorted([self._name(path), sha256(path.read_bytes()).hexdigest()] for path in files))

    def _name(self, path: Path) -> str:
        """As ingestion names it: relative to the study's folder where it lies there, so that a study may be moved."""
        return path.relative_to(self.base).as_posix() if path.is_relative_to(self.base) else path.as_posix()


class TrialPipeline(Pipeline):
    """A pipeline whose corpus says which stage embeds the question."""

    stages: Stages

    def _corpus_over(self, library: Library, index: VectorIndex) -> LibraryCorpus:
        return StageCorpus(super()._corpus_over(library, index), self.stages)


class Libraries:
    """The libraries and indexes of one cache folder."""

    def __init__(self, folder: Path, documents: Documents, stages: Stages) -> None:
        self.folder, self.documents, self.stages = folder, documents, stages

    def key(self, spec: PipelineSpec) -> str:
        """The name of a pipeline's library: how it is made, and of what."""
        return fingerprint(["library", __version__, spec.recipe, self.documents.fingerprint])

    def corpus_key(self, spec: PipelineSpec) -> str:
        """The name of that library with the index over it."""
        store = {k: v for k, v in spec.store.settings().items() if k != "path"}
        return f"{self.key(spec)}-{fingerprint(store)}"

    def pipeline(self, spec: PipelineSpec) -> tuple[TrialPipeline, str, dict[str, float]]:
        """The pipeline over its store, built if need be; the name of its corpus; what building took, by stage.

        Raises DocumentError where a document cannot be read.
        """
        spec = spec.model_copy(update={"encoder": StageEncoder.over(spec.encoder, self.stages)})
        took = self._library(spec)
        name = self.corpus_key(spec)
        self._indexed(spec, self.folder / "stores" / name, took)
        return self._open(spec, self.folder / "stores" / name), name, took

    def _open(self, spec: PipelineSpec, path: Path) -> TrialPipeline:
        store = spec.store.model_copy(update={"path": path})
        pipeline = TrialPipeline(spec=spec.model_copy(update={"store": store}), base=self.documents.base)
        pipeline.stages = self.stages
        return pipeline

    def _library(self, spec: PipelineSpec) -> dict[str, float]:
        path = self.folder / "libraries" / self.key(spec)
        if took := _done(path):
            self.stages.file.found["ingest"] += 1
            return took
        with self.stages.file.only_one("ingest", key_of(path.name)):
            if took := _done(path):
                self.stages.file.found["ingest"] += 1
                return took
            self.stages.file.made["ingest"] += 1
            plain = spec.model_copy(update={"store": EmbeddedStore(path=path)})
            with Pipeline(spec=plain, base=self.documents.base) as pipeline:
                paths = [self.documents.base / path for path in self.documents.paths]
                report = pipeline.ingest(paths) if paths else pipeline.add(self.documents.given)
            if replace(self.documents).fingerprint != self.documents.fingerprint:
                raise DocumentError(CHANGED)
            if report.failed:
                name, why = next(iter(report.failed.items()))
                raise DocumentError(
                    f"{counted(len(report.failed), 'documents')} could not be read, the first: {why}", where=name
                )
            return _finish(path, {stage.name: stage.seconds for stage in report.trace.stages})

    def _indexed(self, spec: PipelineSpec, path: Path, took: dict[str, float]) -> None:
        """A copy of the library, with the index of the store over it."""
        if _done(path):
            self.stages.file.found["index"] += 1
            return
        with self.stages.file.only_one("index", key_of(path.name)):
            if _done(path):
                self.stages.file.found["index"] += 1
                return
            self.stages.file.made["index"] += 1
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            for file in (self.folder / "libraries" / self.key(spec)).glob("library.sqlite*"):
                shutil.copy2(file, path)
            with self._open(spec, path) as pipeline:
                pipeline.rebuild()
            _finish(path, took)


def _done(path: Path) -> dict[str, float] | None:
    try:
        found: Any = json.loads((path / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return dict(found) or None


def _finish(path: Path, took: dict[str, float]) -> dict[str, float]:
    """Say, all at once, that a folder is whole."""
    write_whole(path / DONE, lambda part: part.write_text(json.dumps(took), encoding="utf-8"))
    return took
