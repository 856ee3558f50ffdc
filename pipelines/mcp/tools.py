"""The tools: search, ask, read_span, list_documents and status, all under one scope; ingest and remove where allowed.

Arguments that may be left out are texts with "" as default, not `str | None`: the SDK reads a text given for the latter
as JSON first, by which "null" and "[1]" would no longer be texts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import has_magic, iglob
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from fovea.pipelines.documents_under import documents_under, span_under
from fovea.pipelines.mcp import replies
from fovea.pipelines.mcp.replies import Documents, Failed, Ingested, Passages, Removed, Reply, Status, Text, sendable
from fovea.pipelines.mcp.scope import Scope
from fovea.pipelines.mcp.uris import uri_of
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import QueryError
from fovea.rag.types import Answer
from fovea.retrievers.library.listing import DocumentRow


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one call may ask for, so that a reply fits a model's window."""

    passages: int = 50
    characters: int = 20_000
    question: int = 4_000
    documents: int = 200
    resource: int = 200_000


Question = Annotated[str, Field(description="a question or what is looked for, in plain words")]
K = Annotated[int, Field(description="how many passages; 0 for the pipeline's own number")]
Where = Annotated[
    str,
    Field(
        description="keep only passages whose fields match, e.g. year >= 2020 and suffix == '.pdf' or "
        "starts_with(path, 'handbook/'); empty for all"
    ),
]
AsOf = Annotated[str, Field(description="moment of asking, for questions about time: 2024-05-01; empty for now")]


