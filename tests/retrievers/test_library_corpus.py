"""LibraryCorpus answers as MemoryCorpus, which computes everything by hand, and keeps up with a writer."""

import threading

import numpy as np
import pytest

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import QueryError
from fovea.rag.filters import parse
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Document, Query, Span
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.evidence import evidence
from fovea.retrievers.lexical_feedback import LexicalFeedbackRetriever
from fovea.retrievers.library import terms
from fovea.retrievers.stores.embedded import EmbeddedStore
from tests.library_tools import ENCODER, opened, put

TEXTS = {
    f"d{i}": f"the moon and the river {i} meet where {i * 7} ships sail by night. " * (i % 4 + 1) for i in range(9)
}


@pytest.fixture
def corpora(tmp_path):
    with opened(tmp_path) as library:
        for i, (name, text) in enumerate(TEXTS.items()):
            put(library, name, text, size=31, metadata={"i": i})
        index = EmbeddedStore(path=tmp_path).open(library)
        index.sync()
        corpus = LibraryCorpus(library, index, ENCODER)
        yield corpus, MemoryCorpus(library.documents(), library.chunks(), ENCODER)


@pytest.mark.parametrize("where", [None, parse("i >= 4 and i != 6"), parse("i == 99")])
@pytest.mark.parametrize("question", ["moon 7 river", "ships by night", "nothing known"])
def test_it_answers_as_the_corpus_in_memory(corpora, question, where):
    ours, theirs = corpora
    vector = ours.embed(question)
    for k in (1, 5, 500):
        assert_same(ours.match(question, k, where), theirs.match(question, k, where))
        near, right = ours.nearest(vector, k, where), theirs.nearest(vector, k, where)
        assert [h.score for h in near] == pytest.approx([h.score for h in right], abs=1e-6)
        assert len({h.chunk.id for h in near}) == len(near) == len(right)


def assert_same(found, right):
    assert [h.chunk for h in found] == [h.chunk for h in right]
    assert [h.score for h in found] == pytest.approx([h.score for h in right], rel=1e-9)


def test_reading(corpora):
    ours, theirs = corpora
    chunks = list(ours.chunks())
    assert chunks == list(theirs.chunks())
    np.testing.assert_array_equal(ours.vectors(chunks[::-1]), theirs.vectors(chunks[::-1]))
    assert ours.vectors([]).shape == (0, 32)
    for chunk in chunks[::5]:
        assert ours.neighbours(chunk, 1, 2) == theirs.neighbours(chunk, 1, 2)
        assert ours.document(chunk.document_id) == theirs.document(chunk.document_id)
    strange = Document("strange", "not in there").chunk(Span(0, 3))
    for action in (lambda: ours.vectors([strange]), lambda: ours.neighbours(strange, 1, 1)):
        with pytest.raises(QueryError):
            action()


def test_the_version_changes_with_the_chunks(corpora):
    ours, _ = corpora
    before = ours.version
    ours.embed("x")
    assert ours.version == before
    put(ours.library, "new", "more text")
    assert ours.version != before


def test_a_question_is_embedded_once(corpora, monkeypatch):
    ours, _ = corpora
    asked = []
    real = HashEncoder.encode
    monkeypatch.setattr(
        HashEncoder, "encode", lambda self, texts, role="document": asked.append(role) or real(self, texts, role)
    )
    for _ in range(3):
        vector = ours.embed("moon")
    assert asked == ["query"]
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1
    for i in range(100):
        ours.embed(str(i))
    assert len(ours._embedded) == 64


def test_all_stages_of_a_question_share_one_lexical_search(corpora, monkeypatch):
    ours, _ = corpora
    asked, read = [], []
    match, by_no = type(ours.library).match, type(ours.library).chunk_by_no
    monkeypatch.setattr(
        type(ours.library), "match", lambda self, text, k, where: asked.append(text) or match(self, text, k, where)
    )
    monkeypatch.setattr(type(ours.library), "chunk_by_no", lambda self, nos: read.extend(nos) or by_no(self, nos))
    query = Query("moon 7 river")
    hits = BM25Retriever().search(query, 3, ours)
    assert len(read) == 3, "what nobody asked for is not read"
    LexicalFeedbackRetriever().search(query, 50, ours)
    evidence(query, hits, np.array([hit.score for hit in hits]), ours)
    assert asked == ["moon 7 river"]
    put(ours.library, "new", "a moon over river 7")
    assert any(hit.chunk.source == "new" for hit in BM25Retriever().search(query, 500, ours))


