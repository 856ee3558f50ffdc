"""Weighted: a component with weights that were trained, whatever its kind."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from fovea.rag.component import Component
from fovea.rag.trained import Trained, load


class Weighted(Component):
    """Loads weights on first use. Stands before the kind: `class LearnedRetriever(Weighted, Retriever)`."""

    weights: str
    """The name of shipped weights, or the path of one's own."""

    @cached_property
    def trained(self) -> Trained:
        """The weights. Raises ModelError where they cannot be had."""
        return load(self.weights, self.name, self.kind)

    @cached_property
    def fingerprint(self) -> str:
        """What decides the results: settings and the content of what they name, wherever it lies."""
        return self.fingerprint_with(**self.content())

    def content(self) -> dict[str, Any]:
        """The content of what settings only name, by setting."""
        return {"weights": self.trained.digest}
