"""A pipeline in LangChain's own terms: a retriever, and a Runnable that answers.

retriever = pipeline.as_langchain(k=5)          # BaseRetriever: str -> list[Document]
answers = as_runnable(pipeline)                 # Runnable: str or {"question": ...} -> dict
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from fovea.rag.errors import QueryError, require
from fovea.rag.types import Answer, Hit

try:
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.runnables.utils import AddableDict
except ModuleNotFoundError:
    require("langchain_core", extra="langchain", needed_by="as_langchain()")
    raise

if TYPE_CHECKING:
    Question = str | dict[str, Any]


class Answering(Protocol):
    """What a pipeline does with a question, as far as it is passed on here: `fovea.Pipeline` is one."""

    def retrieve(self, question: str, k: int | None = None, /) -> list[Hit]:
        """The passages, best first."""

    def ask(self, question: str, /, *args: Any, **options: Any) -> Answer:
        """The answer."""

    def stream(self, question: str, /, *args: Any, **options: Any) -> Iterator[str | Answer]:
        """Pieces of the answer's text, and last the answer."""

    async def aretrieve(self, question: str, k: int | None = None, /) -> list[Hit]:
        """Like `retrieve`."""

    async def aask(self, question: str, /, *args: Any, **options: Any) -> Answer:
        """Like `ask`."""

    def astream(self, question: str, /, *args: Any, **options: Any) -> AsyncIterator[str | Answer]:
        """Like `stream`."""


def as_langchain(pipeline: Answering, k: int | None = None) -> FoveaRetriever:
    """The pipeline as a LangChain retriever of `k` passages."""
    return FoveaRetriever(pipeline=pipeline, k=k)


def as_runnable(pipeline: Answering) -> FoveaAnswers:
    """The pipeline as a Runnable from a question to `Answer.to_dict()`."""
    return FoveaAnswers(pipeline)


class FoveaRetriever(BaseRetriever):
    """The passages of a pipeline as LangChain documents, best first."""

    pipeline: Any
    """A `Pipeline`, or anything with its `retrieve` and `aretrieve`."""

    k: int | None = None
    """How many passages; None takes the pipeline's own number."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[LangChainDocument]:
        return [document(hit) for hit in self.pipeline.retrieve(query, self.k)]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[LangChainDocument]:
        return [document(hit) for hit in await self.pipeline.aretrieve(query, self.k)]


def document(hit: Hit) -> LangChainDocument:
    """A hit as a LangChain document: the metadata of its document, and over them where it stands and how it scored."""
    c = hit.chunk
    place = {"source": c.source, "title": c.title, "start": c.start, "end": c.end, "page": c.page}
    names = {"score": hit.score, "document_id": c.document_id, "chunk_id": c.id}
    return LangChainDocument(id=c.id, page_content=c.text, metadata={**c.metadata, **place, **names})


class FoveaAnswers(Runnable["Question", dict[str, Any]]):
    """Answers of a pipeline as plain data.

    `stream` yields `{"delta": piece}` while the text comes, and last the whole answer; their sum has all of it.
    """

    def __init__(self, pipeline: Answering) -> None:
        self.pipeline = pipeline

    def invoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """The answer to a question, or to `{"question": ..., "k": ..., "where": ...}`."""
        return self._call_with_config(self._answer, input, config, run_type="chain")

    async def ainvoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Like `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._aanswer, input, config, run_type="chain")

    def stream(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """The pieces, then the answer."""
        yield from self._transform_stream_with_config(iter([input]), self._pieces, config, run_type="chain")

    async def astream(
        self, input: Question, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Like `stream`, without blocking the event loop."""

        async def once() -> AsyncIterator[Question]:
            yield input

        async for piece in self._atransform_stream_with_config(once(), self._apieces, config, run_type="chain"):
            yield piece

    def _answer(self, input: Question) -> dict[str, Any]:
        question, options = _read(input)
        return self.pipeline.ask(question, **options).to_dict()

    async def _aanswer(self, input: Question) -> dict[str, Any]:
        question, options = _read(input)
        return (await self.pipeline.aask(question, **options)).to_dict()

    def _pieces(self, inputs: Iterator[Question]) -> Iterator[dict[str, Any]]:
        for question, options in map(_read, inputs):
            yield from map(_piece, self.pipeline.stream(question, **options))

    async def _apieces(self, inputs: AsyncIterator[Question]) -> AsyncIterator[dict[str, Any]]:
        async for input in inputs:
            question, options = _read(input)
            async for piece in self.pipeline.astream(question, **options):
                yield _piece(piece)


def _read(input: Question) -> tuple[str, dict[str, Any]]:
    if isinstance(input, str):
        return input, {}
    unknown = set(input) - {"question", "k", "where", "as_of"} if isinstance(input, dict) else {type(input).__name__}
    if unknown or not isinstance(input.get("question"), str):
        raise QueryError(
            f"a question is a string or {{'question': ...}}, got {', '.join(sorted(unknown)) or 'no question'}",
            allowed=["question", "k", "where", "as_of"],
        )
    return input["question"], {key: value for key, value in input.items() if key != "question"}


def _piece(piece: str | Answer) -> AddableDict:
    return AddableDict({"delta": piece} if isinstance(piece, str) else piece.to_dict())
