"""The files of the page: read once, served under a policy that lets nothing from elsewhere run."""

from __future__ import annotations

from hashlib import blake2b
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "require-trusted-types-for 'script'"
)
"""No inline script or style, no eval, no foreign host, and no markup made of text."""
GUARDS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def pages() -> dict[str, bytes]:
    """Every file of the page, by name."""
    folder = files("fovea.pipelines.studio").joinpath("static")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.split(".")[-1] in TYPES}


def router() -> APIRouter:
    """`/studio/` and the files beside it."""
    routes, known = APIRouter(include_in_schema=False), pages()
    tags = {name: f'"{blake2b(content, digest_size=8).hexdigest()}"' for name, content in known.items()}

    @routes.get("/")
    @routes.get("/{name}")
    def page(request: Request, name: str = "index.html") -> Response:
        if name not in known:
            raise HTTPException(404, "the studio has no such file")
        guards = {**GUARDS, "ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=guards)
        return Response(known[name], media_type=f"{TYPES[name.split('.')[-1]]}; charset=utf-8", headers=guards)

    return routes
