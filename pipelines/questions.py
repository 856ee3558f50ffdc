"""Questions to a pipeline: passages, cited answers, and where a model looked; each with its asynchronous twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Self

from fovea.pipelines import recipes, search, situated
from fovea.pipelines.answering.rounds import Asked
from fovea.pipelines.conversation.rewriting import standing_alone
from fovea.pipelines.conversation.turns import History, turns
from fovea.pipelines.opened import Opened
from fovea.rag import filter_check
from fovea.rag.as_of import as_of as moment
from fovea.rag.errors import QueryError
from fovea.rag.feedback import AnswerFeedback
from fovea.rag.filters import All, Filter, compares, parse
from fovea.rag.generation import followed
from fovea.rag.look import Look
from fovea.rag.trace import Trace, warn
from fovea.rag.types import Answer, Hit, Query
from fovea.retrievers.corpus import LibraryCorpus

Moment = date | datetime | str | None
"""What `as_of` takes: see `fovea.rag.as_of`."""
LONGEST_QUESTION = 20_000
"""Characters. A longer text is a document, not a question."""


class Questions(Opened):
    """What is asked of a pipeline's store."""

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

    def looks(self, question: str | Query, answer: Answer, *, as_of: Moment = None,
              history: History | None = None) -> list[Look]:  # fmt: skip
        """Where a local model looked while it read `question` and wrote `answer`, a prefill of both; nothing where the
        generator cannot say. `history` is that of the question.
        """
        query, trace = self._query(question, None, as_of, history), Trace()
        with self.reading() as corpus:
            asked = standing_alone(query, self.spec.conversation, self.spec.generate, trace)
            return self.spec.generate.looks(asked, answer, corpus)

    def within(self, scope: Filter | None) -> Self:
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

    # Async twins: the work runs in a thread, so that the event loop stays free.

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
        """With every question in its trace; in the log once for each state of the store."""
        whole = self._whole
        if new := whole._seen[0] != corpus.version:
            whole._seen = corpus.version, recipes.outdated(corpus.library, self.spec, whole.loaders)
        if found := whole._seen[1]:
            with trace.stage("settings") as stage:
                say = warn if new else stage.warn
                say(f"sources were {found}", found.sources if self._scope is None else 1)

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
