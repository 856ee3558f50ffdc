"""`/v1/chat/completions` and `/v1/models`: OpenAI's shapes, for any client that speaks to OpenAI.

A pipeline is a model. Citations stand in the text as marks `[1]` and are listed as `annotations`: of a whole message
behind each sentence, of a stream, whose sentences are out before they can be cited, as lines at its end.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from fovea.pipelines.server.asking import answering, paced, started, whole
from fovea.pipelines.server.chat_shapes import Completion
from fovea.pipelines.server.cited_message import cited, marked, references
from fovea.pipelines.server.events import ALIVE, Events, event, failure
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.server.questions import tell
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.usage import usage
from fovea.rag.types import Answer


def router(served: Served) -> APIRouter:
    """The routes."""
    routes, began = APIRouter(prefix="/v1", tags=["OpenAI-compatible"]), int(time.time())

    def model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": began, "owned_by": "fovea"}

    @routes.get("/models", summary="The pipelines, as models")
    async def models() -> Response:
        """One model for each pipeline."""
        return Json({"object": "list", "data": [model(name) for name in served.pipelines]})

    @routes.get("/models/{name:path}", summary="One pipeline, as a model")
    async def one_model(name: str, request: Request) -> Response:
        """The model of this name."""
        served.pipeline(name, request)
        return Json(model(name))

    @routes.post("/chat/completions", summary="A cited answer, as a completion")
    async def completions(body: Completion, request: Request) -> Response:
        """The last message is the question, the ones before are the conversation. How the model writes is a matter of
        the pipeline: `temperature` and the like are read and do nothing.
        """
        question, options = body.question(), body.options()
        tell(served, request, question)
        writing = _Writing(served, request, body, question)
        pieces = answering(served, request, body.model, question, options)
        if body.stream:
            return Events(writing.chunks(await started(request, pieces)))
        return Json(writing.completion(await whole(request, pieces)))

    return routes


class _Writing:
    """One completion on its way out."""

    def __init__(self, served: Served, request: Request, body: Completion, question: str) -> None:
        self.served, self.request, self.body, self.question = served, request, body, question
        self.about = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": body.model}

    def completion(self, answer: Answer) -> dict[str, Any]:
        """The whole."""
        text, places = marked(answer)
        message = {
            "role": "assistant", "content": text, "refusal": None,
            "annotations": cited(answer, places, self.body.model),
        }  # fmt: skip
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {**self.about, "object": "chat.completion", "choices": [choice], "usage": self._usage(answer)}

    async def chunks(self, pieces: AsyncGenerator[str | Answer]) -> AsyncGenerator[str]:
        """The events of a stream."""
        paced_pieces = paced(self.request, pieces)
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async for piece in paced_pieces:
                if piece is None:
                    yield ALIVE
                elif isinstance(piece, Answer):
                    for last in self._end(piece):
                        yield last
                else:
                    yield self._chunk({"content": piece})
            yield event("[DONE]")
        except Exception as error:
            yield event(failure(error, self.request.url.path))
        finally:
            await paced_pieces.aclose()

    def _end(self, answer: Answer) -> list[str]:
        places = [(sentence.start, sentence.end) for sentence in answer.sentences]
        delta = {"content": references(answer), "annotations": cited(answer, places, self.body.model)}
        events = [self._chunk(delta), self._chunk({}, "stop")]
        if self.body.stream_options and self.body.stream_options.include_usage:
            events.append(event({**self._head(), "choices": [], "usage": self._usage(answer)}))
        return events

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return event({**self._head(), "choices": [choice]})

    def _head(self) -> dict[str, Any]:
        return {**self.about, "object": "chat.completion.chunk"}

    def _usage(self, answer: Answer) -> dict[str, int]:
        found = usage(self.question, answer)
        for kind in ("prompt_tokens", "completion_tokens"):
            self.served.metrics.tokens.labels(self.body.model, kind).inc(found[kind])
        return found
