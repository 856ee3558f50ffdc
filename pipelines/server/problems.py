"""Errors as clients see them: what is wrong and what mends it, as one shape of JSON, without a path of this machine.

    {"error": {"message": ..., "type": ..., "where": ..., "fix": ...}}

The routes below /v1/ have `param` and `code` too, as OpenAI's clients expect. What is left out here is in the log.
"""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fovea.pipelines.documents_under import NoDocument
from fovea.pipelines.hidden_paths import HIDDEN
from fovea.pipelines.hidden_paths import clean as clean
from fovea.rag.errors import (
    ConfigError,
    DocumentError,
    FoveaError,
    LockedError,
    ModelError,
    QueryError,
    StoreError,
    nearest,
)

STATUS: dict[type[FoveaError], int] = {
    NoDocument: 404, QueryError: 400, DocumentError: 422, LockedError: 409, StoreError: 409, ModelError: 502,
}  # fmt: skip
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 408: "timeout_error", 409: "conflict_error", 413: "request_too_large",
    421: "invalid_request_error", 422: "invalid_request_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


class Gone(Exception):
    """The client has gone: nobody is there to be answered."""


class Problem(HTTPException):
    """What a request cannot have, with the status that says so."""

    def __init__(self, status: int, message: str, *, where: str = "", fix: str = "", retry_after: int = 0) -> None:
        super().__init__(status, message)
        self.status, self.message, self.where, self.fix = status, message, where, fix
        self.headers: dict[str, str] = {"Retry-After": str(retry_after)} if retry_after else {}
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    def body(self, path: str) -> dict[str, Any]:
        """The JSON of the answer to a request for `path`."""
        found = {"message": self.message, "type": KINDS.get(self.status, "server_error")}
        found |= {key: text for key, text in (("where", self.where), ("fix", self.fix)) if text}
        if path.startswith("/v1/"):
            found |= {"param": None, "code": found["type"] if self.status != 404 else "model_not_found"}  # type: ignore[dict-item]
        return {"error": found}

    def response(self, path: str) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body(path), self.status, self.headers)


def cleaned(data: Any) -> Any:
    """Plain data, such as a trace, with every text in it clean."""
    if isinstance(data, str):
        return clean(data)
    if isinstance(data, dict):
        return {clean(str(key)): cleaned(value) for key, value in data.items()}
    return [cleaned(item) for item in data] if isinstance(data, (list, tuple)) else data


def problem_of(error: Exception) -> Problem:
    """The problem that an error is for a client. One that is no error of ours says nothing about itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, RequestValidationError):
        return _of_request(error)
    if isinstance(error, TimeoutError):
        return Problem(
            504, "the answer took longer than this server allows", fix="ask for less, or raise serve.timeout"
        )
    if not isinstance(error, FoveaError):
        return Problem(500, "the server failed; its log says how")
    status = next((code for cls, code in STATUS.items() if isinstance(error, cls)), 500)
    if status == 500 or isinstance(error, ConfigError):
        return Problem(500, f"the pipeline cannot answer: {clean(error.what)}", fix=clean(error.fix))
    allowed = f" (allowed: {', '.join(error.allowed)})" if error.allowed else ""
    near = nearest(error.got, error.allowed)
    meant = f"; did you mean {near!r}?" if near else ""
    where = clean(error.where)
    return Problem(
        status,
        clean(f"{error.what}{meant}{allowed}"),
        where="" if HIDDEN in where else where,
        fix=clean(error.fix),
    )


def _of_request(error: RequestValidationError) -> Problem:
    """What FastAPI found wrong with a request, by the first of its errors; the others are counted."""
    first, *others = error.errors()
    where = ".".join(str(step) for step in first["loc"])
    if first["type"] == "json_invalid":
        reason = str(first.get("ctx", {}).get("error", ""))
        return Problem(400, f"the body is not JSON: {clean(reason)}", where="body")
    more = f", and {len(others)} more" if others else ""
    return Problem(422, clean(f"{first['msg']}{more}"), where=clean(where), fix="the fields are described at /docs")


def _of_http(error: HTTPException) -> Problem:
    """What the router says: no such route, or not with this method."""
    fix = "the routes are described at /docs" if error.status_code in (404, 405) else ""
    said = {404: "there is no such route", 405: "this route does not take that method"}
    found = Problem(error.status_code, said.get(error.status_code, clean(str(error.detail))), fix=fix)
    found.headers |= dict(error.headers or {})
    return found
