"""Chunks of bytes: the encoders and routers of a trained two-stage byte network, in numpy, block by block.

    bytes -> gated convolutions -> router 1 -> states at boundaries, wider -> gated convolutions -> router 2

Every layer looks at the past only, so a block needs of those before it just the last rows that convolutions still see
and the last state that the routers compare with. Memory is that of a block, whatever the length of the text, and the
result is that of one pass over all of it. The network itself is `fovea.segmenters.training.byte_network`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fovea.segmenters.convolution import product, stack
from fovea.segmenters.routing import opposition

BLOCK = 2048
"""Bytes read at a time."""


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

    def __init__(self, arrays: Mapping[str, np.ndarray], dilations: Sequence[int]) -> None:
        found = {key: np.asarray(value, np.float32) for key, value in arrays.items()}

        self.embed, self.widen = found["embed.weight"], found["widen"]
        self.outer, self.inner = stack(found, "outer", dilations), stack(found, "inner", dilations)
        self.outer_router = Router(found["outer_router.query"], found["outer_router.key"])
        self.inner_router = Router(found["inner_router.query"], found["inner_router.key"])
        self.table = self.outer[0].project(self.embed)
        """What the first layer makes of each of the 256 bytes: read, not computed."""
        self.read = 0

    def next(self, data: np.ndarray) -> ByteChunks:
        """Chunks that start in the next bytes, uint8 `(n,)`, n > 0."""
        states = self.outer[0].mix(self.embed[data], self.table[data])
        for layer in self.outer[1:]:
            states = layer(states)
        at = np.flatnonzero(self.outer_router(states) > 0.5)
        starts, self.read = at + self.read, self.read + len(data)
        if not len(at):
            return ByteChunks(starts, np.zeros(0, np.float32))
        words = np.concatenate([states[at], np.broadcast_to(self.widen, (len(at), len(self.widen)))], axis=1)
        for layer in self.inner:
            words = layer(words)
        return ByteChunks(starts, self.inner_router(words))


def byte_chunks(
    data: bytes, arrays: Mapping[str, np.ndarray], dilations: Sequence[int], block: int = BLOCK
) -> ByteChunks:
    """The chunks of a text of bytes, the same for every size of `block`; O(bytes)."""
    reading, whole = Reading(arrays, dilations), np.frombuffer(data, np.uint8)
    parts = [reading.next(whole[at : at + block]) for at in range(0, len(whole), block)]
    if not parts:
        return ByteChunks(np.zeros(0, np.int64), np.zeros(0, np.float32))
    starts, phrase = zip(*parts)
    return ByteChunks(np.concatenate(starts), np.concatenate(phrase))
