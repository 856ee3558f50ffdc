"""The pointer network's forward pass in NumPy: states of units, and where the segment that begins at a unit ends.

    x_i   the vector of unit i beside its centred one                                    (units, 2 dim)
    f_i   block similarities at the gap before unit i, and whether a paragraph ends there (units, 11)
    h     gated dilated convolutions over W x + F f, each unit seeing 30 units either way  (units, width)
    g_i   a gap by itself: MLP of [h_i, h_i+1, h_i h_i+1, f_i+1]                          (gaps,)
    u_mj  = v . tanh(A h_j + D h_m) + g_j + l_(j-m), j = m .. m + reach - 1                (units, reach)

softmax_j(u_m) is the probability that a segment beginning at m ends with unit j; the text's last unit is always a
candidate. Going over all ways to segment, the probability that some segment ends with unit j is

    a_0 = 1, a_(j+1) = sum over m <= j of a_m softmax_j(u_m)

and a gap's score is the mean of sigmoid(g) and a. Long texts are taken in blocks that overlap by what a state can see,
so memory stays bounded and results do not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fovea.segmenters.blocks import block_cosines, unit

BLOCK = 1024
"""Units computed at a time."""
DILATIONS = (1, 2, 4, 8)
KERNEL = 5
SEEN = sum(DILATIONS) * (KERNEL - 1) // 2
"""Units on either side that a state depends on."""

Arrays = Mapping[str, np.ndarray]


def features(vectors: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    """Float32 `(units, 11)`: what is known of the gap before each unit; zeros before the first."""
    mean = vectors.mean(axis=0, keepdims=True)
    gaps = np.concatenate([block_cosines(vectors), block_cosines(vectors, mean=mean), breaks[:, None]], axis=1)
    return np.concatenate([np.zeros((1, gaps.shape[1])), gaps]).astype(np.float32)


def scores(vectors: np.ndarray, breaks: np.ndarray, net: Arrays) -> np.ndarray:
    """How surely a topic ends at each gap: float64 `(gaps,)`. O(units * reach)."""
    known = features(vectors, breaks)
    mean, n, reach = vectors.mean(axis=0, keepdims=True), len(vectors), len(net["length"])
    alone, ends = np.zeros(n), np.zeros((n, reach), np.float32)
    for low, high in _blocks(n):
        # States are needed for every candidate of the block's starts, and each depends on SEEN more on either side.
        a, b = max(0, low - SEEN), min(n, high + reach + SEEN)
        part = vectors[a:b]
        both = np.concatenate([part, unit(part - mean)], axis=1)
        h = states(both, known[a:b], net)[low - a : min(n, high + reach) - a]
        g = np.concatenate([gap_logits(h, known[low : low + len(h)], net), [0.0]])
        alone[low:high] = g[: high - low]
        ends[low:high] = end_probabilities(h, g, high - low, net)
    return (1 / (1 + np.exp(-alone[:-1])) + marginals(ends)) / 2


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    return ((low, min(n, low + BLOCK)) for low in range(0, n, BLOCK))


def states(both: np.ndarray, known: np.ndarray, net: Arrays) -> np.ndarray:
    """Float32 `(units, width)`."""
    h = both @ net["read.weight"].T + net["read.bias"] + known @ net["known.weight"].T + net["known.bias"]
    for layer, dilation in enumerate(DILATIONS):
        name = f"layers.{layer}"
        x = _normal(h, net[f"{name}.norm.weight"], net[f"{name}.norm.bias"])
        weight, y = net[f"{name}.conv.weight"], np.tile(net[f"{name}.conv.bias"], (len(x), 1))
        for tap in range(KERNEL):
            _add_shifted(y, x @ weight[:, :, tap].T, (tap - KERNEL // 2) * dilation)
        value, gate = np.split(y, 2, axis=1)
        h = h + (value / (1 + np.exp(-gate))) @ net[f"{name}.out.weight"].T + net[f"{name}.out.bias"]
    return _normal(h, net["norm.weight"], net["norm.bias"])


def gap_logits(h: np.ndarray, known: np.ndarray, net: Arrays) -> np.ndarray:
    """What the states on either side say of a gap: `(gaps,)`."""
    x = np.concatenate([h[:-1], h[1:], h[:-1] * h[1:], known[1:]], axis=1)
    x = np.maximum(x @ net["gap.0.weight"].T + net["gap.0.bias"], 0)
    return (x @ net["gap.1.weight"].T + net["gap.1.bias"])[:, 0]


def end_probabilities(h: np.ndarray, g: np.ndarray, count: int, net: Arrays) -> np.ndarray:
    """For the first `count` units as starts, where their segments end: `(count, reach)`, rows sum to 1."""
    reach = len(net["length"])
    keys, starts = h @ net["key.weight"].T + net["key.bias"], h[:count] @ net["start.weight"].T
    at = np.arange(count)[:, None] + np.arange(reach)
    there = at < len(h)
    at = np.minimum(at, len(h) - 1)
    u = np.tanh(keys[at] + starts[:, None]) @ net["vote.weight"][0] + g[at] + net["length"]
    u = np.where(there, u, -np.inf)
    u = np.exp(u - u.max(axis=1, keepdims=True))
    return u / u.sum(axis=1, keepdims=True)


def marginals(ends: np.ndarray) -> np.ndarray:
    """The probability that a segment ends at each gap: float64 `(gaps,)` from where segments end, `(units, reach)`."""
    n, reach = ends.shape
    begins = np.zeros(n + reach)
    begins[0] = 1.0
    for m in range(n):
        begins[m + 1 : m + 1 + reach] += begins[m] * ends[m]
    return np.clip(begins[1:n], 0, 1)


def _normal(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5) * weight + bias


def _add_shifted(y: np.ndarray, x: np.ndarray, shift: int) -> None:
    """y[i] += x[i + shift], where there is such a row."""
    if abs(shift) >= len(x):
        return
    if shift >= 0:
        y[: len(x) - shift] += x[shift:]
    else:
        y[-shift:] += x[:shift]
