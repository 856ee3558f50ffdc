"""`/healthz`, `/metrics`, `/pipelines`: is it alive, how is it doing, what can be asked."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from fovea.pipelines.server.json_response import Json
from fovea.pipelines.server.served import Served


def router(served: Served) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["the server"])

    @routes.get("/healthz", summary="Is it alive")
    @routes.get("/healthz/live", summary="Is it alive")
    async def live() -> Response:
        """200 as long as the process answers."""
        return Json({"status": "live"})

    @routes.get("/healthz/ready", summary="Can it be asked", responses={503: {"description": "Not yet, or no more."}})
    async def ready() -> Response:
        """200 once models and indexes are loaded, 503 before and while it ends."""
        return Json({"status": "ready" if served.ready else "not ready"}, 200 if served.ready else 503)

    @routes.get("/metrics", summary="Counts for Prometheus")
    async def metrics() -> Response:
        """Requests, seconds, what runs, stages."""
        text, media_type = served.metrics.text()
        return Response(text, media_type=media_type)

    @routes.get("/pipelines", summary="What can be asked")
    async def pipelines() -> Response:
        """The names of the pipelines, the default first."""
        found = [
            {
                "name": name,
                "description": getattr(pipeline.spec, "description", ""),
                "retrieve": [stage.name for stage in pipeline.spec.retrieve],
                "generate": pipeline.spec.generate.name,
                "default": name == served.default,
            }
            for name, pipeline in served.pipelines.items()
        ]
        return Json({"pipelines": found})

    return routes
