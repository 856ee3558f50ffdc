"""A mixin for PyYAML's loaders: flow collections nested deeper than anyone writes are refused.

Its scanner looks at every open bracket for each token, so that a text of n brackets takes time proportional to n * n.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 100
"""Brackets that are open at once."""


class Shallow:
    """Stands before one of PyYAML's loaders among the bases of a class; loading raises RecursionError."""

    flow_level: int

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Read `[` or `{`."""
        if self.flow_level >= DEEPEST:
            raise RecursionError(f"more than {DEEPEST} brackets are open")
        super().fetch_flow_collection_start(token)  # type: ignore[misc]  # of the loader behind it
