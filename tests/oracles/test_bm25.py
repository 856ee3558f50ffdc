"""BM25 three times: SQLite FTS5, the library bm25s, and the formula in plain Python. Where they differ, and how.

All three cut text by `fovea.rag.terms`. FTS5 and bm25s's "robertson" then differ in two ways only:

- FTS5 multiplies every score by `k1 + 1`, which changes no order;
- a word that more than half of the chunks hold would have a negative idf `ln((N - n + 1/2) / (n + 1/2))`: FTS5 gives it
  1e-6 instead and still returns chunks that hold nothing else, bm25s gives it 0 and so does not.

bm25s's "lucene" adds 1 inside the logarithm, so that common words still count: another formula, compared with itself
in plain Python.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.terms import index_terms, query_terms
from fovea.rag.testing.corpus import K1, SMALLEST_IDF, B, MemoryCorpus, sample_corpus
from fovea.rag.types import Query
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.bm25s import BM25SRetriever
from tests.conftest import SHARED

ENCODER = HashEncoder(size=8)
TEXTS = [c.text for c in sample_corpus(ENCODER).chunks()]
QUESTIONS = [
    "How hot is green tea?",
    "the moon and the oceans",
    "ships ships SHIPS",
    "绿茶",
    "naive cafe strasse",
    "绿茶用八十度",
    "brewed at 80-degrees",
    "danube",
]

SOME = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "rare",
    "common",
    "café",
    "ÉCOLE",
    "茶",
    "绿茶水",
    "2.1",
    "2.1.0",
    "e-mail",
    "กาแฟ",
    "C++",
]
some_words = st.lists(st.sampled_from(SOME), min_size=1, max_size=12)
texts = st.lists(some_words.map(" ".join), min_size=1, max_size=12)


def corpus_of(found: list[str]) -> MemoryCorpus:
    return MemoryCorpus.of({f"{i:03}": text for i, text in enumerate(found)}, ENCODER)


def scores_of(retriever, corpus: MemoryCorpus, question: str) -> dict[str, float]:
    return {h.chunk.document_id: h.score for h in retriever.search(Query(question), 1000, corpus)}


def fts5(found: list[str], question: str) -> dict[str, float]:
    """SQLite's own scores over the same words."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(words, tokenize='ascii')")
    db.executemany(
        "INSERT INTO t (rowid, words) VALUES (?, ?)", enumerate((" ".join(index_terms(t)) for t in found), 0)
    )
    asked = " OR ".join(f'"{w}"' for w in query_terms(question))
    rows = db.execute("SELECT rowid, -bm25(t) FROM t WHERE t MATCH ?", [asked]).fetchall() if asked else []
    db.close()
    return {f"{no:03}": score for no, score in rows}


def idfs(found: list[str], question: str) -> dict[str, float]:
    """`ln((N - n + 1/2) / (n + 1/2))` of each word of the question that is somewhere."""
    holders = {w: sum(w in index_terms(t) for t in found) for w in query_terms(question)}
    return {w: math.log((len(found) - n + 0.5) / (n + 0.5)) for w, n in holders.items() if n}


def frequency_part(found: list[str], text: str, word: str) -> float:
    """`f / (f + k1 (1 - b + b length / mean length))`."""
    lengths = [len(index_terms(t)) for t in found]
    f, length = Counter(index_terms(text))[word], len(index_terms(text))
    return f / (f + K1 * (1 - B + B * length / (sum(lengths) / len(lengths))))


@pytest.mark.parametrize("question", QUESTIONS)
def test_fts5_is_the_formula(question):
    expected = fts5(TEXTS, question)
    assert expected, "a question that finds nothing shows nothing"
    assert scores_of(BM25Retriever(), corpus_of(TEXTS), question) == pytest.approx(expected, rel=1e-9)


@given(texts, some_words.map(" ".join))
def test_fts5_is_the_formula_over_any_texts(found, question):
    assert scores_of(BM25Retriever(), corpus_of(found), question) == pytest.approx(fts5(found, question), rel=1e-9)


