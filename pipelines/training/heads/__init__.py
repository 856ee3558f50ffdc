"""`fovea train heads`: how each head of a local language model looks, learned from the model itself; a file a method.

duo    alphas of `heads: {use: duo}`                    `alphas.py`
moa    spans of `heads: {use: moa}` and of `prefill: {use: moa_bands}`      `spans.py`
act    heads of `correct: {use: act}`                   `gains.py`
sale   thresholds of `prefill: {use: sale}`             `taus.py`
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from fovea.attention_retrieval.head_files import FILES
from fovea.pipelines.training.heads.learning import Learning
from fovea.rag.errors import ConfigError, require
from fovea.rag.training.train import Result

__all__ = ["FILES", "HEADING", "Learning", "lines", "recipe_class", "trained"]

LEARNERS = {"duo": "alphas", "moa": "spans", "act": "gains", "sale": "taus"}
HEADING = "Of the heads:"
"""What the table of a result holds."""


def recipe_class(method: str) -> type[Any]:
    """The recipe of a method; raises ConfigError with those there are."""
    require("torch", extra="local", needed_by="training")
    recipe: type[Any] = _learner(method).RECIPE
    return recipe


def trained(learning: Learning) -> Result | int:
    """Learn, and write the method's file; where the time was up before it could be made, how many texts are done."""
    began = time.monotonic()
    learning.out.mkdir(parents=True, exist_ok=True)
    found = _learner(learning.recipe.method).learn(learning)
    if isinstance(found, Result) and not found.seconds:
        return replace(found, seconds=time.monotonic() - began)
    return found


def lines(result: Result) -> Iterator[str]:
    """What is printed of a result."""
    yield ", ".join(f"{name} {value:.4f}" for name, value in result.scores.items())


def _learner(method: str) -> Any:
    if method not in LEARNERS:
        raise ConfigError(f"no heads called {method!r} can be trained", got=method, allowed=FILES)
    return import_module(f"{__name__}.{LEARNERS[method]}")
