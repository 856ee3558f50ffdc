"""A sweep that is running, or was: its progress, and its report."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fovea.pipelines.server.json_response import Json
from fovea.pipelines.studio.opened import Opened
from fovea.pipelines.sweep.watch import watch
from fovea.rag.errors import QueryError

REPORT = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; frame-ancestors 'self'",
    "Cache-Control": "no-cache",
}
"""The report has a policy of its own, stricter than this, which names its one script by its hash."""


def router(opened: Opened) -> APIRouter:
    """Routes of the study."""
    routes = APIRouter()

    @routes.get("/study")
    def study(request: Request) -> Json:
        """What is known of it now."""
        opened.refuse_scoped(request)
        if opened.study is None:
            raise QueryError("no study is shown", fix="fovea studio qa.yaml --study NAME.sweep")
        return Json(watch(opened.study))

    @routes.get("/report")
    def report(request: Request) -> Response:
        """The page that `fovea sweep` wrote last."""
        opened.refuse_scoped(request)
        path = opened.study / "report.html" if opened.study else None
        if path is None or not path.is_file():
            raise QueryError("there is no report yet", fix="fovea sweep study.yaml --report")
        return Response(path.read_bytes(), media_type="text/html; charset=utf-8", headers=REPORT)

    return routes
