"""Plain data as JSON of ASCII alone: also halves of surrogate pairs, which UTF-8 does not have, arrive as they are."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


class Plain(JSONResponse):
    """A reply that nothing is checked or rounded in: the routes of the studio say exactly what they mean."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, separators=(",", ":"), default=tuple).encode("ascii")
