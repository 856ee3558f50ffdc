"""What a segmenter says of a document, while one looks: its cuts with their scores, and the chunks packed from them."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.studio.opened import Opened
from fovea.rag import registry
from fovea.rag.errors import ConfigError, QueryError
from fovea.rag.segmenter import Segmenter
from fovea.rag.types import Document
from fovea.segmenters.packer import pack

MOST = 200_000
"""Characters that are segmented at most: some segmenters read the text with a model."""


def router(opened: Opened) -> APIRouter:
    """Routes that segment."""
    routes = APIRouter()

    @routes.get("/segmenters")
    def segmenters(request: Request, pipeline: str = "") -> Json:
        """The pipeline's own chain, and every segmenter there is that needs no setting."""
        chain = [one.name for one in opened.pipeline(pipeline, request).spec.segment]
        return Json({"chain": chain, "others": _by_default()})

    @routes.get("/document/cuts")
    async def cuts(
        request: Request, id: str, segmenter: str, pipeline: str = "", start: Annotated[int, Query(ge=0, le=2**53)] = 0
    ) -> Json:
        """The cuts of one segmenter, `[at, score]`, and its chunks, of at most `MOST` characters from `start`.

        `segmenter` is a name, whose defaults are taken, or `chain:N`, the pipeline's own with its settings.
        """
        chosen = opened.pipeline(pipeline, request)
        document = await asyncio.to_thread(opened.document, pipeline, id, request)
        made = _segmenter(chosen, segmenter)
        async with opened.served.answering.place():
            return Json(await asyncio.to_thread(_cut, document, made, chosen, start))

    return routes


def _cut(document: Document, segmenter: Segmenter, pipeline: Pipeline, start: int) -> dict[str, Any]:
    began, encoder = time.perf_counter(), pipeline.spec.encoder
    text = document.text[start : start + MOST]
    found = list(segmenter.cuts(text, document, encoder)) if text.strip() else []
    spans = pack(
        text, found, encoder.tokenizer, max_tokens=segmenter.max_tokens or encoder.window,
        min_tokens=segmenter.min_tokens, overlap=segmenter.overlap,
    )  # fmt: skip
    return {
        "start": start, "end": start + len(text), "seconds": round(time.perf_counter() - began, 3),
        "cuts": [(start + cut.at, round(float(cut.score), 4)) for cut in found],
        "chunks": [(start + span.start, start + span.end) for span in spans],
    }  # fmt: skip


def _by_default() -> list[str]:
    found = registry.components("segmenter").items()
    return [name for name, cls in found if not any(field.is_required() for field in cls.model_fields.values())]


def _segmenter(pipeline: Pipeline, name: str) -> Segmenter:
    kind, _, place = name.partition(":")
    chain = pipeline.spec.segment
    if kind == "chain" and place.isascii() and place.isdigit() and len(place) < 4 and int(place) < len(chain):
        return chain[int(place)]
    if name not in (known := _by_default()):
        raise QueryError(f"there is no segmenter {name!r} that needs no setting", allowed=known, got=name)
    try:
        made = registry.find("segmenter", name)()
    except ValueError as error:
        raise ConfigError(f"the segmenter {name} cannot be used as it is: {error}") from None
    assert isinstance(made, Segmenter)
    return made
