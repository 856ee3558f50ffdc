"""`/search` and `/ask`: passages, and cited answers, whole or piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from fovea.pipelines.server.asking import answering, paced, started, while_there, whole
from fovea.pipelines.server.events import ALIVE, Events, event, failure
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.server.problems import cleaned
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.shapes import Ask, Search
from fovea.rag.trace import Trace
from fovea.rag.types import Answer, Hit, hit_to_dict


def router(served: Served) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["questions"])

    @routes.post("/search", summary="The passages that answer best")
    async def search(body: Search, request: Request) -> Response:
        """The passages for a question, best first, each with its place and its scores."""
        tell(served, request, body.question)
        pipeline, trace = served.pipeline(body.pipeline, request), Trace()
        options = body.options() | {"trace": trace}
        async with asyncio.timeout_at(request.scope["due"]):
            hits = await while_there(request, pipeline.aretrieve(body.question, **options))
        served.metrics.staged(body.pipeline or served.default, trace)
        found: dict[str, Any] = {"hits": [of_hit(hit) for hit in hits]}
        return Json(found | ({"trace": cleaned(trace.to_dict())} if body.trace else {}))

    @routes.post("/ask", summary="A cited answer")
    async def ask(body: Ask, request: Request) -> Response:
        """An answer, each sentence with the spans it rests on. With `stream`, server-sent events: `piece` with `text`,
        at the end `answer` with all of it, or `error`.
        """
        tell(served, request, body.question)
        pieces = answering(served, request, body.pipeline, body.question, body.options())
        if body.stream:
            return Events(_events(request, await started(request, pieces)))
        return Json(of_answer(await whole(request, pieces)))

    return routes


async def _events(request: Request, pieces: AsyncGenerator[str | Answer]) -> AsyncGenerator[str]:
    paced_pieces = paced(request, pieces)
    try:
        async for piece in paced_pieces:
            if piece is None:
                yield ALIVE
            elif isinstance(piece, Answer):
                yield event(of_answer(piece), "answer")
            else:
                yield event({"text": piece}, "piece")
    except Exception as error:
        yield event(failure(error, request.url.path), "error")
    finally:
        await paced_pieces.aclose()


def of_hit(hit: Hit) -> dict[str, Any]:
    """A hit as plain data, with the place that people read."""
    return hit_to_dict(hit) | {"where": hit.chunk.where}


def of_answer(answer: Answer) -> dict[str, Any]:
    """An answer as plain data; what the stages say names no path of this machine."""
    plain = answer.to_dict()
    return plain | {"hits": [of_hit(hit) for hit in answer.hits], "trace": cleaned(plain["trace"])}


def tell(served: Served, request: Request, question: str) -> None:
    """For the log: how long the question is, and its text where the settings want it."""
    told: dict[str, Any] = {"characters": len(question)}
    request.scope["told"] = told | ({"question": question} if served.settings.log_questions else {})
