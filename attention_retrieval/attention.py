"""Attention: what a model's decoding step looks at, as a component.

generate: {use: transformers, model: ..., attention: {use: retrieval, top_k: 100}}
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

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

    def attended(self, cache: Any) -> np.ndarray | None:
        """What each token got of the decoded tokens' attention, (tokens,), at most 1 in all; None if not kept."""
        return None
