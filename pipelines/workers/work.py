"""Work: what a worker does. It reads files up to their chunks, and encodes texts; what it makes it sends back, and
writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines.loaders.select import loader_for
from fovea.pipelines.loading import loaded, reason
from fovea.pipelines.making import cut
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import engines
from fovea.rag.errors import FoveaError
from fovea.rag.loader import Loader
from fovea.rag.trace import Stage, Trace
from fovea.rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Read:
    """What was read of a file: its documents, each with its chunks, or None where the chunks are not cut yet."""

    documents: list[tuple[Document, list[Chunk] | None]] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    """What a chunk is found by beside its own words, by its id."""
    stages: list[Stage] = field(default_factory=list)
    """What it took here."""
    unread: str = ""
    """Why it could not be read."""


@dataclass
class Work:
    """`read` and `encode` by the settings of a pipeline.

    `cuts` says whether a file is cut into chunks where it is read. Where chunks are pooled or situated it is not:
    cutting shares its vectors with that, and they lie in the library.
    """

    spec: PipelineSpec
    loaders: list[Loader]
    cuts: bool

    def begin(self, cores: int) -> None:
        """Take so many processors, before anything heavy is loaded."""
        engines.limit_cores(cores)
        for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.environ.setdefault(name, str(cores))

    def read(self, path: Path, name: str) -> Read:
        """The documents of a file whose source is called `name`, or why there are none."""
        found, stages = Read(), Trace()
        try:
            for document in loaded(path, name, loader_for(path, self.loaders), stages):
                chunks = cut(document, self.spec, self.spec.encoder, found.said, stages) if self.cuts else None
                found.documents.append((document, chunks))
        except Exception as error:
            found = Read(unread=reason(error, path, name))
        found.stages = stages.stages
        return found

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, list[Stage]]:
        """Vectors `(texts, dim)`, and what was warned of."""
        stages = Trace()
        with stages.stage("encode"):
            vectors = self.spec.encoder.encode(texts)
        return vectors, stages.stages

    def answer(self, verb: str, args: tuple[Any, ...]) -> tuple[Any, FoveaError | RuntimeError | None]:
        """What comes of a task and what it raised, one of them None; errors of other libraries by their text."""
        try:
            return getattr(self, verb)(*args), None
        except FoveaError as error:
            return None, error
        except Exception as error:
            return None, RuntimeError(f"{type(error).__name__}: {error}")
