"""Evidence: what speaks for a passage as an answer beside its score, in fifteen numbers for which nothing is encoded.

Of the question and a passage: how near their vectors are, as they stand in the store, and how near the passage is to
the question's vector after lexical feedback (`fovea.retrievers.lexical_feedback`), both in standard deviations of
similarity; BM25 as a share of the best passage's; the share of the question's words that the passage holds, and of its
word stems (`fovea.rag.stems`) that stand together in ten words, each by its rarity; the share of its neighbouring words
and of its neighbouring stems that are neighbours here too; of its numbers and of its names; the share of its stems that
the passage's title holds, and of the title's that the question holds; the share held of what the first passages say
beyond the question (a relevance model: Lavrenko and Croft, 2001); the share of the title that one of the first three
passages names, which is how one hop leads to the next; whether it holds a year or a number where one is asked for; and
its length. What the first passages say never counts for themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Container, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from fovea.rag.corpus import Corpus
from fovea.rag.folding import fold
from fovea.rag.stems import COMMON, STEM
from fovea.rag.tokens import words
from fovea.rag.types import Hit, Query
from fovea.retrievers.lexical_feedback import LexicalFeedbackRetriever
from fovea.retrievers.vectors import vectors_of

if TYPE_CHECKING:
    import numpy as np

NAMES = (
    "meaning", "feedback", "bm25", "words", "window", "pairs", "neighbours", "numbers", "names", "in title",
    "of title", "expansion", "link", "kind", "length",
)  # fmt: skip
AGAINST = frozenset({"length"})
"""What speaks against a passage."""
MATCHED, WINDOW = 100, 10
"""Passages whose BM25 score is looked up, any other counts as 0; words that stand together."""
FIRST, LINKS, TERMS, LOOKED_UP, MOST = 5, 3, 20, 60, 3
"""Passages that expand the question and that may name a title; stems of the expansion, of so many whose rarity is
looked up; how often one counts in a passage."""
_NAME = re.compile(r"(?<!^)\b[A-Z]\w+")
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d\b")
_DIGIT = re.compile(r"\d")


class _Text(NamedTuple):
    """A passage as words, their stems, how often it holds each, and whether it holds years and numbers."""

    words: list[str]
    stems: list[str]
    counts: Counter[str]
    pairs: frozenset[tuple[str, str]]
    neighbours: frozenset[tuple[str, str]]
    year: bool
    number: bool


class _Question(NamedTuple):
    """The question's words and stems by rarity, and what else a passage is compared with."""

    words: dict[str, float]
    stems: dict[str, float]
    pairs: frozenset[tuple[str, str]]
    neighbours: frozenset[tuple[str, str]]
    numbers: frozenset[str]
    names: frozenset[str]
    year: bool
    number: bool


def evidence(query: Query, hits: Sequence[Hit], scores: np.ndarray, corpus: Corpus) -> np.ndarray:
    """Float32 `(hits, 15)`, a column for each of `NAMES`. `scores` `(hits,)`, in deviations, say which come first
    and how much they count. O(words of the hits).
    """
    import numpy as np

    if not hits:
        return np.zeros((0, len(NAMES)), np.float32)
    asked, read = _asked(query.text, corpus), [_read(hit.chunk.text) for hit in hits]
    titles = [frozenset(_content(words(hit.chunk.title))) for hit in hits]
    matched = {hit.chunk.id: hit.score for hit in corpus.match(query.text, MATCHED, query.where)}
    best = max((matched.get(hit.chunk.id, 0.0) for hit in hits), default=0.0) or 1.0
    vectors, turned = vectors_of(hits, corpus), LexicalFeedbackRetriever().vector(query, corpus)
    near = vectors @ np.stack([corpus.embed(query.text), turned], axis=1) / corpus.spread
    order = np.argsort(-scores, kind="stable")[:FIRST].tolist()
    expanded = _expansions(asked, read, order, scores, corpus)
    rows = []
    for i, (hit, text, title) in enumerate(zip(hits, read, titles)):
        new = [stem for stem in title if stem not in asked.stems]
        linked = [_part(new, read[j].counts) for j in order[:LINKS] if j != i]
        rows.append((
            *near[i], matched.get(hit.chunk.id, 0.0) / best, _share(asked.words, frozenset(text.words)),
            _together(asked.stems, text.stems), _part(asked.pairs, text.pairs),
            _part(asked.neighbours, text.neighbours),
            _part(asked.numbers, text.words, 1.0), _part(asked.names, text.counts, 1.0), _share(asked.stems, title),
            _part(title, asked.stems), _held(expanded[i], text.counts), max(linked, default=0.0),
            float((asked.year and text.year) or (asked.number and text.number)), np.log1p(len(text.words)) / 5,
        ))  # fmt: skip
    return np.array(rows, np.float32)


