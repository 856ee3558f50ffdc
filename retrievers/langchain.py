"""Any LangChain retriever where ours go: `Pipeline(retrieve=[my_langchain_retriever, "bm25"])`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fovea.rag import registry, trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import FoveaError, QueryError
from fovea.rag.filters import matches
from fovea.rag.retrieval import Retriever
from fovea.rag.types import Chunk, Document, Hit, Query, Scalar, Span

if TYPE_CHECKING:
    from langchain_core.documents import Document as LangChainDocument


class LangChainRetriever(Retriever):
    """Wraps a `langchain_core.retrievers.BaseRetriever`. It cannot be named in YAML: give the object in Python.

    A document it returns becomes a chunk of ours where its metadata name one of our documents (`document_id` or
    `source`) and its text is found there, at `start_index` or in one place only. Otherwise it becomes a document of
    its own, cited from its first character to its last. LangChain passes on no scores, so the score is `1 / rank`.
    """

    name: ClassVar[str] = "langchain"

    retriever: Any = Field(exclude=True)
    """The LangChain object."""

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits in the order given, each passage once; its own number of documents bounds them too.

        `query.where` is applied to what comes back. Raises FoveaError when the wrapped retriever fails.
        """
        chunks: dict[str, Chunk] = {}
        for chunk in self._chunks(query, corpus):
            if query.where is None or matches(query.where, chunk.fields):
                chunks.setdefault(chunk.id, chunk)
        return [Hit(chunk, 1 / i).scored("langchain", 1 / i) for i, chunk in enumerate(list(chunks.values())[:k], 1)]

    def _chunks(self, query: Query, corpus: Corpus) -> Iterator[Chunk]:
        try:
            found = self.retriever.invoke(query.text)
        except Exception as error:
            what = f"the LangChain retriever {type(self.retriever).__name__} failed: {type(error).__name__}: {error}"
            raise FoveaError(what) from error
        for document in found:
            if document.page_content:
                yield located(document, corpus) or alone(document)
            else:
                trace.warn("langchain: an empty document was left out")


def located(document: LangChainDocument, corpus: Corpus) -> Chunk | None:
    """The span of ours that holds the document's text, or None."""
    text = document.page_content
    for key in ("document_id", "source"):
        try:
            ours = corpus.document(str(document.metadata[key]))
        except (KeyError, QueryError):
            continue
        start = document.metadata.get("start_index")
        if not isinstance(start, int) or start < 0 or not ours.text.startswith(text, start):
            start = ours.text.find(text)
            if start < 0 or ours.text.find(text, start + 1) >= 0:
                continue
        return ours.chunk(Span(start, start + len(text)))
    return None


def alone(document: LangChainDocument) -> Chunk:
    """The document as one of ours, whole, with a name made of its source and text."""
    text, source = document.page_content, str(document.metadata.get("source") or document.id or "langchain")
    digest = blake2b(f"{source}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    title = str(document.metadata.get("title") or "")
    ours = Document(f"langchain:{digest}", text, source, title, metadata=_scalars(document.metadata))
    return ours.chunk(Span(0, len(text)))


def _scalars(metadata: Mapping[str, Any]) -> dict[str, Scalar]:
    kept = {str(k): v for k, v in metadata.items() if isinstance(v, (str, int, float, bool))}
    if len(kept) < len(metadata):
        trace.warn("langchain: metadata that are no text, number or truth value were left out")
    return kept


@registry.adapter("retriever")
def _adapt(thing: object) -> LangChainRetriever | None:
    # An object can only be one of LangChain's if its module is loaded, so nothing needs importing to look.
    module = sys.modules.get("langchain_core.retrievers")
    return LangChainRetriever(retriever=thing) if module and isinstance(thing, module.BaseRetriever) else None
