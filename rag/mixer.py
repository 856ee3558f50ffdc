"""Mixer: how each token of a sequence takes up what the tokens before it say.

    y_t = f(x_1, ..., x_t)                 causal: nothing of what follows

One rule in three forms that give the same numbers: `parallel` over a whole sequence, for training, `step` for the next
token, and `chunk` for the next piece of any length. What the last two keep of the past is a `State`; its size is a
formula of the width and of the tokens read, `state_size`.

A mixer's fields are its settings and its weights are the module's that `fovea.segmenters.mixing.module.Mixing` builds:
so listing mixers loads no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from fovea.rag.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST = 4096
Some = Annotated[int, Field(ge=1, le=MOST)]
"""A setting with which weights or memory grow."""
Few = Annotated[int, Field(ge=1, le=256)]
"""One with whose square they do, or that multiplies a matrix."""


class State(NamedTuple):
    """What a mixer keeps of the tokens it has read; before the first there is nothing."""

    seen: int = 0
    """Tokens read."""
    kept: tuple[Tensor, ...] = ()
    """Tensors whose first axis is the batch."""

    @property
    def numbers(self) -> int:
        """Numbers kept of one sequence of the batch."""
        return sum(each[0].numel() for each in self.kept)


class Mixer(Component, kind="mixer"):
    """Makes `(B, T, width)` of `(B, T, width)`, each row of those up to it."""

    packages: ClassVar[Mapping[str, str]] = {"torch": "models"}
    piece: ClassVar[int] = 1024
    """Tokens that `parallel` reads at a time: what bounds its memory."""

    @abstractmethod
    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """New weights for a width, by name: modules, parameters, and tensors that are not trained.

        Raises ConfigError where the width does not suit the settings.
        """

    @abstractmethod
    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next tokens `(B, T, width)`, T > 0, after those of `state`; `net` holds the parts as attributes."""

    @abstractmethod
    def state_size(self, width: int, tokens: int) -> int:
        """Numbers kept of a sequence of which so many tokens have been read, from 1."""

    def parallel(self, net: Any, x: Tensor) -> Tensor:
        """A whole sequence `(B, T, width)`: pieces of it one after another, unless a mixer knows better."""
        import torch

        made, state = [], State()
        for part in x.split(self.piece, dim=1):
            y, state = self.chunk(net, part, state)
            made.append(y)
        return torch.cat(made, dim=1)
