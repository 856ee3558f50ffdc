"""Learned sparse retrieval: scores are the library's inner products, rows are kept, and what cannot work is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sentence_transformers")

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.engines import load_torch
from fovea.rag.errors import ModelError
from fovea.rag.filters import parse
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.testing.retrievers import check_retriever
from fovea.rag.trace import Trace
from fovea.rag.types import Query
from fovea.retrievers import learned_sparse
from fovea.retrievers.learned_sparse import LearnedSparseRetriever
from fovea.retrievers.postings import Kept, Postings
from fovea.retrievers.sparse_model import SparseModel, Weights
from tests.saved_models import Maker, save_sparse

QUESTIONS = ("how hot is green tea", "the moon", "rivers flow and flow")


@pytest.fixture(scope="module", params=["splade", "without_inference"])
def folder(request, tmp_path_factory):
    prompts = {"query": "tea ", "document": "moon "} if request.param == "splade" else None
    return save_sparse(
        tmp_path_factory.mktemp(request.param), without_inference=request.param != "splade", prompts=prompts,
        max_active_dims=20,
    )  # fmt: skip


def retriever(folder, store=None, **settings):
    made = LearnedSparseRetriever(model=str(folder), **settings)
    return made.beside(store, store) if store else made


def test_it_conforms(folder):
    check_retriever(retriever(folder))


def test_scores_are_inner_products_of_the_librarys_vectors(folder):
    corpus, theirs = sample_corpus(), load_torch(folder, kind="SparseEncoder")
    chunks = list(corpus.chunks())
    documents = theirs.encode_document([c.text for c in chunks], convert_to_sparse_tensor=False).numpy()
    for question in QUESTIONS:
        expected = documents @ theirs.encode_query([question], convert_to_sparse_tensor=False).numpy()[0]
        found = {h.chunk.id: h.score for h in retriever(folder).search(Query(question), 999, corpus)}
        assert found == pytest.approx({c.id: s for c, s in zip(chunks, expected.tolist()) if s > 0}, abs=1e-4)
        where = parse("year >= 2003")
        shown = [h.chunk.id for h in retriever(folder).search(Query(question, where=where), 999, corpus)]
        assert shown == [c for c in found if next(d for d in chunks if d.id == c).fields["year"] >= 2003]


def test_a_long_text_is_read_to_its_end_and_said(folder):
    model = SparseModel(folder, "cpu", 4, None)
    trace = Trace()
    with trace.stage("retrieve"):
        one, two = model.weights(
            ["the moon orbits the earth in days " * 12 + last for last in ("tea", "rivers")], "document"
        )
    assert list(trace.warnings.values()) == [2]
    assert len(one.terms) <= 20, "as many terms as the model keeps of one text"
    assert (one.terms.tolist(), one.weights.tolist()) != (two.terms.tolist(), two.weights.tolist())


def test_vectors_are_kept_by_text_and_only_changes_are_encoded(folder, tmp_path, monkeypatch):
    seen: list[str] = []
    real = SparseModel.weights
    monkeypatch.setattr(SparseModel, "weights", lambda self, texts, role: (
        seen.extend(texts if role == "document" else ()), real(self, texts, role))[1])  # fmt: skip
    texts = {"moon": "The moon orbits the earth.", "tea": "Tea is brewed.", "copy": "Tea is brewed."}
    corpus = MemoryCorpus.of(texts, sample_corpus().encoder)
    first = retriever(folder, tmp_path).search(Query("the moon"), 5, corpus)
    assert sorted(seen) == sorted(set(texts.values()))
    again = retriever(folder, tmp_path)
    assert [(h.chunk.id, h.score) for h in again.search(Query("the moon"), 5, corpus)] == [
        (h.chunk.id, h.score) for h in first]  # fmt: skip
    assert len(seen) == 2, "the next process finds them in the store"
    changed = MemoryCorpus.of({**texts, "tea": "Rivers flow."}, corpus.encoder)
    again.search(Query("the moon"), 5, changed)
    assert seen[2:] == ["Rivers flow."]
    again.search(Query("the moon"), 5, MemoryCorpus.of({"moon": texts["moon"]}, corpus.encoder))
    [file] = tmp_path.glob("learned_sparse-*.sqlite")
    assert set(Kept(file).get([*texts.values(), "Rivers flow."])) == {texts["moon"]}


def test_a_damaged_or_unwritable_file_costs_time_alone(folder, tmp_path):
    corpus = sample_corpus()
    made = retriever(folder, tmp_path)
    expected = [(h.chunk.id, h.score) for h in made.search(Query("tea"), 5, corpus)]
    [file] = tmp_path.glob("*.sqlite")
    file.write_bytes(b"no database at all" * 100)
    blocked = tmp_path / "a file"
    blocked.write_text("")
    for store, word in ((tmp_path, "cannot be read"), (blocked, "not kept")):
        trace = Trace()
        with trace.stage("retrieve"):
            found = retriever(folder, store).search(Query("tea"), 5, corpus)
        assert [(h.chunk.id, h.score) for h in found] == expected
        assert any(word in message for message in trace.warnings)


def test_an_interruption_loses_one_slice_at_most(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(learned_sparse, "AT_ONCE", 1)
    real, times = SparseModel.weights, iter(range(100))

    def third_fails(self, texts, role):
        if next(times) == 2:
            raise KeyboardInterrupt
        return real(self, texts, role)

    monkeypatch.setattr(SparseModel, "weights", third_fails)
    corpus = MemoryCorpus.of({n: f"tea {n}" for n in "abcd"}, sample_corpus().encoder)
    with pytest.raises(KeyboardInterrupt):
        retriever(folder, tmp_path).search(Query("tea"), 5, corpus)
    [file] = tmp_path.glob("*.sqlite")
    assert len(Kept(file).get([f"tea {n}" for n in "abcd"])) == 2


def test_a_pipeline_asks_it_beside_the_others(folder, docs, tmp_path):
    stages = {"encoder": "hash", "retrieve": [{"use": "dense"}, {"use": "learned_sparse", "model": str(folder)}]}
    for run in range(2):
        with Pipeline(base=tmp_path, **stages) as pipeline:
            if not run:
                pipeline.ingest(docs)
            [hit] = pipeline.retrieve("How hot is green tea?", k=1)
            assert set(hit.scores) >= {"dense", "learned_sparse"}
            assert pipeline.verify() == []


def test_a_model_of_another_kind_is_refused(tmp_path):
    made = Maker(tmp_path)
    dense = made.save("dense", made.pooled())
    with pytest.raises(ModelError) as caught:
        retriever(dense).search(Query("tea"), 5, sample_corpus())
    assert str(caught.value) == (
        f"retrieve learned_sparse: {dense} is a SentenceTransformer, whose vectors are not sparse\n"
        "  fix: a SparseEncoder, such as naver/splade-v3; or encoder: {use: sentence_transformer, model: ...}"
    )


ROW = st.dictionaries(st.integers(0, 9), st.integers(1, 5), max_size=6)


@given(st.lists(ROW, max_size=8), ROW)
def test_postings_give_the_inner_products(rows, asked):
    def dense(row):
        return np.array([row.get(t, 0) for t in range(10)], np.float64)

    def sparse(row):
        terms = sorted(row)
        return Weights(np.array(terms, np.int32), np.array([row[t] for t in terms], np.float32))

    found = Postings([sparse(row) for row in rows]).scores(sparse(asked))
    assert found.tolist() == [float(dense(row) @ dense(asked)) for row in rows]
