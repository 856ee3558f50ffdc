"""Weighted: a component with weights that were trained, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fovea.rag.component import Component
from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement, package
from fovea.rag.trained import READER, Trained, load

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder


class Weighted(Component):
    """Loads weights on first use. Stands before the kind: `class LearnedRetriever(Weighted, Retriever)`."""

    weights: NameOrPath
    """The name of shipped weights, or the path of one's own."""

    @cached_property
    def trained(self) -> Trained:
        """The weights. Raises ModelError where they cannot be had."""
        return load(self.weights, self.name, self.kind)

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights read the vectors of `encoder`, ModelError where they cannot be had."""
        self.trained.check(encoder, where=self.kind)

    def reads(self) -> Iterator[Requirement]:
        """What must be there before the weights can be looked at."""
        yield package(*READER, f"the {self.kind} {self.name!r}")

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the weights, and that they fit the encoder."""
        yield from super().requirements(encoder)
        first = list(self.reads())
        yield from first

        def check() -> None:
            if encoder is None:
                self.content()
            else:
                self.fit(encoder)  # type: ignore[arg-type]

        if not any(one.lacking for one in first):
            yield Requirement(f"the weights {self.weights!r}", check)

    @cached_property
    def fingerprint(self) -> str:
        """What decides the results: settings and the content of what they name, wherever it lies."""
        return self.fingerprint_with(**self.content())

    def content(self) -> dict[str, Any]:
        """The content of what settings only name, by setting."""
        return {"weights": self.trained.digest}
