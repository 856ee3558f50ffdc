"""The event head: a question's vector looks at events, and moves towards what they say of its time.

With q the question's vector, v_1 .. v_k those of events, and tau_j what their times are to that of the question,

    logit_j = (W_q q + b) . (W_k [v_j; tau_j]) / sqrt(width) + near (q . v_j) + times . tau_j      for every head
    logit_0 = (W_q q + b) . null / sqrt(width) + nothing                                           no event matters
    a       = softmax(logit_0, logit_1 .. logit_k)
    h       = sum over heads of share (sum a_j v_j) + W_o [sum a_j W_v [v_j; tau_j]]
    g       = sigmoid(w . [q; h; q * h] + c)
    q'      = unit(q + g h)                            pull = g |h| / |q|

`share` and W_o begin as zero, so before training q' = q; without events too, whatever was learned: all attention is
then on the null key, which has no value. The same weighting w, with a row of its own, says how much the moment of
asking matters to a question that names no time.

The idea is that of "Event-driven Real-time Retrieval in Web Search" (N. Yang et al., 2023): query and event joined by
cross-attention, passages left as they are. The terms `near`, `times` and `share` are ours: what any training would
find first (an event like the question matters more, a new one more than an old one, its vector is worth adding as it
is) is there to be scaled, so that a few hundred questions are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log, pi
from typing import TYPE_CHECKING, NamedTuple

from fovea.retrievers.time.days import DAYS_A_YEAR

if TYPE_CHECKING:
    import numpy as np

FREQUENCIES = 8
FEATURES = 2 * FREQUENCIES + 2
"""Numbers that say what an event's time is to the question's."""
_OLDEST = 3000 * DAYS_A_YEAR
_DAY = 1 / 24
"""The age that counts as none, an hour."""


class Moved(NamedTuple):
    """What became of a question's vector."""

    vector: np.ndarray
    """Float32 `(dim,)`, of unit length."""
    gate: float
    """g: how far the gate stands open, whatever comes through it."""
    moment: float
    """How much the moment of asking matters, between 0 and 1."""
    null: float
    """Attention on no event, mean over heads."""
    pull: float = 0.0
    """g |h| / |q|: how much events weigh beside the question."""


def time_features(starts: np.ndarray, ends: np.ndarray, first: float, at: float) -> np.ndarray:
    """tau of events, float32 `(events, 18)`: sine and cosine of the logarithm of their age at the moment `at` (days
    since their start, from an hour to 3,000 years) at 8 frequencies; whether they reach into the days `first` to `at`,
    and whether they ended before them.
    """
    import numpy as np

    age = np.log(np.maximum(at - starts, _DAY) / _DAY) / log(_OLDEST / _DAY)
    angles = age[:, None] * pi * 2.0 ** (np.arange(FREQUENCIES) / 2)
    flags = np.stack([ends >= first, ends < first], 1)
    return np.concatenate([np.sin(angles), np.cos(angles), flags], 1).astype(np.float32)


def moved(question: np.ndarray, events: np.ndarray, times: np.ndarray, arrays: Mapping[str, np.ndarray]) -> Moved:
    """q' of a unit vector `(dim,)`, events `(events, dim)` and their tau `(events, 18)`. O(events * dim * width)."""
    import numpy as np

    heads, width = arrays["null"].shape
    read = np.concatenate([events, times], 1)
    asked = (arrays["query.weight"] @ question + arrays["query.bias"]).reshape(heads, width)
    keys = (read @ arrays["key.weight"].T).reshape(-1, heads, width)
    logits = np.einsum("hd,khd->hk", asked, keys) / width**0.5
    logits += arrays["near"][:, None] * (events @ question) + arrays["times"] @ times.T
    nothing = (asked * arrays["null"]).sum(1) / width**0.5 + arrays["nothing"]
    logits = np.concatenate([nothing[:, None], logits], 1)
    attention = np.exp(logits - logits.max(1, keepdims=True))
    attention /= attention.sum(1, keepdims=True)
    weights = attention[:, 1:]
    context = arrays["share"] @ (weights @ events)
    context = context + arrays["up.weight"] @ (weights @ (read @ arrays["down.weight"].T)).reshape(-1)
    gates = 1 / (1 + np.exp(-(arrays["gate.weight"] @ np.concatenate([question, context, question * context])
                              + arrays["gate.bias"])))  # fmt: skip
    pull = gates[0] * np.linalg.norm(context) / max(float(np.linalg.norm(question)), 1e-9)
    vector = question + gates[0] * context
    vector = (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)
    return Moved(vector, float(gates[0]), float(gates[1]), float(attention[:, 0].mean()), float(pull))
