"""Attention: what a model's decoding step looks at, as a component.

generate: {use: transformers, model: ..., attention: {use: retrieval, top_k: 100}}
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fovea.attention_retrieval.rotation import Rotation
from fovea.rag.component import Component


class Attention(Component, kind="attention"):
    """A method of attention for a causal language model of transformers."""

    default: ClassVar[str] = "retrieval"
    packages: ClassVar[Mapping[str, str]] = {"transformers": "attention", "numba": "attention"}

    @abstractmethod
    def implementation(self) -> str:
        """The model's `attn_implementation`, which transformers knows from now on."""

    @abstractmethod
    def cache(self, config: Any) -> Any:
        """A new, empty cache for one generation with a model of `config`: its `cache`."""

    def summary(self, cache: Any) -> str:
        """What the cache did, in a line for the trace; nothing where there is nothing to say."""
        return ""

    @property
    def wants_heads(self) -> bool:
        """Whether it is to watch heads that only a model's table knows."""
        return False

    def with_heads(self, heads: Sequence[tuple[int, int]]) -> Attention:
        """The same, watching these, (layer, head) from 0."""
        return self

    @property
    def wants_table(self) -> str:
        """The kind of a model's table whose scores its policy of heads takes; "" for none."""
        return ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> Attention:
        """The same, with the rows of that table: for each (layers, query heads)."""
        return self

    @property
    def wants_rotation(self) -> bool:
        """Whether it moves keys and has not been told how the model turns them."""
        return False

    def with_rotation(self, rotation: Rotation) -> Attention:
        """The same, for a model that turns its keys so."""
        return self

    def check_model(self, model: str, identity: Callable[[str], str]) -> None:
        """Raise ConfigError where a part of it was learned on another model than `model`, by what identifies that."""
        return

    def attended(self, cache: Any) -> np.ndarray | None:
        """What each token got of the decoded tokens' attention, (tokens,), at most 1 in all; None if not kept."""
        return None
