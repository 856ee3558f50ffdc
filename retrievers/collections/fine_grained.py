"""Two tasks that ask for details, made of any collection: find a passage by its salient words, or by a part of it (S.
Zhan et al., "LexSemBridge: fine-grained dense representation enhancement through token-aware embedding augmentation",
2025).

Both search among the distinct passages of at least 40 words: a passage whose runs of five words resemble those of an
earlier one (Jaccard over one half) is left out. Which passages are asked for is drawn by the seed, the same ones for
every task as far as they allow it, and what answers is the passage itself alone. The paper does not say how it picks
words; the rule here is

    keyword:         the k words (letters, more than two) of highest tf * ln(N / df) in the passage, best first; a
                     passage whose five best words are another's five too is not asked for
    part of passage: `length` tokens from a random place on, as they stand in the text
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fovea.rag.encoder import Tokenizer
from fovea.rag.errors import DocumentError
from fovea.rag.tokens import words
from fovea.rag.types import Chunk, Query
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.shingles import distinct

LEAST_WORDS, BEST = 40, 5


def keyword(collection: Collection, k: int, seed: int, questions: int = 600) -> Collection:
    """At most `questions` questions of `k` words each; raises DocumentError where no passage can be asked for."""
    found = _passages(collection)
    ranked = _ranked([chunk.text for chunk in found.chunks])
    same = Counter(frozenset(best[:BEST]) for best in ranked)
    asked = [
        (found.chunks[n], " ".join(ranked[n][:k]))
        for n in _drawn(len(found.chunks), seed)
        if len(ranked[n]) >= max(k, BEST) and same[frozenset(ranked[n][:BEST])] == 1
    ]
    return _asking(found, f"keyword{k}", asked[:questions])


def part_of_passage(
    collection: Collection, length: int, tokenizer: Tokenizer, seed: int, questions: int = 600
) -> Collection:
    """At most `questions` questions of `length` tokens each; raises DocumentError where no passage is long enough."""
    found, rng = _passages(collection), np.random.default_rng([seed, length])
    asked: list[tuple[Chunk, str]] = []
    for chunk in (found.chunks[n] for n in _drawn(len(found.chunks), seed)):
        if len(asked) == questions:
            break
        offsets = tokenizer.offsets(chunk.text)
        if len(offsets) >= length:
            first = int(rng.integers(len(offsets) - length + 1))
            asked.append((chunk, chunk.text[offsets[first, 0] : offsets[first + length - 1, 1]]))
    return _asking(found, f"pop{length}", asked)


def _passages(collection: Collection) -> Collection:
    """The distinct passages that are long enough, without questions."""
    long = [chunk for chunk in collection.chunks if len(chunk.text.split()) >= LEAST_WORDS]
    return replace(collection, chunks=[long[n] for n in distinct(c.text for c in long)], questions=[])


def _drawn(count: int, seed: int) -> list[int]:
    order: list[int] = np.random.default_rng(seed).permutation(count).tolist()
    return order


def _ranked(texts: Sequence[str]) -> list[list[str]]:
    """Each text's words by falling tf * ln(N / df), equal ones by the alphabet."""
    counts = [Counter(word for word in words(text) if len(word) > 2 and word.isalpha()) for text in texts]
    df = Counter(word for count in counts for word in count)
    weight = {word: math.log(len(texts) / n) for word, n in df.items()}
    return [sorted(count, key=lambda word: (-count[word] * weight[word], word)) for count in counts]


def _asking(found: Collection, task: str, asked: Sequence[tuple[Chunk, str]]) -> Collection:
    if not asked:
        what = f"no passage of {found.name} can be asked for by {task}"
        raise DocumentError(what, fix=f"passages of {LEAST_WORDS} words or more, or another task")
    questions = [
        Judged(f"{task}:{chunk.id}", Query(text), {chunk.id: 1}, found.parts.get(chunk.document_id, "test"))
        for chunk, text in asked
    ]
    return replace(found, name=f"{found.name} {task}", questions=questions)
