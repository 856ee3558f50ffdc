"""Which engine `auto` means, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attention_retrieval.engine import Engine

if TYPE_CHECKING:
    from attention_retrieval.methods.retrieval import Retrieval


def chosen(settings: Retrieval, tokens: int) -> tuple[Engine, str]:
    """The engine for an index over `tokens` keys, and a sentence that says why."""
    if settings.engine != "auto":
        return settings.engine, f"{settings.engine.name} was asked for"
    return Engine.model_validate({"use": "flat"}), f"flat: {tokens:,} keys are scanned"
