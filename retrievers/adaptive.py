"""Adaptive fusion: meaning, words and word stems in one sum, in which meaning counts more where words tell little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import mul
from statistics import fmean

from pydantic import NonNegativeFloat, PositiveInt

from fovea.rag.corpus import Corpus
from fovea.rag.folding import fold
from fovea.rag.retrieval import Fuser
from fovea.rag.stems import COMMON, STEM, holds
from fovea.rag.tokens import words
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.joined import Joined, best, join
from fovea.retrievers.scales import Weights, is_similarity, last_scores, weights_of

WORTH = 5.0
"""What the best of the other lists is worth in standard deviations where it is decided whose texts are read."""


class AdaptiveFuser(Fuser, name="adaptive"):
    """`(meaning + flat f) z + words b + coverage c`: a linear feature-based model (Metzler and Croft, 2007), of

    - `z`: what the similarity lists give, `(s - last) / corpus.spread` each, as `calibrated` counts it
    - `b`: what the other lists give, `(s - last) / best` each
    - `f`: how flat those are, 0 to 1: what their last hit scored as a share of their best, in mean. Words that many
      chunks hold alike tell little, so meaning counts more
    - `c`: the share of the question's word stems, each by the rarity of its word, that the chunk holds, or what is
      said of its place (`situate`). Stems are first letters (`fovea.rag.stems`), so that forms of a word that lexical
      search tells apart meet here; words such as "the" are left out. Of the first `read` chunks, by `calibrated` fusion
      of the same lists; of others it is 0

    The numbers were chosen by coordinate ascent on nDCG@10, with whole sets of questions left out in turn
    (docs/retrievers.md); `fovea tune fusion` chooses them on questions of one's own.
    """

    meaning: NonNegativeFloat = 0.5
    """Weight of similarity, in standard deviations, where the other lists are not flat at all."""
    flat: NonNegativeFloat = 2.5
    """What is added to it where they are entirely flat."""
    words: NonNegativeFloat = 1.5
    """Weight of the other lists' scores, as shares of their best."""
    coverage: NonNegativeFloat = 4.5
    """Weight of the question's stems that a chunk or its situation holds; 0 reads no text."""
    read: PositiveInt = 30
    """Chunks whose stems are looked at."""
    weights: Weights = {}
    """Weight by retriever, besides: 0 leaves a list out; without weights all count alike."""

    def fuse(self, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> list[Hit]:
        """At most `k` hits, best first; raises ConfigError for weights that do not fit the lists. O(hits log hits), and
        the texts of `read` chunks.
        """
        weights = self.meaning, self.flat, self.words, self.coverage
        found = self.features(lists, query, corpus)
        return best(((sum(map(mul, weights, row)), one) for one, row in found), k, self.name)

    def features(
        self, lists: Mapping[str, Sequence[Hit]], query: Query, corpus: Corpus
    ) -> list[tuple[Joined, tuple[float, float, float, float]]]:
        """Every chunk with its `z`, `f z`, `b` and `c`: what `meaning`, `flat`, `words` and `coverage` weigh."""
        weights = weights_of(lists, self.weights, self.name)
        lists = {name: hits for name, hits in lists.items() if weights[name] > 0}
        lasts, alike = last_scores(lists, is_similarity), {name for name in lists if is_similarity(name)}
        tops = {name: max((abs(hit.score) for hit in hits), default=0.0) or 1.0 for name, hits in lists.items()}
        units = {name: (corpus.spread if name in alike else tops[name]) / weights[name] for name in lists}
        flat = _flatness([lasts[name] / tops[name] for name in lists if name not in alike])
        sums = []
        for one in join(lists):
            z = b = 0.0
            for name, score in one.scores.items():
                if name in alike:
                    z += (score - lasts[name]) / units[name]
                else:
                    b += (score - lasts[name]) / units[name]
            sums.append((one, z, b))
        first = best(((z + WORTH * b, one) for one, z, b in sums), self.read, "") if self.coverage else []
        held = coverage(query.text, [hit.chunk for hit in first], corpus)
        return [(one, (z, flat * z, b, held.get(one.chunk.id, 0.0))) for one, z, b in sums]


def coverage(question: str, chunks: Sequence[Chunk], corpus: Corpus) -> dict[str, float]:
    """By id of each chunk, the share of the question's stems that it or its situation holds, each by its word's rarity,
    0 to 1.
    """
    asked: dict[str, float] = {}
    for word, rarity in corpus.rarity([w for w in dict.fromkeys(words(question)) if w not in COMMON]).items():
        asked[word[:STEM]] = max(rarity, asked.get(word[:STEM], 0.0))
    if not asked:
        return {}
    total, found = sum(asked.values()), {}
    for chunk, said in zip(chunks, corpus.situations(chunks)):
        text = _folded(f"{said}\n{chunk.text}" if said else chunk.text)
        found[chunk.id] = sum(rarity for stem, rarity in asked.items() if holds(text, stem)) / total
    return found


def _flatness(ends: Sequence[float]) -> float:
    """The mean of what lists end with, as shares of their best, each in `[0, 1]`; 0 where there is no list."""
    return fmean(min(max(end, 0.0), 1.0) for end in ends) if ends else 0.0


@lru_cache(maxsize=2048)
def _folded(text: str) -> str:
    """Kept, since the same chunks come back for other questions."""
    return fold(text)
