"""How alike two sentences are, on a scale that means the same for every encoder, and how much one says of the other.

Encoders place unrelated sentences at cosines from 0 to 0.8. So the scale is measured, not assumed: `likeness` is 0 at
the mean cosine of unrelated sentences and 1 at the mean cosine of sentences that say the same in other words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

SAME = (
    ("The shop is closed on Sundays.", "On Sundays the store does not open."),
    ("Water boils at 100 degrees Celsius.", "The boiling point of water is 100 degrees Celsius."),
    ("She was born in Lisbon.", "Her birthplace is Lisbon."),
    ("The committee rejected the budget.", "The budget was turned down by the committee."),
    ("Prices rose by 4 percent last year.", "Last year saw an increase in prices of 4 percent."),
    ("The bridge connects the two islands.", "Both islands are joined by the bridge."),
    ("Bees gather pollen from flowers.", "Pollen is collected from flowers by bees."),
    ("The engine failed shortly after takeoff.", "Soon after takeoff the engine broke down."),
    ("He wrote the novel in three weeks.", "It took him three weeks to write the novel."),
    ("The vaccine protects children against measles.", "Children are kept safe from measles by the vaccine."),
)
"""Pairs of sentences with one meaning; any two of different pairs have nothing to do with each other."""

_scales: dict[str, tuple[float, float]] = {}


def scale(encoder: Encoder) -> tuple[float, float]:
    """The mean cosines `(unrelated, same)` of `SAME` under `encoder`; measured once a process and encoder."""
    if (key := encoder.fingerprint) not in _scales:
        left = encoder.encode([a for a, _ in SAME], role="query")
        right = encoder.encode([b for _, b in SAME])
        cosines, n = left @ right.T, len(SAME)
        same = float(cosines.trace()) / n
        _scales[key] = (float(cosines.sum()) - n * same) / (n * n - n), same
    return _scales[key]


def likeness(encoder: Encoder, cosines: np.ndarray) -> np.ndarray:
    """Cosines of any shape on the scale of `encoder`: `(cosine - unrelated) / (same - unrelated)`.

    An encoder that cannot tell the two apart gives zeros: it is no evidence.
    """
    unrelated, same = scale(encoder)
    return (cosines - unrelated) / (same - unrelated) if same - unrelated > 1e-3 else cosines * 0.0


def weights(bags: Sequence[frozenset[str]]) -> Mapping[str, float]:
    """How telling each word is among `bags` of words: `ln(1 + (n - df + 1/2) / (df + 1/2))`, as in BM25."""
    n, df = len(bags), Counter(word for bag in bags for word in bag)
    unseen = math.log(1 + (n + 0.5) / 0.5)
    return _Weights({word: math.log(1 + (n - f + 0.5) / (f + 0.5)) for word, f in df.items()}, unseen)


class _Weights(dict[str, float]):
    def __init__(self, known: Mapping[str, float], unseen: float) -> None:
        super().__init__(known)
        self.unseen = unseen

    def __missing__(self, word: str) -> float:
        return self.unseen


def cover(asked: Iterable[str], said: frozenset[str], weight: Mapping[str, float]) -> float:
    """The share of the weight of `asked` that is in `said`, 0 to 1; 0 if nothing is asked."""
    asked = list(asked)
    total = sum(weight[word] for word in asked)
    return sum(weight[word] for word in asked if word in said) / total if total else 0.0
