"""All of the studio's routes: the page, and what it asks for under `/studio/api/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.studio import cuts, documents, looking, shell
from fovea.pipelines.studio import study as studies
from fovea.pipelines.studio.opened import Opened
from fovea.pipelines.studio.plain import Plain
from fovea.rag.generation import Generator
from fovea.rag.version import __version__


class Served(Protocol):
    """What is asked of the server's `Served`."""

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """By name, the default first."""


def router(served: Served, study: Path | None = None) -> APIRouter:
    """The routes under `/studio`; `study` is the folder of a sweep whose progress is shown."""
    opened = Opened(served.pipelines, study)
    api = APIRouter(prefix="/api", include_in_schema=False)

    @api.get("/overview")
    def overview() -> Plain:
        """What there is to be looked at."""
        return Plain({
            "instance": opened.instance, "version": __version__, "study": study is not None,
            "pipelines": [_plain(name, pipeline) for name, pipeline in opened.pipelines.items()],
        })  # fmt: skip

    @api.get("/alive")
    def alive() -> Plain:
        """Which run of the server this is."""
        return Plain({"instance": opened.instance})

    for part in (documents, cuts, looking, studies):
        api.include_router(part.router(opened))
    routes = APIRouter(prefix="/studio")
    routes.include_router(api)
    routes.include_router(shell.router())
    return routes


def _plain(name: str, pipeline: Pipeline) -> dict[str, Any]:
    spec = pipeline.spec
    return {
        "name": name, "segment": [one.name for one in spec.segment], "retrieve": [one.name for one in spec.retrieve],
        "refine": [one.name for one in spec.refine], "generate": spec.generate.name,
        "model": str(getattr(spec.generate, "model", "")), "k": spec.kept,
        "looks": type(spec.generate).looks is not Generator.looks,
    }  # fmt: skip
