"""What a dialogue segmenter reads at each gap between turns: how alike the turns around it are, and small words.

    raw, centred     cosine of the w turns before and after the gap, w = 1, 2, 3, 5, 8, 12: of the turns' vectors, and
                     of these less their mean over the 120 turns around; a turn of n words weighs n / (n + 6), since
                     "yes, thanks" is near to anything
    depth            how far the centred cosine climbs on both sides before it falls (Hearst 1997)
    pairs            of the three turns before with the three after: the best and the mean cosine, and that of the two
                     next to the gap
    words, depth     the same of stems, by square root of count times log inverse document frequency, w = 2, 4, 8
    cues             of the two turns before the gap and the two after it: whether it is or ends with a question, how
                     long it is, pronouns, words that open a subject, that turn to the next one, that answer or go on
    beside           each cosine less its mean over the 17 gaps around
    content          vectors themselves, of what was said last, first and next, and the sums of the three turns before
                     and the two after those

Questions count because a question and its answer belong together (utterance pairs: L. Xing and G. Carenini, "Improving
unsupervised dialogue topic segmentation with utterance-pair coherence scoring", 2021), cue words as in M. Galley et
al., "Discourse segmentation of multi-party conversation" (2003). Cue words are English.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fovea.segmenters.blocks import unit
from fovea.segmenters.decode import settled
from fovea.segmenters.products import Counts
from fovea.segmenters.texttiling import block_cosines, depths
from fovea.segmenters.words import counts

WINDOWS = (1, 2, 3, 5, 8, 12)
WORD_WINDOWS = (2, 4, 8)
AROUND = 60
"""Turns on either side over which vectors are centred."""
BESIDE = 8
"""Gaps on either side that a cosine is compared with."""
NEAR = (-1, 0, 1, 2)
"""Turns around a gap whose cues are read: 0 is the one before it, 1 the one after."""
NOTHING = 1e-4
"""Length of a difference of vectors that is rounding error."""
CONTENT = ((0,), (1,), (2,), (-1, -2, -3), (3, 4))
"""Turns around a gap whose vectors are read, numbered alike; those of a block are added up."""
BLOCKS = len(CONTENT)
HALF = 6
"""Words of a turn that weighs a half."""

_WORDS = re.compile(r"\w+")
_OPENS = re.compile(
    r"^\W*(hi|hello|hey|good (morning|afternoon|evening)|welcome|anyways?|so|ok(ay)?|al(l )?right|right|now|next|well|"
    r"by the way|btw|also|moving on|let'?s|i('?m| am) (looking|trying|interested)|i (need|want|would like|'?d like)|"
    r"can you|could you|please|what|where|how|do you|have you|guess)\b",
    re.I,
)
_TURNS = re.compile(
    r"\b(next|agenda|move on|moving on|go on to|another (topic|thing|question|issue)|by the way|btw|anyway|"
    r"speaking of|change the subject|turn to|item)\b",
    re.I,
)
_GOES_ON = re.compile(
    r"^\W*(yes|yeah|yep|no|nope|ok|okay|sure|right|mm|mhm|uh|hmm|oh|true|exactly|really|wow|cool|nice|great|lol|haha|"
    r"me too|i see|that|it|he|she|they|them|this|those|and|but|because|so)\b",
    re.I,
)
_PRONOUNS = re.compile(r"\b(it|its|he|she|they|them|that|this|those|these|one|him|her|there)\b", re.I)
_LONG = 4
"""Log of the words of a turn that counts as 1."""
CUES = 7


def features(texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
    """Float32 `(gaps, COLUMNS)` of turns and their unit vectors `(turns, dim)`. O(turns * dim * windows)."""
    weights = salience(texts)
    centred = _directions(vectors - _mean_around(vectors, weights))
    raw = np.stack([_block_cosines(vectors, weights, w) for w in WINDOWS], 1)
    inner = np.stack([_block_cosines(centred, weights, w) for w in WINDOWS], 1)
    pairs, rows = _pairs(vectors), _by_rarity(counts(texts))
    words = np.stack([block_cosines(rows, w) for w in WORD_WINDOWS], 1)
    cosines = settled(np.concatenate([raw, inner, pairs, words], 1))
    inner, words = cosines[:, len(WINDOWS) : 2 * len(WINDOWS)], cosines[:, -len(WORD_WINDOWS) :]
    found = [cosines, _each(depths, inner), _each(depths, words), _around(cues(texts)), cosines - _beside(cosines)]
    return np.concatenate(found, 1, dtype=np.float32)


def content(texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
    """Float32 `(gaps, BLOCKS * dim)`: vectors by the salience of their turns, zero beyond the ends."""
    n, most = len(texts), max(abs(turn) for block in CONTENT for turn in block)
    rows = np.pad(vectors * salience(texts)[:, None], [(most, most), (0, 0)])
    found = [sum(rows[most + turn :][: n - 1] for turn in block) for block in CONTENT]
    return np.concatenate(found, 1, dtype=np.float32)


COSINES = 2 * len(WINDOWS) + 3 + len(WORD_WINDOWS)
COLUMNS = 2 * COSINES + len(WINDOWS) + len(WORD_WINDOWS) + CUES * len(NEAR)


def salience(texts: Sequence[str]) -> np.ndarray:
    """n / (n + 6) of the words in each text, a half where there are none: float64 `(texts,)`."""
    size = np.array([max(len(_WORDS.findall(text)), 0.5) for text in texts])
    return size / (size + HALF)


def cues(texts: Sequence[str]) -> np.ndarray:
    """Float64 `(texts, CUES)`."""
    found = np.zeros((len(texts), CUES))
    for row, text in enumerate(texts):
        size = len(_WORDS.findall(text))
        found[row] = (
            text.rstrip().endswith(("?", "？")), "?" in text or "？" in text, bool(_OPENS.match(text)),
            bool(_TURNS.search(text)), bool(_GOES_ON.match(text)), min(math.log1p(size) / _LONG, 1.5),
            len(_PRONOUNS.findall(text)) / (size + 3),
        )  # fmt: skip
    return found


def _directions(rows: np.ndarray) -> np.ndarray:
    """Of unit length; zero where what is left is rounding error."""
    return unit(np.where(np.linalg.norm(rows, axis=1, keepdims=True) > NOTHING, rows, 0))


def _sums(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])


def _mean_around(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    at, n = np.arange(len(vectors)), len(vectors)
    first, stop = np.maximum(at - AROUND, 0), np.minimum(at + AROUND + 1, n)
    total, weight = _sums(vectors * weights[:, None]), np.concatenate([[0], np.cumsum(weights)])
    return (total[stop] - total[first]) / (weight[stop] - weight[first])[:, None]


def _block_cosines(vectors: np.ndarray, weights: np.ndarray, window: int) -> np.ndarray:
    """Cosine of the weighted sums before and after each gap; 0 where a side has no direction: float64 `(gaps,)`."""
    n, total = len(vectors), _sums(vectors * weights[:, None])
    gap = np.arange(1, n)
    left, right = total[gap] - total[np.maximum(gap - window, 0)], total[np.minimum(gap + window, n)] - total[gap]
    return (_directions(left) * _directions(right)).sum(1)


def _pairs(vectors: np.ndarray) -> np.ndarray:
    """Best, mean and nearest cosine of the three turns before each gap with the three after: float64 `(gaps, 3)`."""
    n = len(vectors)
    found = np.full((9, n - 1), np.nan)
    for before in range(3):
        for after in range(3):
            size = n - 1 - before - after
            if size > 0:
                products = np.einsum("ij,ij->i", vectors[:size], vectors[before + after + 1 :])
                found[3 * before + after, before : before + size] = products
    return np.stack([np.nanmax(found, 0), np.nan_to_num(found).mean(0), found[0]], 1)


def _by_rarity(rows: Counts) -> Counts:
    """Square roots of counts by log((texts + 1) / (texts with the stem + 1/2)), at least 0."""
    holds = np.bincount(rows.term) if len(rows.term) else np.zeros(1)
    rarity = np.maximum(np.log((len(rows) + 1) / (holds + 0.5)), 0)
    return replace(rows, value=(np.sqrt(rows.value) * rarity[rows.term]).astype(np.float32))


def _each(measure, columns: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.stack([measure(column) for column in columns.T], 1)


def _around(found: np.ndarray) -> np.ndarray:
    """The cues of the turns NEAR each gap, zero beyond the ends: float64 `(gaps, CUES * len(NEAR))`."""
    n = len(found)
    padded = np.pad(found, [(1, 1), (0, 0)])
    return np.concatenate([padded[1 + near :][: n - 1] for near in NEAR], 1)


def _beside(columns: np.ndarray) -> np.ndarray:
    """The mean over the gaps around each, itself among them."""
    at, n = np.arange(len(columns)), len(columns)
    first, stop, total = np.maximum(at - BESIDE, 0), np.minimum(at + BESIDE + 1, n), _sums(columns)
    return (total[stop] - total[first]) / (stop - first)[:, None]
