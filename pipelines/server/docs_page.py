"""`/docs`: the routes as one page, made here from the OpenAPI description: no script, no foreign host."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from fovea.pipelines.server.served import Served

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2.5rem 0 .25rem; font-size: 1.05rem }
h2 code { font-size: 1rem }
p { margin: .25rem 0 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0 }
td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
td code, h2 code { overflow-wrap: anywhere }
@media (max-width: 40rem) {
  tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
  td { border: 0; padding-bottom: 0 }
  td:last-child { flex-basis: 100%; padding: 0 0 .25rem }
}
"""


def router(served: Served) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def home() -> Response:
        return RedirectResponse("/docs")

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return HTMLResponse(page(request.app.openapi()), headers={"Content-Security-Policy": POLICY})

    return routes


def page(schema: dict[str, Any]) -> str:
    """The whole page."""
    models = schema.get("components", {}).get("schemas", {})
    parts = [
        _route(method.upper(), path, route, models)
        for path, methods in schema["paths"].items()
        for method, route in methods.items()
    ]
    title, about = escape(schema["info"]["title"]), _prose(schema["info"]["description"])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title} {escape(schema['info']['version'])}</h1>"
        f"<p>{about}</p>"
        f'<p><a href="/openapi.json">OpenAPI description</a></p>{"".join(parts)}</html>'
    )


def _route(method: str, path: str, route: dict[str, Any], models: dict[str, Any]) -> str:
    rows = [
        (p["name"], p["in"], p["schema"], p.get("required", False), p.get("description", ""))
        for p in route.get("parameters", [])
    ]
    for content in route.get("requestBody", {}).get("content", {}).values():
        model = models.get(str(content["schema"].get("$ref", "")).rsplit("/", 1)[-1], {})
        needed = model.get("required", [])
        rows += [
            (name, "body", field, name in needed, field.get("description", ""))
            for name, field in model.get("properties", {}).items()
        ]
    table = "".join(_row(*row) for row in rows)
    return (
        f"<h2><code>{method} {escape(path)}</code> {escape(route.get('summary', ''))}</h2>"
        f"<p>{_prose(route.get('description', ''))}</p>{f'<table>{table}</table>' if table else ''}"
    )


def _prose(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _row(name: str, place: str, field: dict[str, Any], needed: bool, about: str) -> str:
    kinds = [str(way.get("type", "")) for way in field.get("anyOf", [field])]
    kind = " or ".join(dict.fromkeys(k for k in kinds if k and k != "null")) or "object"
    need = "needed" if needed else ""
    cells = (f"<code>{escape(name)}</code>", place, escape(kind), need, _prose(about))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
