"""Queries made of passages, to train on: a few telling words, or a part of the text. No question need be written.

    keywords   the words w of a passage with the highest tf(w) ln(N / df(w)), each score times a draw of [1/2, 3/2]
    part       consecutive tokens from a random place

The two tasks of LexSemBridge (Zhan et al., 2025), jittered so that what is learned is the kind of query and not a rule.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rag.encoder import Tokenizer

KEYWORDS = (2, 5)
"""Words of a query, at least and at most."""
PART = (8, 24)
"""Tokens of a part, at least and at most."""
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True)
class Passages:
    """Texts to make queries of: `idf` is ln(N / df) by word of the N texts, `places` where the tokens of each lie."""

    texts: Sequence[str]
    words: Sequence[Counter[str]]
    idf: dict[str, float]
    places: Sequence[np.ndarray]

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Tokenizer) -> Passages:
        """Read the texts once."""
        words = [Counter(_WORD.findall(text.lower())) for text in texts]
        found = Counter(word for count in words for word in count)
        idf = {word: math.log(len(texts) / df) for word, df in found.items()}
        return cls(texts, words, idf, [tokenizer.offsets(text) for text in texts])

    def __len__(self) -> int:
        return len(self.texts)

    def keywords(self, at: int, rng: np.random.Generator) -> str:
        """Two to five words of passage `at` in order of their jittered scores; empty for a passage without words."""
        count = self.words[at]
        jitter = rng.uniform(0.5, 1.5, len(count))
        scores = {word: tf * self.idf[word] * j for (word, tf), j in zip(count.items(), jitter)}
        best = sorted(scores, key=lambda word: (-scores[word], word))
        return " ".join(best[: rng.integers(KEYWORDS[0], KEYWORDS[1] + 1)])

    def part(self, at: int, rng: np.random.Generator) -> str:
        """Eight to 24 consecutive tokens of passage `at`, or all that it has, as the text has them."""
        places, size = self.places[at], int(rng.integers(PART[0], PART[1] + 1))
        if not len(places):
            return ""
        first = int(rng.integers(max(1, len(places) - size + 1)))
        return self.texts[at][places[first, 0] : places[min(len(places), first + size) - 1, 1]]

    def draw(self, at: int, rng: np.random.Generator) -> str:
        """A query of either kind, as likely one as the other."""
        return self.keywords(at, rng) if rng.random() < 0.5 else self.part(at, rng)
