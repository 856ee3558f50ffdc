"""Fovea: retrieval-augmented generation that looks where the model looks.

from fovea import Pipeline
with Pipeline.from_yaml("qa.yaml") as pipeline:
    pipeline.ingest(["handbook/"])
    print(pipeline.ask("How is green tea brewed?").text)

What is public is listed here and loads when it is first named: importing Fovea loads no torch, and not even numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fovea.rag.version import __version__ as __version__

if TYPE_CHECKING:
    from fovea.attention_retrieval import Retrieval as Retrieval
    from fovea.attention_retrieval import RetrievalCache as RetrievalCache
    from fovea.pipelines.evaluation.evaluate import Evaluator as Evaluator
    from fovea.pipelines.pipeline import Pipeline as Pipeline
    from fovea.rag.component import Component as Component
    from fovea.rag.corpus import Corpus as Corpus
    from fovea.rag.corpus import VectorStore as VectorStore
    from fovea.rag.encoder import Encoder as Encoder
    from fovea.rag.errors import FoveaError as FoveaError
    from fovea.rag.feedback import AnswerFeedback as AnswerFeedback
    from fovea.rag.feedback import Judge as Judge
    from fovea.rag.feedback import PassageFeedback as PassageFeedback
    from fovea.rag.generation import Generator as Generator
    from fovea.rag.loader import Loader as Loader
    from fovea.rag.retrieval import Fuser as Fuser
    from fovea.rag.retrieval import Refiner as Refiner
    from fovea.rag.retrieval import Retriever as Retriever
    from fovea.rag.segmenter import Cut as Cut
    from fovea.rag.segmenter import Segmenter as Segmenter
    from fovea.rag.situator import Situator as Situator
    from fovea.rag.trace import Trace as Trace
    from fovea.rag.types import Answer as Answer
    from fovea.rag.types import Chunk as Chunk
    from fovea.rag.types import Citation as Citation
    from fovea.rag.types import Document as Document
    from fovea.rag.types import Hit as Hit
    from fovea.rag.types import Query as Query
    from fovea.rag.types import Sentence as Sentence
    from fovea.rag.types import Span as Span

_HOMES = {
    "attention_retrieval": ("Retrieval", "RetrievalCache"),
    "pipelines.evaluation.evaluate": ("Evaluator",),
    "pipelines.pipeline": ("Pipeline",),
    "rag.component": ("Component",),
    "rag.corpus": ("Corpus", "VectorStore"),
    "rag.encoder": ("Encoder",),
    "rag.errors": ("FoveaError",),
    "rag.feedback": ("AnswerFeedback", "Judge", "PassageFeedback"),
    "rag.generation": ("Generator",),
    "rag.loader": ("Loader",),
    "rag.retrieval": ("Fuser", "Refiner", "Retriever"),
    "rag.segmenter": ("Cut", "Segmenter"),
    "rag.situator": ("Situator",),
    "rag.trace": ("Trace",),
    "rag.types": ("Answer", "Chunk", "Citation", "Document", "Hit", "Query", "Sentence", "Span"),
}
_WHERE = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _WHERE:
        return getattr(import_module(f"fovea.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'fovea' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is public, for an editor and for `help`."""
    return [*__all__, "__version__"]
