"""Which part of a set each document is for, where the set does not say so itself."""

from __future__ import annotations

from fovea.rag.training.files import eighth
from fovea.retrievers.collection import Split


def drawn(name: str) -> Split:
    """By the hash of its name: a quarter to test, one eighth to develop on, the rest to train on."""
    parts: dict[int, Split] = {0: "test", 1: "test", 2: "dev"}
    return parts.get(eighth(name), "train")
