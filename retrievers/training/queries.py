"""Queries made of passages, to train on: a few telling words, or a part of the text. No question need be written.

    keywords   the words w of a passage with the highest tf(w) ln(N / df(w)), each score times a draw of [1/2, 3/2]
    part       consecutive tokens from a random place

The two tasks of LexSemBridge (Zhan et al., 2025), jittered so that what is learned is the kind of query and not a rule.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fovea.rag.types import Query
from fovea.retrievers.collection import Judged, Split
from fovea.retrievers.collections.drawn import drawn

if TYPE_CHECKING:
    from fovea.rag.encoder import Tokenizer
    from fovea.retrievers.collection import Collection

LEAST_WORDS = 40
"""Words of a passage that queries are made of."""

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


def with_made(
    collection: Collection, split: Split, tokenizer: Tokenizer, rng: np.random.Generator, count: int
) -> tuple[Collection, list[str]]:
    """A part of a collection with `count` more questions for each passage of 40 words or more of its documents,
    keywords and parts in turn; and the kind of each question: "asked", "keywords" or "part".

    Where documents are not divided, no query is made of one that a question of another part is about, nor of one that
    is drawn for another part.
    """
    part, parts = collection.part(split), collection.parts or _parts(collection)
    own = [c for c in part.chunks if parts[c.document_id] == split and len(c.text.split()) >= LEAST_WORDS]
    passages = Passages.of([c.text for c in own], tokenizer)
    made: list[Judged] = []
    kinds = ["asked"] * len(part.questions)
    for at, chunk in enumerate(own):
        for turn in range(count):
            kind = "part" if (at + turn) % 2 else "keywords"
            text = passages.part(at, rng) if kind == "part" else passages.keywords(at, rng)
            if text.strip():
                made.append(Judged(f"{kind} {turn}:{chunk.id}", Query(text), {chunk.id: 1}, split))
                kinds.append(kind)
    return replace(part, questions=[*part.questions, *made]), kinds


def _parts(collection: Collection) -> Mapping[str, Split]:
    """What each document is for: what the questions that it answers are for, the held-out part first; else drawn."""
    document = {c.id: c.document_id for c in collection.chunks}
    found = {d.id: drawn(d.id) for d in collection.documents}
    order: tuple[Split, ...] = ("train", "dev", "test")
    for split in order:
        for question in collection.questions:
            if question.split == split:
                found |= {document[i]: split for i in question.relevant if i in document}
    return found
