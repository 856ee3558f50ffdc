"""Fovea's ground floor: the words everyone speaks. Importing it is light: no torch, no faiss, no numpy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag.component import Component as Component
    from rag.corpus import Corpus as Corpus
    from rag.corpus import VectorStore as VectorStore
    from rag.encoder import Encoder as Encoder
    from rag.errors import FoveaError as FoveaError
    from rag.feedback import AnswerFeedback as AnswerFeedback
    from rag.feedback import Judge as Judge
    from rag.feedback import PassageFeedback as PassageFeedback
    from rag.generation import Generator as Generator
    from rag.loader import Loader as Loader
    from rag.retrieval import Fuser as Fuser
    from rag.retrieval import Refiner as Refiner
    from rag.retrieval import Retriever as Retriever
    from rag.segmenter import Cut as Cut
    from rag.segmenter import Segmenter as Segmenter
    from rag.situator import Situator as Situator
    from rag.trace import Trace as Trace
    from rag.types import Answer as Answer
    from rag.types import Chunk as Chunk
    from rag.types import Citation as Citation
    from rag.types import Document as Document
    from rag.types import Hit as Hit
    from rag.types import Query as Query
    from rag.types import Sentence as Sentence
    from rag.types import Span as Span

__version__ = "0.1.0"

_HOMES = {
    "component": ("Component",),
    "corpus": ("Corpus", "VectorStore"),
    "encoder": ("Encoder",),
    "errors": ("FoveaError",),
    "feedback": ("AnswerFeedback", "Judge", "PassageFeedback"),
    "generation": ("Generator",),
    "loader": ("Loader",),
    "retrieval": ("Fuser", "Refiner", "Retriever"),
    "segmenter": ("Cut", "Segmenter"),
    "situator": ("Situator",),
    "trace": ("Trace",),
    "types": ("Answer", "Chunk", "Citation", "Document", "Hit", "Query", "Sentence", "Span"),
}
_WHERE = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name in _WHERE:
        return getattr(import_module(f"rag.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'rag' has no attribute {name!r}")
