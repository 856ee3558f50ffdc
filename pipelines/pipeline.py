"""Pipeline: the whole way from documents to a cited answer.

pipeline = Pipeline.from_yaml("qa.yaml")
pipeline.ingest(["docs/"])
answer = pipeline.ask("Who may change the constitution?")
print(answer.text, *(c.where for c in answer.citations))
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines import reading, recipes, search, situated
from fovea.pipelines.answering.held import names_in
from fovea.pipelines.answering.rounds import Asked
from fovea.pipelines.compacted import Compacted, bytes_in
from fovea.pipelines.conversation.rewriting import standing_alone
from fovea.pipelines.conversation.turns import History, turns
from fovea.pipelines.ingest import Ingest, IngestReport
from fovea.pipelines.lending import Lending
from fovea.pipelines.reading import Shelved, TextRead
from fovea.pipelines.sources.known import Known
from fovea.pipelines.sources.matching import chosen
from fovea.pipelines.sources.places import Places
from fovea.pipelines.sources.survey import Survey, survey
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.lacks import refuse_before_reading
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import filter_check, registry
from fovea.rag.as_of import as_of as moment
from fovea.rag.corpus import VectorIndex
from fovea.rag.errors import DocumentError, LockedError, QueryError, StoreError
from fovea.rag.feedback import AnswerFeedback
from fovea.rag.filters import All, Filter, compares, parse
from fovea.rag.generation import followed
from fovea.rag.loader import Loader
from fovea.rag.look import Look
from fovea.rag.trace import Trace, warn
from fovea.rag.types import Answer, Document, Hit, Query
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.library.library import Library, SourceRow

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable

    from fovea.pipelines.otel import Telemetry

Moment = date | datetime | str | None
"""What `as_of` takes: see `fovea.rag.as_of`."""
WAIT = 30.0
"""Seconds that a writer waits for the questions being answered, where a store can be open once."""
LONGEST_QUESTION = 20_000
"""Characters. A longer text is a document, not a question."""


class Pipeline:
    """A chain of stages over one store. Stages are given as components, as `{use: ...}` mappings, or as LangChain
    objects; what is left out takes its default. `base` is the folder that relative paths start from.
    """

    def __init__(self, *, base: str | Path | None = None, spec: PipelineSpec | None = None,
                 source: yaml_source.Source | None = None, **stages: Any) -> None:  # fmt: skip
        self.base = Path(base if base is not None else ".").resolve()
        self.source = source or yaml_source.Source("Pipeline", stages)
        spec = spec or check(self.source)
        path = Path(os.path.normpath(self.base / spec.store.path))
        placed = {
            "store": spec.store.model_copy(update={"path": path}),
            "retrieve": [retriever.beside(path, self.base) for retriever in spec.retrieve],
            "generate": spec.generate.beside(path, self.base),
        }
        self.spec = spec.model_copy(update=placed)
        self._lock, self._writer = threading.RLock(), threading.RLock()
        self._whole: Pipeline = self
        self._scope: Filter | None = None
        self._open: Lending | None = None
        self._seen: tuple[str, recipes.Outdated | None] = "", None
        self._telemetry: Telemetry | None = None
        if spec.telemetry:
            self.traced_by(content=spec.telemetry == "otel_with_content")

    @classmethod
    def from_yaml(cls, path: str | Path) -> Pipeline:
        """Read, check and assemble a pipeline; nothing heavy is loaded yet. Raises ConfigErrors with places."""
        return cls(source=yaml_source.read(Path(path), lenient=True), base=Path(path).resolve().parent)

    @cached_property
    def loaders(self) -> list[Loader]:
        """The loaders of the settings, then every other one with its defaults."""
        given = {loader.name for loader in self.spec.load}
        others = [cls() for name, cls in registry.components("loader").items() if name not in given]
        return [*self.spec.load, *others]  # type: ignore[list-item]

    # Documents in

    def ingest(
        self, paths: Iterable[str | Path] | str | Path, *, rebuild: bool = False, forget: bool = False
    ) -> IngestReport:
        """Bring the store in step with files, folders and globs. Unchanged files cost a hash, changed ones are
        replaced, moved ones renamed, ones gone from a folder are removed; a file that cannot be read is reported and
        the rest go on. Raises at once what would fail with every file: a package that is missing, weights that do not
        fit the encoder.

        `rebuild` throws the store away first: for another encoder. `forget` also removes the sources of folders that
        are gone or stand empty, or have lost most of their files: without it these stay, and DocumentError is raised
        when the rest is done. Raises LockedError while another process writes.
        """
        paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
        if "" in paths:
            raise DocumentError("a path is empty", where="ingest", fix="name a file or a folder, such as .")
        return self._write(lambda run: run.run(paths, forget=forget), rebuild=rebuild)

    def add(self, documents: Iterable[Document] | Document) -> IngestReport:
        """Bring documents that are no files into the store, each a source by its id. Unchanged ones cost a hash.

        Metadata are texts, numbers, truth values and dates (kept as ISO texts). A document with anything else, without
        text, or with an id that was given before in this call, is in the report's `failed` with the reason, and the
        others are stored. An error of the iterable itself is raised once what it gave before is stored.
        """
        return self._write(lambda run: run.add(documents))

    def retry(self) -> IngestReport:
        """Take the files again that could not be read."""
        return self._write(lambda run: run.retry())

    def remove(self, names: Iterable[str] | str, *, dry_run: bool = False) -> list[str]:
        """Take sources out of the store: by name, by folder or by glob; returns their names. Raises QueryError for
        what names none, and then nothing is removed. `dry_run` only says what would be.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        if dry_run:
            with Library.open(self.spec.store.path, read_only=True) as library:
                return self._chosen(wanted, library)
        with self._writing() as library:
            library.remove(found := self._chosen(wanted, library))
            self._sync(library)
        return found

    def _chosen(self, wanted: Iterable[str], library: Library) -> list[str]:
        names, known = [row.name for row in library.sources()], Known(library, Places(self.base))
        return list(dict.fromkeys(name for one in wanted for name in chosen(one, names, known)))

    def _write(self, work: Callable[[Ingest], IngestReport], *, rebuild: bool = False) -> IngestReport:
        refuse_before_reading(self.source, self.spec)
        with self._writing(rebuild=rebuild) as library:
            run = Ingest(self.spec, self.loaders, library, self.base)
            with self._observed("ingest", run.report.trace):
                report = work(run)
                with report.trace.stage("index"):
                    self._sync(library)
        run.refuse()
        return report

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
        with _closing(self.spec.store.open(library)) as index:
            index.sync()

    # Texts read once

    def read(
        self, names: Iterable[str] | str = (), *, each: Callable[[TextRead], None] | None = None
    ) -> list[TextRead]:
        """Let the generator's model read the texts that it will be asked about, all or those of the sources named by
        name, folder or glob, and keep what it made of them; `each` is told of one after the other. What is there is not
        read again, so that a call that was killed goes on. O(tokens^2) a text.

        Raises ConfigError for a generator without `read` and where `memory.limit` does not hold them, QueryError for a
        name of nothing and for what does not fit the model's window.
        """
        corpus, done = self.corpus, list[TextRead]()
        corpus.library.refuse_empty()
        wanted = [names] if isinstance(names, str) else list(names)
        sources = dict(corpus.document_sources())
        chosen = set(self._chosen(wanted, corpus.library)) if wanted else None
        named = [name for name in names_in(None, corpus) if chosen is None or chosen & {name, sources[name]}]
        for text in reading.read_texts(self.spec, named, corpus):
            done.append(text)
            if each:
                each(text)
        return done

    def shelved(self) -> Shelved:
        """The texts that were read once and lie beside the store."""
        with Library.open(self.spec.store.path, read_only=True) as library:
            return reading.shelved(self.spec.generate, self.spec.store.path, library)

    # Questions

    def retrieve(self, question: str | Query, k: int | None = None, *, where: str | Filter | None = None,
                 as_of: Moment = None, history: History | None = None,
                 trace: Trace | None = None) -> list[Hit]:  # fmt: skip
        """The `k` passages that answer best, best first. `where` keeps chunks whose fields match (docs/filters.md);
        `as_of` is the moment of asking: a date, a datetime or an ISO text. `history` is what was said before, oldest
        first (docs/conversation.md): a question that goes on from it is looked for as one that stands alone.
        """
        trace = Trace() if trace is None else trace
        with self._observed("retrieval", trace, question):
            query = self._query(question, where, as_of, history)
            with self.reading() as corpus:
                return self._asked(query, k, corpus, trace).passages()

    def ask(self, question: str | Query, k: int | None = None, *, where: str | Filter | None = None,
            as_of: Moment = None, history: History | None = None) -> Answer:  # fmt: skip
        """An answer, each sentence with the spans it rests on, and the trace of every stage."""
        *_, answer = self.stream(question, k, where=where, as_of=as_of, history=history)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: str | Query, k: int | None = None, *, where: str | Filter | None = None,
               as_of: Moment = None, history: History | None = None) -> Iterator[str | Answer]:  # fmt: skip
        """The answer's text piece by piece, as the model makes it; the last item is the Answer itself. Where answers
        are graded (`feedback`), the pieces come once the best is known.
        """
        with self._observed("answer", trace := Trace(), question):
            query = self._query(question, where, as_of, history)
            with self.reading() as corpus:
                asked = self._asked(query, k, corpus, trace)
                if isinstance(self.spec.feedback, AnswerFeedback):
                    yield from asked.drafted()
                else:
                    yield from search.answer(self.spec.generate, asked.query, asked.passages(), corpus, trace)

    def looks(self, question: str | Query, answer: Answer, *, as_of: Moment = None) -> list[Look]:
        """Where a local model looked while it read `question` and wrote `answer`, a prefill of both; nothing where the
        generator cannot say.
        """
        with self.reading() as corpus:
            return self.spec.generate.looks(self._query(question, None, as_of), answer, corpus)

    def within(self, scope: Filter | None) -> Pipeline:
        """The same pipeline over the same open store, whose questions see the documents that match `scope` alone,
        whatever their `where` says. A scope is of documents: one that names the field `page` raises QueryError.
        """
        if scope is None:
            return self
        if "page" in {part.field for part in compares(scope)}:
            raise QueryError("a scope is of whole documents, and 'page' is a field of their passages", where="scope")
        view = copy(self)
        view._whole = self._whole
        view._scope = scope if self._scope is None else All((self._scope, scope))
        return view

    def _asked(self, query: Query, k: int | None, corpus: LibraryCorpus, trace: Trace) -> Asked:
        corpus.library.refuse_empty()
        if query.where is not None:
            filter_check.check(query.where, corpus.fields if self._scope is None else corpus.fields_in(self._scope))
        if self._scope is not None:
            query = replace(query, where=All((self._scope, query.where)) if query.where else self._scope)
        situated.check(self.spec, corpus, trace)
        self._warn_outdated(corpus, trace)
        query = standing_alone(query, self.spec.conversation, self.spec.generate, trace)
        return Asked(self.spec, query, k or self.spec.kept, corpus, trace)

    def _warn_outdated(self, corpus: LibraryCorpus, trace: Trace) -> None:
        whole = self._whole
        if whole._seen[0] != corpus.version:
            whole._seen = corpus.version, recipes.outdated(corpus.library, self.spec, whole.loaders)
        if found := whole._seen[1]:
            with trace.stage("settings"):
                warn(f"sources were {found}", found.sources if self._scope is None else 1)

    def _query(
        self, question: str | Query, where: str | Filter | None, as_of: Moment, history: History | None = None
    ) -> Query:
        query = question if isinstance(question, Query) else Query(question)
        query = replace(query, history=said) if (said := turns(history)) else query
        query = query if as_of is None else replace(query, as_of=moment(as_of))
        if not query.text.strip():
            raise QueryError("the question is empty")
        if len(query.text) > LONGEST_QUESTION:
            raise QueryError(
                f"the question has {len(query.text):,} characters; the most is {LONGEST_QUESTION:,}",
                fix="ingest long texts as documents, and ask about them",
            )
        return replace(query, where=parse(where) if isinstance(where, str) else where) if where else query

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

    # Async twins: the work runs in a thread, so that the event loop stays free.

    async def aingest(self, paths: Iterable[str | Path] | str | Path, *, rebuild: bool = False) -> IngestReport:
        """Like `ingest`, without blocking the event loop."""
        return await asyncio.to_thread(self.ingest, paths, rebuild=rebuild)

    async def aretrieve(self, question: str | Query, k: int | None = None, **options: Any) -> list[Hit]:
        """Like `retrieve`, without blocking the event loop."""
        return await asyncio.to_thread(self.retrieve, question, k, **options)

    async def aask(self, question: str | Query, k: int | None = None, *, where: str | Filter | None = None,
                   as_of: Moment = None, history: History | None = None) -> Answer:  # fmt: skip
        """Like `ask`, without blocking the event loop."""
        *_, answer = [piece async for piece in self.astream(question, k, where=where, as_of=as_of, history=history)]
        assert isinstance(answer, Answer)
        return answer

    async def astream(self, question: str | Query, k: int | None = None, *, where: str | Filter | None = None,
                      as_of: Moment = None, history: History | None = None
                      ) -> AsyncGenerator[str | Answer]:  # fmt: skip
        """Like `stream`, without blocking the event loop; the model's own asynchronous client is used if it has one,
        save where answers are graded: those rounds run in a worker thread.
        """
        with self._observed("answer", trace := Trace(), question):
            query = self._query(question, where, as_of, history)
            async with self._areading() as corpus:
                asked = await asyncio.to_thread(self._asked, query, k, corpus, trace)
                if isinstance(self.spec.feedback, AnswerFeedback):
                    answering = followed(asked.drafted())
                else:
                    hits = await asyncio.to_thread(asked.passages)
                    answering = search.aanswer(self.spec.generate, asked.query, hits, corpus, trace)
                async with aclosing(answering):
                    async for piece in answering:
                        yield piece

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

    # Telemetry

    def traced_by(self, tracer_provider: Any = None, *, content: bool = False) -> Pipeline:
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

    # The store

    def status(self) -> list[SourceRow]:
        """Every source with its state, counts and, where it failed, the reason."""
        with Library.open(self.spec.store.path, read_only=True) as library:
            return list(library.sources())

    def survey(self) -> Survey:
        """Every source, and which files are gone, have changed, or were taken in with other settings."""
        with Library.open(self.spec.store.path, read_only=True) as library:
            return survey(library, Places(self.base), recipes.outdated(library, self.spec, self.loaders))

    def verify(self) -> list[str]:
        """Check the library and the index over it; returns what is wrong, in sentences."""
        with Library.open(self.spec.store.path, encoder=None, read_only=True) as library:
            problems = library.check()
            with _closing(self.spec.store.open(library, read_only=True)) as index:
                return problems + index.check()

    def rebuild(self) -> None:
        """Make the index anew from the library. Nothing is encoded."""
        with self._writing() as library, _closing(self.spec.store.open(library)) as index:
            index.rebuild()

    def compact(self) -> Compacted:
        """Drop the vectors that no chunk has any more, and the caches of texts that have changed or gone, and give the
        space back to the disk. Others read meanwhile;
        killed at any moment, the same call goes on. Raises StoreError where nothing was ingested yet.
        """
        Library.open(self.spec.store.path, read_only=True).close()
        before = bytes_in(self.spec.store.path)
        with self._writing() as library:
            vectors = library.prune()
            self._sync(library)
            texts = reading.drop_stale(self.spec.generate, self.spec.store.path, library)
        return Compacted(vectors, before, bytes_in(self.spec.store.path), texts)

    def as_langchain(self, k: int | None = None) -> BaseRetriever:
        """This pipeline as a LangChain retriever (and so a Runnable)."""
        from fovea.pipelines.langchain import as_langchain

        return as_langchain(self, k=k or self.spec.kept)

    def as_runnable(self) -> Runnable[Any, dict[str, Any]]:
        """This pipeline as a LangChain Runnable from a question to `Answer.to_dict()`, streamed if the model does."""
        from fovea.pipelines.langchain import as_runnable

        return as_runnable(self)

    def close(self) -> None:
        """Let go of the store, or once the questions that read in it are answered; the next one opens it again."""
        if self._whole is not self:
            return self._whole.close()
        with self._lock:
            if self._open is not None:
                self._open.let_go()
                self._open = None

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _give_back(lent: asyncio.Future[tuple[LibraryCorpus, Callable[[], None]]]) -> None:
    if not lent.cancelled() and lent.exception() is None:
        lent.result()[1]()


@contextmanager
def _closing(index: VectorIndex) -> Iterator[VectorIndex]:
    try:
        yield index
    finally:
        index.close()
