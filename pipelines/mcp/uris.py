"""The URI of a document's text: `fovea://document/ID`, the id percent-encoded, with `?start=&end=` for a part."""

from __future__ import annotations

from urllib.parse import quote

from fovea.pipelines.mcp.replies import sendable

TEMPLATE = "fovea://document/{document}{?start,end}"


def uri_of(document: str) -> str:
    """The URI of a document by its id."""
    return f"fovea://document/{quote(sendable(document), safe='')}"