def _asked(question: str, corpus: Corpus) -> _Question:
    said = words(question)
    rarity = corpus.rarity(list(dict.fromkeys(said)))
    stems: dict[str, float] = {}
    for word, rare in rarity.items():
        if word not in COMMON:
            stems[word[:STEM]] = max(rare, stems.get(word[:STEM], 0.0))
    names = {fold(name)[:STEM] for name in _NAME.findall(question) if fold(name) not in COMMON}
    many = "how" in rarity and not rarity.keys().isdisjoint({"many", "much"})
    return _Question(
        rarity, stems, frozenset(pairwise(said)), frozenset(pairwise(_content(said))),
        frozenset(word for word in rarity if _DIGIT.search(word)), frozenset(names),
        not rarity.keys().isdisjoint({"when", "year", "date"}),
        many or not rarity.keys().isdisjoint({"number", "percentage"}),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _read(text: str) -> _Text:
    """Kept, since the same passages come back for other questions."""
    said = words(text)
    stems = [word[:STEM] for word in said]
    return _Text(
        said, stems, Counter(stems), frozenset(pairwise(said)), frozenset(pairwise(_content(said))),
        _YEAR.search(text) is not None, _DIGIT.search(text) is not None,
    )  # fmt: skip


def _content(said: Sequence[str]) -> list[str]:
    """The stems of the words that carry matter."""
    return [word[:STEM] for word in said if word not in COMMON]


def _share(rarity: dict[str, float], held: frozenset[str]) -> float:
    total = sum(rarity.values())
    return sum(weight for word, weight in rarity.items() if word in held) / total if total else 0.0


def _part(wanted: Collection[object], held: Container[object], nothing: float = 0.0) -> float:
    """The share of `wanted` that is in `held`; `nothing` where nothing is wanted."""
    return sum(one in held for one in wanted) / len(wanted) if wanted else nothing


def _together(rarity: dict[str, float], stems: Sequence[str]) -> float:
    """The largest share of `rarity` that stands within `WINDOW` words."""
    places = [(at, stem) for at, stem in enumerate(stems) if stem in rarity]
    most, here, first = 0.0, Counter[str](), 0
    held = 0.0
    for at, stem in places:
        here[stem] += 1
        held += rarity[stem] if here[stem] == 1 else 0.0
        while places[first][0] < at - WINDOW:
            gone = places[first][1]
            here[gone] -= 1
            held -= 0.0 if here[gone] else rarity[gone]
            first += 1
        most = max(most, held)
    return most / sum(rarity.values()) if places else 0.0


def _expansions(
    asked: _Question, read: Sequence[_Text], order: Sequence[int], scores: np.ndarray, corpus: Corpus
) -> list[dict[str, float]]:
    """For each hit, stems that the first passages hold beyond the question, itself left out, and what each counts."""
    import numpy as np

    counts = np.exp(scores[order] - scores[order].max())
    said: dict[int, dict[str, float]] = {}
    for share, j in zip(counts.tolist(), order):
        length = max(1, len(read[j].words))
        known = ((s, n) for s, n in read[j].counts.items() if len(s) > 2 and s not in COMMON and s not in asked.stems)
        said[j] = {stem: share * min(times, MOST) / length for stem, times in known}
    total: Counter[str] = Counter()
    for one in said.values():
        total.update(one)
    chosen = [stem for stem, _ in total.most_common(LOOKED_UP)]
    spelt = {word[:STEM]: word for j in order for word in read[j].words}
    rarity = corpus.rarity([spelt[stem] for stem in chosen])
    rare = {stem: rarity[spelt[stem]] for stem in chosen}

    def without(j: int) -> dict[str, float]:
        own = said.get(j, {})
        left = Counter({stem: (total[stem] - own.get(stem, 0.0)) * rare[stem] for stem in chosen})
        return {stem: value for stem, value in left.most_common(TERMS) if value > 0}

    shared = without(-1)
    return [without(j) if j in said else shared for j in range(len(read))]


def _held(expansion: dict[str, float], counts: Counter[str]) -> float:
    total = sum(expansion.values())
    return sum(value for stem, value in expansion.items() if stem in counts) / total if total else 0.0