@dataclass
class Tools:
    """A pipeline's tools; their docstrings are what a model is told, with the description of the pipeline before."""

    scope: Scope
    limits: Limits = Limits()
    writable: bool = False
    _asking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1), repr=False)
    """A model on this machine writes one answer at a time."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, within the scope."""
        return self.scope.pipeline

    async def search(
        self, question: Question, k: K = 0, where: Where = "", as_of: AsOf = ""
    ) -> Annotated[CallToolResult, Passages]:
        """Find the passages that answer a question best. Each has its document and the characters `[start, end)` it
        stands at. Use `ask` for an answer with citations, `read_span` for the text around a passage.
        """
        self._check(question, k)
        hits = await self.pipeline.aretrieve(question, k or None, where=where or None, as_of=as_of or None)
        found = Passages(passages=[replies.passage(hit, self.limits.characters) for hit in hits])
        return _result(found, replies.passages_text(found))

    async def ask(
        self, question: Question, ctx: Context, k: K = 0, where: Where = "", as_of: AsOf = ""
    ) -> Annotated[CallToolResult, Reply]:
        """Answer a question from the documents. Each sentence of the answer names the quotes it rests on, with exact
        places; a sentence without citations has no support in the documents.
        """
        self._check(question, k)
        async with self._asking:
            pieces = 0
            async for piece in self.pipeline.astream(question, k or None, where=where or None, as_of=as_of or None):
                if isinstance(piece, Answer):
                    answer = piece
                else:
                    await ctx.report_progress(pieces := pieces + 1, message="pieces written")
        found = replies.reply(answer, self.limits.characters)
        return _result(found, replies.reply_text(answer, found))

    async def read_span(
        self,
        document: Annotated[str, Field(description="id of the document, from search, ask or list_documents")],
        start: Annotated[int, Field(ge=0, description="first character")] = 0,
        end: Annotated[int, Field(ge=0, description="character behind the last; 0 for as much as one call gives")] = 0,
    ) -> Annotated[CallToolResult, Text]:
        """Read the characters `[start, end)` of a document, for instance what stands around a passage that was found.
        The reply says how long the whole document is.
        """
        most = self.limits.characters
        if end and end - start > most:
            raise QueryError(
                f"{end - start:,} characters were asked for, and one call reads {most:,} at most",
                fix=f"read [{start}, {start + most}), then on from there",
            )
        row = await asyncio.to_thread(
            span_under, self.pipeline, document, start, end or start + most, self.scope.filter
        )
        found = replies.text_of(row)
        rest = f"\n[the document goes on to {found.characters}]" if found.end < found.characters else ""
        return _result(found, f"{found.where} of {found.characters} characters\n{found.text}{rest}")

    async def list_documents(
        self,
        query: Annotated[str, Field(description="part of a name, source or title; empty for all")] = "",
        after: Annotated[str, Field(description="`next` of the page before; empty for the first")] = "",
        limit: Annotated[int, Field(ge=1, description="documents on a page")] = 50,
    ) -> Annotated[CallToolResult, Documents]:
        """List the documents that there are, by id, in pages."""
        if limit > (most := self.limits.documents):
            raise QueryError(f"limit: {limit:,} documents were asked for, and a page has {most:,} at most")
        rows = await asyncio.to_thread(documents_under, self.pipeline, self.scope.filter, query, after, limit + 1)
        shown = [replies.listed(row, uri_of(row.id)) for row in rows[:limit]]
        found = Documents(documents=shown, next=rows[limit - 1].id if len(rows) > limit else None)
        lines = [f"{d.document}  {d.characters:,} characters" + (f"  {d.title}" if d.title else "") for d in shown]
        more = [f"more: after={found.next!r}"] if found.next else []
        return _result(found, "\n".join([*lines, *more]) or "no documents")

    async def status(self) -> Status:
        """What is in the store: how many documents, which sources could not be read, and what every call is held to."""
        return await asyncio.to_thread(self._status)

    def _status(self) -> Status:
        spec, whole = self.pipeline.spec, self.scope.filter is None
        failed = [row for row in self.pipeline.status() if row.status == "failed"] if whole else []
        return Status(
            name=spec.name,
            description=spec.description,
            documents=sum(1 for _ in self._documents()),
            failed=[Failed(source=sendable(row.name), reason=self.scope.shown(row.error)) for row in failed],
            scope=self.scope.text or None,
            writable=self.writable,
        )

    def _documents(self) -> Iterator[DocumentRow]:
        after = ""
        while rows := documents_under(self.pipeline, self.scope.filter, after=after, limit=500):
            yield from rows
            after = rows[-1].id

    async def ingest(
        self,
        paths: Annotated[list[str], Field(description="files, folders and globs, below the pipeline's folder")],
        ctx: Context,
    ) -> Ingested:
        """Bring the store in step with files and folders: what is new is added, what has changed replaced, what is gone
        from a folder removed.
        """
        base = os.path.realpath(self.pipeline.base)
        for path in paths:
            named = str(self.pipeline.base / path)
            for one in (named, *(iglob(named, recursive=True) if has_magic(path) else ())):
                if not Path(os.path.realpath(one)).is_relative_to(base):
                    raise QueryError(
                        f"{path!r} lies outside of the pipeline's folder", fix="fovea ingest, at a terminal"
                    )
        await ctx.report_progress(0, message="reading files")
        report = await asyncio.to_thread(self.pipeline.ingest, [str(self.pipeline.base / path) for path in paths])
        failed = [Failed(source=sendable(name), reason=self.scope.shown(why)) for name, why in report.failed.items()]
        return Ingested(
            added=[sendable(name) for name in report.added], changed=[sendable(name) for name in report.changed],
            removed=[sendable(name) for name in report.removed], unchanged=report.unchanged, failed=failed,
        )  # fmt: skip

    async def remove(
        self, sources: Annotated[list[str], Field(description="names of sources, folders or globs of them")]
    ) -> Removed:
        """Take sources out of the store; their files stay. All of them are removed, or, where one is unknown, none."""
        return Removed(sources=[sendable(n) for n in await asyncio.to_thread(self.pipeline.remove, sources)])

    def _check(self, question: str, k: int) -> None:
        most = self.limits
        if len(question) > most.question:
            raise QueryError(
                f"the question has {len(question):,} characters; the most is {most.question:,}",
                fix="ask for one thing at a time, in a sentence",
            )
        if not 0 <= k <= most.passages:
            raise QueryError(f"k: {k:,} passages were asked for; allowed are 1 to {most.passages}, and 0 for the usual")


def _result(found: BaseModel, text: str) -> CallToolResult:
    plain: dict[str, Any] = found.model_dump(mode="json")
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=plain)