def test_chunks_that_go_between_search_and_reading(tmp_path, monkeypatch):
    """The search is done again, on one commit: never fewer hits than there are, never half of a change."""
    with opened(tmp_path) as writer:
        for name, text in TEXTS.items():
            put(writer, name, text, size=31)
        with opened(tmp_path, read_only=True) as library:
            corpus = LibraryCorpus(library, EmbeddedStore(path=tmp_path).open(library, read_only=True), ENCODER)
            commits = [{c.id for c in writer.chunks() if c.source not in gone} for gone in ((), ("d7",), ("d7", "d3"))]
            real, left = type(library).chunk_by_no, ["d3", "d7"]

            def late(self, nos):
                if left:
                    writer.remove([left.pop()])
                return real(self, nos)

            monkeypatch.setattr(type(library), "chunk_by_no", late)
            assert {h.chunk.id for h in corpus.nearest(corpus.embed("moon"), 500)} == commits[1]
            assert left == [], "and one more went while that was read"
            assert {h.chunk.id for h in corpus.nearest(corpus.embed("moon"), 500)} == commits[2]


def test_threads_and_a_writer(tmp_path):
    """Many readers of one corpus while another connection writes: every hit is right for some commit."""
    with opened(tmp_path) as writer:
        put(writer, "a", "moon river " * 50, size=11)
        with opened(tmp_path, read_only=True) as library:
            index = EmbeddedStore(path=tmp_path).open(library, read_only=True)
            corpus, wrong, done = LibraryCorpus(library, index, ENCODER), [], threading.Event()

            def read():
                try:
                    while not done.is_set():
                        for hits in (corpus.match("moon and 3", 5), corpus.nearest(corpus.embed("moon"), 5)):
                            if len(hits) != 5 or any("moon" not in h.chunk.text for h in hits):
                                wrong.append(hits)
                except Exception as error:
                    wrong.append(error)

            threads = [threading.Thread(target=read) for _ in range(4)]
            for thread in threads:
                thread.start()
            for i in range(12):
                put(writer, "a", f"moon {i % 7} and " * 50, size=11 + i % 2)
            done.set()
            for thread in threads:
                thread.join()
            assert wrong == []


@pytest.mark.parametrize("where", [None, parse("i >= 4 and i != 6"), parse("i == 99")])
@pytest.mark.parametrize("question", ["moon 7 river", "ships by night", "14 21 moon 28", "nothing known"])
@pytest.mark.parametrize("rare", [0.01, 0.2, 0.9, 1])
def test_uncommon_words_find_what_they_do_in_memory(corpora, question, where, rare):
    ours, theirs = corpora
    for k in (1, 5, 500):
        (scores, vectors), (right, of_right) = (c.matched(question, k, where, rare) for c in (ours, theirs))
        assert scores == pytest.approx(right, rel=1e-6)
        np.testing.assert_allclose(vectors, of_right)
        assert vectors.dtype == scores.dtype == np.float32
        assert len(vectors) == len(scores)


def test_words_that_many_hold_are_passed_by_and_what_was_remembered_follows_the_library(corpora, monkeypatch):
    ours, _ = corpora
    [(_, alone)] = ours.library.match_uncommon("14 the moon", 1, 0.1)
    [(_, rarest)] = ours.library.match_uncommon("the moon", 1, 0.001)
    assert alone > rarest > 0
    put(ours.library, "new", "14 ships")
    assert len(ours.library.match_uncommon("14 the moon", 500, 0.1)) == 1 + len(
        [chunk for chunk in ours.chunks() if "14" in chunk.text.split() and chunk.source != "new"]
    )
    monkeypatch.setattr(terms, "REMEMBERED", 1)
    assert ours.library.match_uncommon("14 21", 500, 0.1) == ours.library.match_uncommon("14 21", 500, 0.1)