@given(texts, some_words.map(" ".join))
def test_fts5_is_bm25s_robertson_but_for_the_factor_and_the_common_words(found, question):
    idf, ours = idfs(found, question), fts5(found, question)
    theirs = scores_of(BM25SRetriever(method="robertson", k1=K1, b=B), corpus_of(found), question)
    for i, text in enumerate(found):
        common = [w for w, value in idf.items() if value <= SMALLEST_IDF and w in index_terms(text)]
        floor = sum(SMALLEST_IDF * frequency_part(found, text, w) for w in common)
        expected = (K1 + 1) * (theirs.get(f"{i:03}", 0.0) + floor)
        assert ours.get(f"{i:03}", 0.0) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(texts, some_words.map(" ".join))
def test_bm25s_lucene_is_its_formula(found, question):
    theirs = scores_of(BM25SRetriever(method="lucene", k1=K1, b=B), corpus_of(found), question)
    for i, text in enumerate(found):
        expected = sum(
            math.log(1 + math.exp(value)) * frequency_part(found, text, w) for w, value in idfs(found, question).items()
        )
        assert theirs.get(f"{i:03}", 0.0) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_a_word_in_most_chunks_still_finds_them_in_fts5_and_not_in_robertson():
    found = ["tea pot", "tea leaf", "tea cup", "coffee"]
    assert set(scores_of(BM25Retriever(), corpus_of(found), "tea")) == {"000", "001", "002"}
    assert all(s <= SMALLEST_IDF * (K1 + 1) for s in fts5(found, "tea").values())
    assert scores_of(BM25SRetriever(method="robertson"), corpus_of(found), "tea") == {}
    assert set(scores_of(BM25SRetriever(method="lucene"), corpus_of(found), "tea")) == {"000", "001", "002"}


def test_a_word_in_every_chunk_counts_as_each_variant_says():
    found = ["tea pot", "tea leaf", "tea cup"]
    everywhere = {m: scores_of(BM25SRetriever(method=m), corpus_of(found), "tea") for m in ("lucene", "atire")}
    assert set(everywhere["lucene"]) == {"000", "001", "002"}
    assert everywhere["lucene"]["000"] == pytest.approx(math.log(1 + 0.5 / 3.5) / (1 + K1), rel=1e-5)
    assert everywhere["atire"] == scores_of(BM25SRetriever(method="robertson"), corpus_of(found), "tea") == {}
    assert [*scores_of(BM25SRetriever(method="atire"), corpus_of(found), "tea cup")] == ["002"]


def test_settings_of_bm25s_do_what_they_say():
    found = ["tea tea tea tea tea", "tea pot", "coffee and a very long text about cups of it", "x", "y"]
    linear = scores_of(BM25SRetriever(k1=1e6, b=0), corpus_of(found), "tea")
    assert linear["000"] / linear["001"] == pytest.approx(5, rel=1e-3), "k1 without bound: every repetition counts"
    flat = scores_of(BM25SRetriever(k1=1e-6), corpus_of(found), "tea")
    assert flat["000"] == pytest.approx(flat["001"], rel=1e-4), "k1 of nothing: a word is there or not"


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="evaluation data are not beside the checkout")
def test_fts5_and_bm25s_rank_a_real_corpus_alike():
    text = (SHARED / "data/spans/chunking_evaluation/corpora/state_of_the_union.md").read_text("utf-8")
    found = [p for p in text.split("\n") if len(p.split()) > 5]
    corpus = corpus_of(found)
    robertson = BM25SRetriever(method="robertson", k1=K1, b=B)
    for question in ("What did the President say about insulin prices?", "Who invaded Ukraine?", "junk fees"):
        ours, theirs = fts5(found, question), scores_of(robertson, corpus, question)
        rare = [name for name, score in ours.items() if score > 1e-3]
        assert len(rare) > 2
        assert {n: ours[n] for n in rare} == pytest.approx({n: (K1 + 1) * theirs[n] for n in rare}, rel=1e-5, abs=1e-4)
