"""Where a local model looked, for the page to colour a text with."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.pipelines.studio.opened import Opened
from fovea.pipelines.studio.plain import Plain
from fovea.rag.as_of import as_of
from fovea.rag.errors import QueryError
from fovea.rag.types import Answer, Hit, Query, Sentence


class Answered(BaseModel):
    """An answer that was given: the question, the text with its sentences, and the chunks that it was made from."""

    question: str = Field(min_length=1, max_length=20_000)
    text: str = Field(max_length=200_000)
    sentences: list[tuple[int, int]] = Field(max_length=400)
    hits: list[str] = Field(max_length=200)
    as_of: str | None = None
    pipeline: str = ""


def router(opened: Opened) -> APIRouter:
    """Routes that look into the model."""
    routes = APIRouter()
    alone = threading.Lock()  # One reading at a time: each keeps the attention of all heads.

    @routes.post("/heat")
    def heat(given: Answered) -> Plain:
        """How much each word of the passages was looked at, by groups of heads."""
        pipeline = opened.pipeline(given.pipeline)
        generator, corpus = pipeline.spec.generate, pipeline.corpus
        if not isinstance(generator, TransformersGenerator):
            raise QueryError(
                f"the generator {generator.name} is no local model, so nobody knows where it looked",
                fix="generate: {use: transformers, model: smollm2}",
            )
        query = Query(given.question, as_of=as_of(given.as_of))
        chunks = {
            c.id: c for c in corpus.library.chunk_by_no(list(corpus.library.no_of(_ids(given)).values())).values()
        }
        if any(id_ not in chunks for id_ in given.hits):
            raise QueryError("a passage of this answer is not in the store any more", fix="ask again")
        sentences = tuple(Sentence(a, b, given.text[a:b]) for a, b in given.sentences)
        answer = Answer(given.text, sentences, tuple(Hit(chunks[id_], 0.0) for id_ in given.hits))
        with alone:
            found: dict[str, Any] = generator.heat(query, answer, corpus).to_dict()
        return Plain(found)

    return routes


def _ids(given: Answered) -> list[str]:
    if odd := next((id_ for id_ in given.hits if len(id_) != 24 or not set(id_) <= set("0123456789abcdef")), None):
        raise QueryError(f"{odd[:60]!r} is no id of a chunk")
    return given.hits
