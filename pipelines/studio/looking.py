"""Where a local model looked, for the page to colour a text with."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.studio.opened import Opened
from fovea.rag.errors import QueryError
from fovea.rag.types import Answer, Hit, Query, Sentence


class Answered(BaseModel):
    """An answer that was given: the question, the text with its sentences, and the chunks that it was made from."""

    question: str = Field(min_length=1, max_length=20_000)
    text: str = Field(max_length=200_000)
    sentences: list[tuple[int, int]] = Field(max_length=400)
    hits: list[str] = Field(max_length=200)
    pipeline: str = ""


def router(opened: Opened) -> APIRouter:
    """Routes that look into the model."""
    routes = APIRouter()
    alone = asyncio.Lock()  # One reading at a time: each keeps the attention of all heads.

    @routes.post("/heat")
    async def heat(given: Answered, request: Request) -> Json:
        """How much each word of the passages was looked at, by groups of heads."""
        pipeline = opened.pipeline(given.pipeline, request)
        if not isinstance(generator := pipeline.spec.generate, TransformersGenerator):
            raise QueryError(
                f"the generator {generator.name} is no local model, so nobody knows where it looked",
                fix="generate: {use: transformers, model: smollm2}",
            )
        chunks = await asyncio.to_thread(opened.chunks, pipeline, given.hits, request)
        if any(id_ not in chunks for id_ in given.hits):
            raise QueryError("a passage of this answer is not in the store any more", fix="ask again")
        sentences = tuple(Sentence(a, b, given.text[a:b]) for a, b in given.sentences)
        answer = Answer(given.text, sentences, tuple(Hit(chunks[id_], 0.0) for id_ in given.hits))
        async with opened.served.answering.place(), alone:
            return Json(await asyncio.to_thread(_heat, generator, given.question, answer, pipeline))

    return routes


def _heat(generator: TransformersGenerator, question: str, answer: Answer, pipeline: Pipeline) -> dict[str, Any]:
    with pipeline.reading() as corpus:
        return generator.heat(Query(question), answer, corpus).to_dict()
