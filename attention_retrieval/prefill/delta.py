"""DeltaLLM: a key is what changed since the one before it, and what hardly changed did not.

    in every segment, by channel:   k~_0 = k_0,   k~_t = k_t where |k_t - k~_(t-1)| > threshold * spread, else k~_(t-1)
    far                             scores of k~; of keys in a row whose k~ are the same there is one, with the weight
                                    log(how many), and with the mean of their values: what all together give
    near                            the block itself and the last `window` tokens before it, and sinks: exact

so no channel of a far key is off by more than threshold * spread, the standard deviation of the channel in its segment.
The paper skips the multiplications of single channels that did not change, 60 % of them; a CPU with vectors gains
nothing by that, only by keys that are the same in every channel, so this measures what the approximation costs in
quality, not in time. Made from the paper's abstract: the threshold, the segments, which begin anew so that errors do
not last and all are found at once, and the keys that are read as one are this file's.
(J. Qi et al., "DeltaLLM: A training-free framework exploiting temporal sparsity for efficient edge LLM inference",
2025, arXiv 2507.19608)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.columns import Columns, Means
from fovea.attention_retrieval.prefill.key_blocks import BlockSize
from fovea.attention_retrieval.prefill.prefill import Block, Prefill

if TYPE_CHECKING:
    import torch


class DeltaLLM(Prefill, name="delta"):
    """Far keys by thresholded deltas."""

    threshold: Annotated[float, Field(ge=0, le=1e6)] = 0.3
    """How much of a channel's standard deviation in its segment is no change; 0 is full attention."""

    segment: PositiveInt = 64
    """Tokens after which a key is taken as it is."""

    window: NonNegativeInt = 512
    """The last tokens before a block, which it reads exactly."""

    block: BlockSize = 256
    """Tokens that share where far begins."""

    @property
    def rows(self) -> int:
        """A block."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """O(rows * d) a head for each piece of a prompt; a mean for every far key that changed in any channel."""
        begin = -(-block.sinks // self.segment) * self.segment
        far = max(block.start - self.window, 0) // self.segment * self.segment
        if far <= begin:
            return Columns([np.arange(block.start)])
        ids = np.concatenate([np.arange(begin), np.arange(far, block.start)])
        if "held" not in block.memo:
            block.memo["held"] = self._held(block.keys)
        keys, values = block.memo["held"][:, begin:far], block.values[:, begin:far].float().cpu().numpy()
        means = [alike(*each, self.segment) for each in zip(keys, values)]
        return Columns([ids] * len(keys), means=[_like(block.keys, *each) for each in means])

    def _held(self, given: torch.Tensor) -> np.ndarray:
        """What stands for the keys (kv heads, rows, d) of all segments that are whole."""
        whole = given.shape[1] // self.segment * self.segment
        keys = given[:, :whole].float().cpu().numpy()
        return held(keys.reshape(len(keys), -1, self.segment, keys.shape[2]), self.threshold).reshape(keys.shape)


def held(keys: np.ndarray, threshold: float) -> np.ndarray:
    """What stands for keys (..., segment, d): each channel as it was when it last changed."""
    bar = threshold * keys.std(axis=-2)
    stand = keys.copy()
    for token in range(1, keys.shape[-2]):
        before, now = stand[..., token - 1, :], keys[..., token, :]
        stand[..., token, :] = np.where(np.abs(now - before) > bar, now, before)
    return stand


def alike(keys: np.ndarray, values: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys (n, d) of which equal ones in a row, within a segment, are one; their mean values, and how many they are."""
    new = np.arange(len(keys)) % segment == 0
    new[1:] |= (keys[1:] != keys[:-1]).any(axis=1)
    first = np.flatnonzero(new)
    count = np.diff(first, append=len(keys))
    return keys[first], (np.add.reduceat(values, first, axis=0) / count[:, None]).astype(np.float32), count


def _like(given: torch.Tensor, keys: np.ndarray, values: np.ndarray, count: np.ndarray) -> Means:
    """As tensors like those of the layer."""
    return Means(given.new_tensor(keys), given.new_tensor(values), count)
