"""Retrievers: the laws over every registered one, and what is particular to each."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import FoveaError, MissingExtra, ModelError
from fovea.rag.filters import parse
from fovea.rag.retrieval import Retriever
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.testing.retrievers import check_retriever
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Query, Span
from fovea.retrievers.bm25s import BM25SRetriever
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.convex import ConvexFuser
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.lexical_feedback import LexicalFeedbackRetriever
from fovea.retrievers.query_map import QueryMapRetriever
from fovea.retrievers.query_side import QuerySideRetriever
from tests.learned_weights import weights_of
from tests.library_tools import over_a_library, take

ENCODER = HashEncoder()


OWN = {"lexsembridge", "kv", "learned_sparse"}
"""These read token numbers, which the hashing encoder has none of, or a model: their own tests try the laws on them."""


@pytest.mark.parametrize("name", sorted({*registry.names("retriever")} - OWN))
def test_laws(name: str):
    cls = registry.find("retriever", name)
    settings = {"weights": weights_of(name, ENCODER)} if "weights" in cls.model_fields else {}
    try:
        check_retriever(cls(**settings))  # type: ignore[arg-type]
    except (MissingExtra, ModelError) as error:
        pytest.skip(str(error))


def test_laws_over_a_library(tmp_path):
    sample = sample_corpus(ENCODER)
    with over_a_library(tmp_path, sample) as corpus:
        for name in ("dense", "bm25", "bm25s"):
            retriever = registry.find("retriever", name)()
            check_retriever(retriever, corpus)
            for text in ("green tea in Europe", "the oceans", "绿茶用"):
                ours = retriever.search(Query(text), 9, corpus)
                exact = retriever.search(Query(text), 9, sample)
                assert [h.score for h in ours] == pytest.approx([h.score for h in exact], rel=1e-5, abs=1e-6)
        assert corpus.spread == pytest.approx(sample.spread, rel=1e-4)


def test_dense_is_the_exact_order_of_inner_products():
    corpus = sample_corpus(ENCODER)
    chunks = list(corpus.chunks())
    products = corpus.vectors(chunks) @ ENCODER.encode(["green tea"], role="query")[0]
    hits = DenseRetriever().search(Query("green tea"), 5, corpus)
    assert [h.score for h in hits] == pytest.approx(sorted(products.tolist(), reverse=True)[:5])
    assert hits[0].chunk.document_id in ("tea", "copy")


def test_bm25s_follows_a_changed_corpus():
    retriever = BM25SRetriever()
    old = MemoryCorpus.of({"a": "red apples", "b": "green pears", "c": "blue plums"}, ENCODER)
    new = MemoryCorpus.of({"a": "red apples", "d": "green figs", "e": "blue plums"}, ENCODER)
    for corpus, expected in ((old, "b"), (new, "d"), (old, "b")):
        assert [h.chunk.document_id for h in retriever.search(Query("green"), 3, corpus)] == [expected]


def test_bm25s_builds_once_and_says_so():
    retriever, corpus, trace = BM25SRetriever(), sample_corpus(ENCODER), Trace()
    with trace.stage("one") as first:
        retriever.search(Query("tea"), 3, corpus)
    with trace.stage("two") as second:
        retriever.search(Query("moon"), 3, corpus)
    assert first.counts["indexed"] == len(list(corpus.chunks()))
    assert "indexed" not in second.counts


def test_bm25s_stems():
    corpus = MemoryCorpus.of({"a": "he was running home", "b": "a quiet evening", "c": "nothing else"}, ENCODER)
    assert BM25SRetriever().search(Query("runs"), 3, corpus) == []
    assert [h.chunk.document_id for h in BM25SRetriever(stemmer="english").search(Query("runs"), 3, corpus)] == ["a"]


def test_bm25s_and_bm25_find_a_chunk_by_what_is_said_of_its_place():
    documents = [Document(name, "It has no air.", source=name) for name in ("moon", "mercury", "tea")]
    chunks = [document.chunk(Span(0, 14)) for document in documents]
    corpus = MemoryCorpus(documents, chunks, ENCODER, situations=["The Moon", "The planet Mercury", ""])
    assert corpus.situations(chunks) == ["The Moon", "The planet Mercury", ""]
    for name in ("bm25", "bm25s"):
        hits = registry.find("retriever", name)().search(Query("planet"), 3, corpus)
        assert [h.chunk.document_id for h in hits] == ["mercury"], name


def test_bm25s_over_a_corpus_without_words_and_with_a_wordless_first_chunk():
    assert BM25SRetriever().search(Query("a"), 3, MemoryCorpus.of({"a": "--- ***"}, ENCODER)) == []
    corpus = MemoryCorpus.of({"a": "---", "b": "words here", "c": "more"}, ENCODER)
    assert [h.chunk.document_id for h in BM25SRetriever().search(Query("words"), 3, corpus)] == ["b"]


def test_bm25s_with_an_unknown_stemmer_says_which_there_are():
    with pytest.raises(FoveaError, match="elvish") as error:
        BM25SRetriever(stemmer="elvish").search(Query("tea"), 3, sample_corpus(ENCODER))
    assert "english" in str(error.value)


def test_the_query_map_is_its_formula():
    corpus, retriever = sample_corpus(ENCODER), QueryMapRetriever(weights=weights_of("query_map", ENCODER))
    own = corpus.embed("green tea")
    mapped = own + retriever.trained.arrays["map"] @ own
    np.testing.assert_allclose(
        retriever.vector(Query("green tea"), corpus), mapped / np.linalg.norm(mapped), rtol=0, atol=1e-6
    )
    hits = retriever.search(Query("green tea"), 4, corpus)
    products = corpus.vectors([h.chunk for h in hits]) @ mapped / np.linalg.norm(mapped)
    assert [h.score for h in hits] == pytest.approx(products.tolist(), abs=1e-5)
    assert hits != DenseRetriever().search(Query("green tea"), 4, corpus)


def test_changes_of_the_query_come_one_after_another():
    corpus, weights = sample_corpus(ENCODER), weights_of("query_map", ENCODER)
    query, alone = Query("green tea moon"), QueryMapRetriever(weights=weights)
    both = QueryMapRetriever.model_validate({"weights": weights, "after": {"use": "lexical_feedback", "sharpness": 2}})
    moved = LexicalFeedbackRetriever(sharpness=2).vector(query, corpus)
    mapped = moved + alone.trained.arrays["map"] @ moved
    np.testing.assert_allclose(both.vector(query, corpus), mapped / np.linalg.norm(mapped), rtol=0, atol=1e-6)
    turned = LexicalFeedbackRetriever(weight=0, after=alone)
    assert np.array_equal(turned.vector(query, corpus), alone.vector(query, corpus))
    check_retriever(LexicalFeedbackRetriever(after=alone))
    with pytest.raises(ValueError, match="bm25 does not change the question's vector"):
        QueryMapRetriever.model_validate({"after": "bm25"})
    assert len({both.fingerprint, alone.fingerprint, QueryMapRetriever(weights=weights, after=turned).fingerprint}) == 3


def test_what_gives_inner_products_is_fused_as_such():
    """Whatever its name is: the same hits count as much under the name of another similarity."""
    corpus, query = sample_corpus(ENCODER), Query("green tea at 80 degrees")
    dense, words = DenseRetriever().search(query, 6, corpus), corpus.match(query.text, 4)
    similarities = [n for n, cls in registry.components("retriever").items() if cls.similarity]  # type: ignore[attr-defined]
    assert {"dense", "query_map", "lexical_feedback"} <= set(similarities)
    for fuser in (CalibratedFuser(), ConvexFuser()):
        expected = [(h.chunk.id, h.score) for h in fuser.fuse({"dense": dense, "bm25": words}, 9, query, corpus)]
        for name in similarities:
            found = fuser.fuse({f"{name}#2": dense, "bm25": words}, 9, query, corpus)
            assert [(h.chunk.id, h.score) for h in found] == expected
        other = fuser.fuse({"bm25s": dense, "bm25": words}, 9, query, corpus)
        assert [(h.chunk.id, h.score) for h in other] != expected


def test_every_change_of_the_query_gives_a_unit_vector():
    corpus = sample_corpus(ENCODER)
    for name, cls in registry.components("retriever").items():
        if issubclass(cls, QuerySideRetriever) and name not in OWN:
            settings = {"weights": weights_of(name, ENCODER)} if "weights" in cls.model_fields else {}
            vector = cls(**settings).vector(Query("green tea"), corpus)
            assert (vector.shape, vector.dtype) == ((ENCODER.dim,), np.float32)
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


class TestLangChain:
    @pytest.fixture
    def wrap(self):
        documents = pytest.importorskip("langchain_core.documents")
        retrievers = pytest.importorskip("langchain_core.retrievers")
        from pydantic import TypeAdapter

        class Fixed(retrievers.BaseRetriever):
            found: list
            failure: str = ""

            def _get_relevant_documents(self, query, *, run_manager):
                if self.failure:
                    raise ConnectionError(self.failure)
                return self.found

        def make(*found: tuple[str, dict], failure: str = "") -> Retriever:
            pages = [documents.Document(page_content=text, metadata=metadata) for text, metadata in found]
            return TypeAdapter(Retriever).validate_python(Fixed(found=pages, failure=failure))

        return make

    def test_located_by_offset_by_search_or_alone(self, wrap):
        corpus = sample_corpus(ENCODER)
        text = corpus.document("moon").text
        second = text.index("Moon", 10)
        retriever = wrap(
            ("Moon", {"source": "moon", "start_index": second}),
            ("brewed at 80", {"source": "tea"}),
            ("Moon", {"source": "moon"}),
            ("ten countries", {"document_id": "rivers", "start_index": 3}),
            ("not ours", {"source": "elsewhere", "title": "T", "page": 3}),
        )
        hits = retriever.search(Query("x"), 10, corpus)
        places = [(h.chunk.document_id, h.chunk.start, h.chunk.text) for h in hits]
        assert places[0] == ("moon", second, "Moon")
        assert places[1] == ("tea", corpus.document("tea").text.index("brewed"), "brewed at 80")
        assert places[2][0].startswith("langchain:"), "a text that stands in several places is not guessed at"
        assert places[3] == ("rivers", corpus.document("rivers").text.index("ten"), "ten countries")
        alone = hits[4].chunk
        assert (alone.start, alone.end, alone.source, alone.title) == (0, len("not ours"), "elsewhere", "T")
        assert alone.metadata["page"] == 3
        assert [h.score for h in hits] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]

    def test_each_passage_once_at_most_k_filtered(self, wrap):
        corpus = sample_corpus(ENCODER)
        retriever = wrap(*[("a", {"year": 1}), ("a", {"year": 1}), ("b", {"year": 2}), ("c", {"year": 2})])
        assert [h.chunk.text for h in retriever.search(Query("x"), 10, corpus)] == ["a", "b", "c"]
        assert [h.chunk.text for h in retriever.search(Query("x"), 2, corpus)] == ["a", "b"]
        where = parse("year == 2")
        assert [h.chunk.text for h in retriever.search(Query("x", where=where), 1, corpus)] == ["b"]

    def test_empty_and_odd_documents_leave_a_warning(self, wrap):
        trace = Trace()
        with trace.stage("s"):
            hits = wrap(("", {}), ("x", {"odd": [1]})).search(Query("x"), 5, sample_corpus(ENCODER))
        assert [h.chunk.text for h in hits] == ["x"]
        assert sum(trace.warnings.values()) == 2

    def test_failure_is_an_error_of_ours(self, wrap):
        with pytest.raises(FoveaError, match="Fixed failed: ConnectionError: no route"):
            wrap(failure="no route").search(Query("x"), 5, sample_corpus(ENCODER))

    def test_in_a_pipeline(self, wrap, make, docs):
        pipeline = make(retrieve=[wrap(("Green tea is brewed at 80 degrees.", {"source": "tea.md"})), "bm25"])
        pipeline.ingest([docs])
        assert "80 degrees" in pipeline.retrieve("how hot is tea?", 1)[0].chunk.text


class Vague(HashEncoder):
    """Reads questions badly: their vectors are mostly noise."""

    def encode(self, texts, role="document"):
        vectors = super().encode(texts, role)
        if role == "query":
            vectors = vectors + 0.5 * np.random.default_rng(len(texts[0])).normal(size=vectors.shape)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_feedback_from_words_finds_what_the_vector_alone_does_not():
    common = "the river carries boats past the town and the bridge over the water where people walk at night"
    corpus = MemoryCorpus.of({str(i): f"{common} w{i}x w{i}y {common}" for i in range(30)}, Vague())
    firsts = {}
    for name in ("dense", "lexical_feedback"):
        retriever = registry.find("retriever", name)()
        found = [retriever.search(Query(f"w{i}x"), 1, corpus)[0].chunk.document_id for i in range(30)]
        firsts[name] = sum(document == str(i) for i, document in enumerate(found))
    assert firsts["dense"] < 20
    assert firsts["lexical_feedback"] > firsts["dense"] + 5


def test_feedback_follows_its_formula():
    corpus = sample_corpus(ENCODER)
    query = Query("green tea")
    retriever = LexicalFeedbackRetriever(chunks=3, sharpness=2, weight=0.5)
    hits = corpus.match("green tea", 3)
    feedback = sum((h.score / hits[0].score) ** 2 * corpus.vectors([h.chunk])[0] for h in hits)
    moved = corpus.embed("green tea") + 0.5 * feedback / np.linalg.norm(feedback)
    np.testing.assert_allclose(retriever.vector(query, corpus), moved / np.linalg.norm(moved), atol=1e-6)
    dense = DenseRetriever().search(query, 9, corpus)
    for settings in ({"weight": 0}, {"weight": 0, "chunks": 50}):
        found = LexicalFeedbackRetriever(**settings).search(query, 9, corpus)
        assert [h.chunk.id for h in found] == [h.chunk.id for h in dense]
    assert (LexicalFeedbackRetriever().vector(Query("qqq zzz"), corpus) == corpus.embed("qqq zzz")).all()
    opposite = MemoryCorpus.of({"a": "a b", "b": "c"}, ENCODER)
    opposite.embed("a")
    opposite._asked["a"] = -opposite.vectors(list(opposite.chunks()))[0]
    assert np.isfinite(LexicalFeedbackRetriever().vector(Query("a"), opposite)).all(), (
        "feedback that cancels the vector"
    )


def test_lexical_searches_of_one_question_are_done_once(tmp_path, monkeypatch):
    sample, done = sample_corpus(ENCODER), []
    part = MemoryCorpus([sample.document("tea")], [c for c in sample.chunks() if c.document_id == "tea"], ENCODER)
    with over_a_library(tmp_path, part) as corpus:
        match = corpus.library.match
        monkeypatch.setattr(corpus.library, "match", lambda *a: done.append(a) or match(*a))
        few = corpus.match("green tea", 2)
        assert few == corpus.match("green tea", 40)[:2]
        assert len(done) == 1
        assert corpus.match("green tea", 200)[:2] == few
        corpus.match("green tea", 2, parse("year == 2001"))
        assert len(done) == 3
        take(corpus.library, "copy", sample)
        assert len(corpus.match("green tea", 40)) > len(few)
        assert len(done) == 4
