"""Chunks of bytes: the encoders and routers of a trained two-stage byte network, in numpy, block by block.

    bytes -> gated convolutions -> router 1 -> states at boundaries, wider -> gated convolutions -> router 2

Every layer looks at the past only, so a block needs of those before it just the last rows that convolutions still see
and the last state that the routers compare with. Memory is that of a block, whatever the length of the text, and the
result is that of one pass over all of it. The network itself is `fovea.segmenters.training.byte_network`. Where it was
trained with a mixer in the place of convolutions, that runs in torch, and its state is as large as the mixer's is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fovea.rag.errors import ModelError, require
from fovea.segmenters.convolution import Convolution, product, stack
from fovea.segmenters.routing import opposition

BLOCK = 2048
"""Bytes read at a time."""
OUTER, INNER = 0.0, 1 / 3
"""Places of the two encoders among the stages, from the first to the last, for mixers that differ by layer."""


class ByteChunks(NamedTuple):
    """Where chunks of the first stage start in a text of bytes, and how surely a phrase starts with each."""

    starts: np.ndarray
    """Byte offsets, rising, the first 0: int64 `(chunks,)`."""
    phrase: np.ndarray
    """Probability of a boundary of the second stage: float32 `(chunks,)`; over one half, it is one."""


@dataclass
class Router:
    """p_t = (1 - cos(W_q x_{t-1}, W_k x_t)) / 2, and the last W_q x."""

    query: np.ndarray
    key: np.ndarray
    last: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Probabilities `(n,)` of the next n states; of the very first, 1."""
        queries, keys = product(x, self.query), product(x, self.key)
        before = np.concatenate([np.zeros_like(keys[:1]) if self.last is None else self.last, queries[:-1]])
        p = opposition(before, keys)
        if self.last is None:
            p[0] = 1.0
        self.last = queries[-1:]
        return p


class Reading:
    """One pass over a text of bytes, given in pieces of any size."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], dilations: Sequence[int], mixer: Mapping[str, Any] | None = None
    ) -> None:
        found = {key: np.asarray(value, np.float32) for key, value in arrays.items()}

        try:
            self.widen = found["widen"]
            self.outer, self.inner = _convolved(found, dilations) if mixer is None else _mixed(found, mixer)
            self.outer_router = Router(found["outer_router.query"], found["outer_router.key"])
            self.inner_router = Router(found["inner_router.query"], found["inner_router.key"])
        except KeyError as error:
            raise ModelError(f"the weights of hnet_bytes hold no {error}", fix="train again, or reinstall") from None
        self.read = 0

    def next(self, data: np.ndarray) -> ByteChunks:
        """Chunks that start in the next bytes, uint8 `(n,)`, n > 0."""
        states = self.outer(data)
        at = np.flatnonzero(self.outer_router(states) > 0.5)
        starts, self.read = at + self.read, self.read + len(data)
        if not len(at):
            return ByteChunks(starts, np.zeros(0, np.float32))
        words = np.concatenate([states[at], np.broadcast_to(self.widen, (len(at), len(self.widen)))], axis=1)
        return ByteChunks(starts, self.inner_router(self.inner(words)))


def byte_chunks(
    data: bytes,
    arrays: Mapping[str, np.ndarray],
    dilations: Sequence[int],
    block: int = BLOCK,
    mixer: Mapping[str, Any] | None = None,
) -> ByteChunks:
    """The chunks of a text of bytes, the same for every size of `block`; O(bytes), or what the mixer costs."""
    reading, whole = Reading(arrays, dilations, mixer), np.frombuffer(data, np.uint8)
    parts = [reading.next(whole[at : at + block]) for at in range(0, len(whole), block)]
    if not parts:
        return ByteChunks(np.zeros(0, np.int64), np.zeros(0, np.float32))
    starts, phrase = zip(*parts)
    return ByteChunks(np.concatenate(starts), np.concatenate(phrase))


Stage = Callable[[np.ndarray], np.ndarray]
"""From the next symbols to their states."""


def _convolved(arrays: Mapping[str, np.ndarray], dilations: Sequence[int]) -> tuple[Stage, Stage]:
    embed, (first, *others) = arrays["embed.weight"], stack(arrays, "outer", dilations)
    within = stack(arrays, "inner", dilations)
    table = first.project(embed)  # what the first layer makes of each of the 256 bytes: read, not computed

    def through(layers: Sequence[Convolution], states: np.ndarray) -> np.ndarray:
        for layer in layers:
            states = layer(states)
        return states

    return lambda data: through(others, first.mix(embed[data], table[data])), lambda words: through(within, words)


def _mixed(arrays: Mapping[str, np.ndarray], mixer: Mapping[str, Any]) -> tuple[Stage, Stage]:
    require("torch", extra="models", needed_by=f"hnet_bytes with the mixer {mixer['use']}")
    from fovea.segmenters.mixing.carried import Carried

    embed, outer = arrays["embed.weight"], Carried(arrays, "outer", mixer, OUTER)
    return lambda data: outer(embed[data]), Carried(arrays, "inner", mixer, INNER)
