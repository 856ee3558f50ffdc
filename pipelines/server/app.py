"""The FastAPI application: all routes over the pipelines of a Served, behind the Guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from fovea.pipelines.server import chat_completions, docs_page, documents, health, questions
from fovea.pipelines.server.guard import Guard
from fovea.pipelines.server.problems import problem_of
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.uploads import take_in
from fovea.pipelines.spec.lacks import lacks
from fovea.rag.errors import FoveaError
from fovea.rag.version import __version__

DESCRIPTION = "Passages and cited answers from documents. With keys: `Authorization: Bearer KEY`."

log = logging.getLogger("fovea.server")


def create_app(served: Served) -> FastAPI:
    """The application; `served` is closed with it."""
    # FastAPI's own pages load scripts from another host.
    app = FastAPI(
        title="Fovea", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.state.served = served
    for rooms in (questions, documents, chat_completions, health, docs_page):
        app.include_router(rooms.router(served))
    for kind in (FoveaError, HTTPException, RequestValidationError, TimeoutError):
        app.add_exception_handler(kind, _refused)
    app.add_middleware(Guard, served=served)
    if served.settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=served.settings.origins, allow_methods=["*"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    return app


async def _refused(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status == 500:
        raise error  # The guard logs it.
    # FastAPI's own words hold the body, and so the question.
    said = f"{problem.where}: {problem.message}" if isinstance(error, RequestValidationError) else str(error)
    request.scope["told"] = {**request.scope.get("told", {}), "error": said[:500]}
    return problem.response(request.url.path)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load before the first question; let go of the stores after the last."""
    served: Served = app.state.served
    await asyncio.to_thread(_load, served)
    served.ready = True
    try:
        yield
    finally:
        served.ready = False
        await asyncio.to_thread(served.close)


def _load(served: Served) -> None:
    """Open the stores and load what encodes questions. What is missing is a warning of the log: a store may be filled,
    and a model fetched, while the server runs.
    """
    for name, pipeline in served.pipelines.items():
        if served.settings.documents:
            take_in(pipeline, served.uploads(name))
        try:
            pipeline.retrieve("loaded once")
            missing = lacks(pipeline.source, pipeline.spec, offline=True)
        except FoveaError as error:
            missing = [error]
        for one in missing:
            log.warning("not ready to answer", extra={"fields": {"pipeline": name, "error": str(one)}})
