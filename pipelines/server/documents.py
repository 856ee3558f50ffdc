"""`/documents`: which there are, the text of one, and where the settings allow it, uploading and deleting."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.responses import Response

from fovea.pipelines.documents_under import MOST, documents_under, span_under
from fovea.pipelines.server import uploads
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.served import Served, caller_of
from fovea.pipelines.server.shapes import Text

Name = Annotated[str | None, Query(description="Which pipeline; left out, the first.")]


def router(served: Served) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["documents"])

    @routes.get("/documents", summary="The documents there are")
    async def documents(
        request: Request,
        pipeline: Name = None,
        query: Annotated[str, Query(max_length=1000, description="A part of the id or the title.")] = "",
        after: Annotated[str, Query(max_length=10_000, description="The last id of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> Response:
        """Documents in order of their ids; `next` is the `after` of the next page, null at the end."""
        asked, scope = served.pipeline(pipeline, request), caller_of(request).scope
        rows = await asyncio.to_thread(documents_under, asked, scope, query, after, limit)
        found: list[dict[str, Any]] = [asdict(row) for row in rows]
        return Json({"documents": found, "next": found[-1]["id"] if len(found) == limit else None})

    @routes.get("/documents/{document_id:path}/text", summary="The text of a document")
    async def text(
        request: Request,
        document_id: str,
        pipeline: Name = None,
        start: Annotated[int, Query(ge=0, le=2**53)] = 0,
        end: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        """The characters from `start` to before `end`, at most a million."""
        asked, scope = served.pipeline(pipeline, request), caller_of(request).scope
        span = await asyncio.to_thread(span_under, asked, document_id, start, end, scope)
        return Json(span.to_dict())

    @routes.post("/documents", summary="Upload a file", status_code=201, responses=uploads.REFUSALS)
    async def upload(request: Request, file: Annotated[UploadFile, File()], pipeline: Name = None) -> Response:
        """Keep a file and take it in, in place of the one of the same name. Once this is answered, it is on disk."""
        asked = _writable(served, pipeline, request)
        async with served.uploading.place():
            told = await uploads.kept(asked, served.uploads(pipeline), file.filename or "", file.file)
        return Json(told, 201)

    @routes.put("/documents/{document_id:path}", summary="Store a text", status_code=201, responses=uploads.REFUSALS)
    async def put(request: Request, document_id: str, body: Text, pipeline: Name = None) -> Response:
        """Store a text under an id, in place of the one that is there."""
        asked = _writable(served, pipeline, request)
        async with served.uploading.place():
            return Json(await uploads.added(asked, body.document(document_id)), 201)

    @routes.delete("/documents/{document_id:path}", summary="Delete a document", responses=uploads.REFUSALS)
    async def delete(request: Request, document_id: str, pipeline: Name = None) -> Response:
        """Delete the source of this id or of a document of this id, and its file, if it was uploaded."""
        asked = _writable(served, pipeline, request)
        async with served.uploading.place():
            return Json({"deleted": await uploads.deleted(asked, served.uploads(pipeline), document_id)})

    return routes


def _writable(served: Served, name: str | None, request: Request) -> Any:
    if not served.settings.documents:
        raise Problem(403, "this server takes no documents", fix="serve: {documents: true} in the pipeline's YAML")
    if not caller_of(request).write:
        raise Problem(403, "this key only reads", fix="write: true beside the key in the pipeline's YAML")
    return served.pipeline(name, request)
