"""What a pipeline is made of: its settings, and the store that it keeps open while questions read in it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fovea.pipelines import recipes
from fovea.pipelines.lending import Lending
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import registry
from fovea.rag.corpus import VectorIndex
from fovea.rag.errors import LockedError, StoreError
from fovea.rag.filters import Filter
from fovea.rag.loader import Loader
from fovea.rag.trace import Trace
from fovea.rag.types import Query
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.library.library import Library

if TYPE_CHECKING:
    from fovea.pipelines.otel import Telemetry

WAIT = 30.0
"""Seconds that a writer waits for the questions being answered, where a store can be open once."""


class Opened:
    """The checked settings of a pipeline, and its store: many read in it, one writes."""

    def __init__(self, *, base: str | Path | None = None, spec: PipelineSpec | None = None,
                 source: yaml_source.Source | None = None, **stages: Any) -> None:  # fmt: skip
        self.base = Path(base if base is not None else ".").resolve()
        self.source = source or yaml_source.Source("Pipeline", stages, base=self.base)
        spec = spec or check(self.source)
        path = Path(os.path.normpath(self.base / spec.store.path))
        placed = {
            "store": spec.store.model_copy(update={"path": path}),
            "retrieve": [retriever.beside(path, self.base) for retriever in spec.retrieve],
            "generate": spec.generate.beside(path, self.base),
        }
        self.spec = spec.model_copy(update=placed)
        self._lock, self._writer = threading.RLock(), threading.RLock()
        self._whole: Opened = self
        self._scope: Filter | None = None
        self._open: Lending | None = None
        self._seen: tuple[str, recipes.Outdated | None] = "", None
        self._telemetry: Telemetry | None = None
        if spec.telemetry:
            self.traced_by(content=spec.telemetry == "otel_with_content")

    @cached_property
    def loaders(self) -> list[Loader]:
        """The loaders of the settings, then every other one with its defaults."""
        given = {loader.name for loader in self.spec.load}
        others = [cls() for name, cls in registry.components("loader").items() if name not in given]
        return [*self.spec.load, *others]  # type: ignore[list-item]

    @property
    def corpus(self) -> LibraryCorpus:
        """The store, open for reading: what retrievers see. It follows what other processes commit."""
        return self._lending().corpus

    @contextmanager
    def reading(self) -> Iterator[LibraryCorpus]:
        """The store, which stays open as long as the block runs."""
        corpus, give_back = self._lent()
        try:
            yield corpus
        finally:
            give_back()

    def _lent(self) -> tuple[LibraryCorpus, Callable[[], None]]:
        with self._lock:
            lending = self._lending()
            return lending.corpus, lending.lend()

    def _lending(self) -> Lending:
        if self._whole is not self:
            return self._whole._lending()
        with self._lock:
            if self._open is None:
                library = Library.open(self.spec.store.path, encoder=self.spec.encoder, read_only=True)
                try:
                    index = self.spec.store.open(library, read_only=True)
                except BaseException:
                    library.close()
                    raise
                self._open = Lending(self._corpus_over(library, index))
            return self._open

    def _corpus_over(self, library: Library, index: VectorIndex) -> LibraryCorpus:
        return LibraryCorpus(library, index, self.spec.encoder)

    @asynccontextmanager
    async def _areading(self) -> AsyncGenerator[LibraryCorpus]:
        """Like `reading`; a caller who goes while a writer has the store lets it go too."""
        lending = asyncio.ensure_future(asyncio.to_thread(self._lent))
        try:
            corpus, _ = await asyncio.shield(lending)
            yield corpus
        finally:
            if lending.done():
                _give_back(lending)
            else:
                lending.add_done_callback(_give_back)

    @contextmanager
    def _writing(self, *, rebuild: bool = False) -> Iterator[Library]:
        """The library, for one writer at a time. Others read on meanwhile, but where the library is made anew, and with
        stores that can be open once: these close, and the next question waits.
        """
        if self._scope is not None:
            raise StoreError("a pipeline within a scope only reads", fix="write to the whole pipeline")
        alone = rebuild or not self.spec.store.shared
        with self._writer, self._lock if alone else nullcontext():
            if alone:
                self._let_go_when_read()
            with Library.open(self.spec.store.path, encoder=self.spec.encoder, reset=rebuild) as library:
                yield library

    def _let_go_when_read(self) -> None:
        """Close the store once the questions that read in it are answered; new ones wait meanwhile."""
        if self._open is not None and not self._open.idle(WAIT):
            raise LockedError(
                f"questions are still being answered from this store after {WAIT:g} s, and it is closed to be written",
                where=str(self.spec.store.path),
                fix="try again when they are answered; an answer that is streamed is read to its end, or closed",
            )
        self.close()

    def _sync(self, library: Library) -> None:
        with closing(self.spec.store.open(library)) as index:
            index.sync()

    def close(self) -> None:
        """Let go of the store, or once the questions that read in it are answered; the next one opens it again."""
        if self._whole is not self:
            return self._whole.close()
        with self._lock:
            if self._open is not None:
                self._open.let_go()
                self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def traced_by(self, tracer_provider: Any = None, *, content: bool = False) -> Self:
        """Write every answer, retrieval and ingestion from now on as OpenTelemetry spans, to `tracer_provider` or the
        process's own (docs/telemetry.md); with `content`, questions and the messages of errors too. Returns the
        pipeline. Raises MissingExtra without the package.
        """
        from fovea.pipelines.otel import Telemetry

        self._telemetry = Telemetry(tracer_provider, content=content)
        return self

    def _observed(self, work: str, trace: Trace, question: str | Query = "") -> AbstractContextManager[None]:
        if self._telemetry is None:
            return nullcontext()
        return self._telemetry.observed(work, self.spec, trace, question)


def _give_back(lent: asyncio.Future[tuple[LibraryCorpus, Callable[[], None]]]) -> None:
    if not lent.cancelled() and lent.exception() is None:
        lent.result()[1]()


@contextmanager
def closing(index: VectorIndex) -> Iterator[VectorIndex]:
    """The index, which is closed at the end of the block."""
    try:
        yield index
    finally:
        index.close()
