"""JSON for clients: half surrogate pairs, which texts of documents may hold, as escapes."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


def to_text(data: Any) -> str:
    """One line of JSON that any client reads."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return to_text(content).encode()
