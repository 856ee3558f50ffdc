"""Pipeline: the whole way from documents to a cited answer.

pipeline = Pipeline.from_yaml("qa.yaml")
pipeline.ingest(["docs/"])
answer = pipeline.ask("Who may change the constitution?")
print(answer.text, *(c.where for c in answer.citations))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from fovea.pipelines import reading, recipes
from fovea.pipelines.answering.held import names_in
from fovea.pipelines.compacted import Compacted, bytes_in
from fovea.pipelines.ingest import Ingest, IngestReport
from fovea.pipelines.opened import closing
from fovea.pipelines.questions import Questions
from fovea.pipelines.reading import Shelved, TextRead
from fovea.pipelines.sources.known import Known
from fovea.pipelines.sources.matching import chosen
from fovea.pipelines.sources.places import Places
from fovea.pipelines.sources.survey import Survey, survey
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.lacks import refuse_before_reading
from fovea.pipelines.watching.round import Round
from fovea.pipelines.watching.watch import Watched, watch
from fovea.pipelines.workers.begin import working
from fovea.rag.errors import DocumentError
from fovea.rag.types import Document
from fovea.retrievers.library.library import Library, SourceRow

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable

Run = TypeVar("Run", bound=Ingest)


class Pipeline(Questions):
    """A chain of stages over one store. Stages are given as components, as `{use: ...}` mappings, or as LangChain
    objects; what is left out takes its default. `base` is the folder that relative paths start from.

    Questions are in `Questions`, the open store in `Opened`; here is what goes in, and how the store is kept.
    """

    @classmethod
    def from_yaml(cls, path: str | Path) -> Pipeline:
        """Read, check and assemble a pipeline; nothing heavy is loaded yet. Raises ConfigErrors with places."""
        return cls(source=yaml_source.read(Path(path), lenient=True), base=Path(path).resolve().parent)

    # Documents in

    def ingest(
        self,
        paths: Iterable[str | Path] | str | Path,
        *,
        rebuild: bool = False,
        forget: bool = False,
        workers: int | str = 1,
    ) -> IngestReport:
        """Bring the store in step with files, folders and globs. Unchanged files cost a hash, changed ones are
        replaced, moved ones renamed, ones gone from a folder are removed; a file that cannot be read is reported and
        the rest go on. Raises at once what would fail with every file: a package that is missing, weights that do not
        fit the encoder.

        `rebuild` throws the store away first: for another encoder. `forget` also removes the sources of folders that
        are gone or stand empty, or have lost most of their files: without it these stay, and DocumentError is raised
        when the rest is done. Raises LockedError while another process writes.

        `workers` processes read and encode side by side, and this one writes: the store is the one that a single
        process makes, bit for bit where an encoder's vectors do not hang on its threads. Each loads the model; one that
        dies is begun again, and a file that it died of twice is a failure. They are started as `multiprocessing` does:
        a script that asks for them keeps what it does under `if __name__ == "__main__":`. `ray`, or `ray:N`, has them
        on the machines of a Ray cluster, which must see the files under the same paths. Raises ConfigError for a
        pipeline with an object in it that cannot be sent to another process.
        """
        paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
        if "" in paths:
            raise DocumentError("a path is empty", where="ingest", fix="name a file or a folder, such as .")
        with working(workers, self.spec, self.loaders) as at_work:
            run = self._ran(
                partial(Ingest, workers=at_work), lambda run: run.run(paths, forget=forget), rebuild=rebuild
            )
        run.refuse()
        return run.report

    async def aingest(self, paths: Iterable[str | Path] | str | Path, *, rebuild: bool = False) -> IngestReport:
        """Like `ingest`, without blocking the event loop."""
        return await asyncio.to_thread(self.ingest, paths, rebuild=rebuild)

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

    def watch(
        self,
        folders: Iterable[str | Path] | str | Path,
        *,
        settle: float = 1.0,
        poll: float | None = None,
        forget: bool = False,
        stop: Event | None = None,
    ) -> Iterator[Watched]:
        """Keep the store in step with folders until `stop` is set, and say what each round did. The first is an
        `ingest`; from then on a round reads what has changed and rested for `settle` seconds, and removes what was
        deleted. Each looks at the time and size of every file: O(files) a round.

        What cannot be done now (a file that cannot be read, a folder that is away, another process that writes, an
        error that ends a round, unless it is the first) is in what a round says, and tried again: a file when it
        changes, the others until they can be, each half a second to half a minute. `poll` looks for changes each so
        many seconds, for disks that do not tell of them. `forget` is `ingest`'s.

        Raises MissingExtra without the extra `watch`, DocumentError for what is no folder and where the system cannot
        watch so many, and what `ingest` raises of the pipeline and its store.
        """
        folders = [folders] if isinstance(folders, (str, Path)) else list(folders)
        return watch(
            partial(self._ran, Round), self.spec.store.path, folders,
            settle=settle, poll=poll, forget=forget, stop=stop or Event(),
        )  # fmt: skip

    def _write(self, work: Callable[[Ingest], IngestReport]) -> IngestReport:
        run = self._ran(Ingest, work)
        run.refuse()
        return run.report

    def _ran(self, kind: Callable[..., Run], work: Callable[[Run], IngestReport], *, rebuild: bool = False) -> Run:
        refuse_before_reading(self.source, self.spec)
        with self._writing(rebuild=rebuild) as library:
            run = kind(self.spec, self.loaders, library, self.base)
            with self._observed("ingest", run.report.trace):
                work(run)
                with run.report.trace.stage("index"):
                    self._sync(library)
        return run

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
            with closing(self.spec.store.open(library, read_only=True)) as index:
                return problems + index.check()

    def rebuild(self) -> None:
        """Make the index anew from the library. Nothing is encoded."""
        with self._writing() as library, closing(self.spec.store.open(library)) as index:
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

    # As LangChain's

    def as_langchain(self, k: int | None = None) -> BaseRetriever:
        """This pipeline as a LangChain retriever (and so a Runnable)."""
        from fovea.pipelines.langchain import as_langchain

        return as_langchain(self, k=k or self.spec.kept)

    def as_runnable(self) -> Runnable[Any, dict[str, Any]]:
        """This pipeline as a LangChain Runnable from a question to `Answer.to_dict()`, streamed if the model does."""
        from fovea.pipelines.langchain import as_runnable

        return as_runnable(self)
