"""All of the studio's routes: the page, and what it asks for under `/studio/api/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.server.served import Served
from fovea.pipelines.studio import cuts, documents, looking, shell
from fovea.pipelines.studio import study as studies
from fovea.pipelines.studio.opened import Opened
from fovea.rag.generation import Generator
from fovea.rag.version import __version__


def router(served: Served, study: Path | None = None) -> APIRouter:
    """The routes under `/studio`; `study` is the folder of a sweep whose progress is shown. The page itself, which
    holds no data, is for anybody who reaches the server; what it asks for needs a key where the server does.
    """
    opened = Opened(served, study)
    api = APIRouter(prefix="/api")

    @api.get("/overview")
    def overview() -> Json:
        """What there is to be looked at."""
        return Json({
            "instance": opened.instance, "version": __version__, "study": study is not None,
            "pipelines": [_plain(name, pipeline) for name, pipeline in served.pipelines.items()],
        })  # fmt: skip

    @api.get("/alive")
    def alive() -> Json:
        """Which run of the server this is."""
        return Json({"instance": opened.instance})

    for part in (documents, cuts, looking, studies):
        api.include_router(part.router(opened))
    routes = APIRouter(prefix="/studio", include_in_schema=False)
    routes.include_router(api)
    routes.include_router(shell.router())
    served.open_paths |= {f"/studio/{name}" for name in ("", *shell.pages())}
    return routes


def _plain(name: str, pipeline: Pipeline) -> dict[str, Any]:
    spec = pipeline.spec
    return {
        "name": name, "segment": [one.name for one in spec.segment], "retrieve": [one.name for one in spec.retrieve],
        "refine": [one.name for one in spec.refine], "generate": spec.generate.name,
        "model": str(getattr(spec.generate, "model", "")), "k": spec.kept,
        "looks": type(spec.generate).looks is not Generator.looks,
    }  # fmt: skip
