"""Which part of a corpus is for what, where the corpus does not say so itself."""

from __future__ import annotations

from fovea.rag.training.files import eighth
from fovea.segmenters.sectioned import Split


def drawn(name: str) -> Split:
    """The part of a corpus that has none of its own: one eighth to test, one to develop on, the rest to train on."""
    parts: dict[int, Split] = {0: "test", 1: "dev"}
    return parts.get(eighth(name), "train")
