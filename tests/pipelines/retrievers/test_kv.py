"""Retrieval inside a model: a head made by formula that looks at equal words, over passages side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("numba")

from fovea.attention_retrieval.memory.kv_index import KVIndex, PointingKeys  # noqa: E402
from fovea.attention_retrieval.probes.weights import weights  # noqa: E402
from fovea.pipelines.answering import probing  # noqa: E402
from fovea.pipelines.answering.layout import Layout  # noqa: E402
from fovea.pipelines.pipeline import Pipeline  # noqa: E402
from fovea.pipelines.retrievers.kv import KVRetriever  # noqa: E402
from fovea.rag.encoders.hash import HashEncoder  # noqa: E402
from fovea.rag.filters import parse  # noqa: E402
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus  # noqa: E402
from fovea.rag.testing.retrievers import check_retriever  # noqa: E402
from fovea.rag.trace import Trace  # noqa: E402
from fovea.rag.types import Query  # noqa: E402
from tests.matching_lm import keep_table, save_matching  # noqa: E402

TEXTS = {
    "tea": "Tea grows on hills. Green leaves are dried in the sun.\n\nKettles whistle at noon. ",
    "mars": "Dust storms cover deserts. Two moons circle Mars at night.\tIce hides below.",
    "sea": "Ships carry salt. Harbours close in winter. Sailors sing of storms.",
}
CORPUS = MemoryCorpus.of(TEXTS, HashEncoder())
MOONS = Query("Which moons circle Mars")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_matching(tmp_path_factory.mktemp("matching"), TEXTS.values())


@pytest.fixture(autouse=True)
def table(model, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probing, "PROBES", 2)
    probing.digest.cache_clear()
    keep_table(model)
    yield
    probing.digest.cache_clear()


def retriever(model: str, folder: Path | None = None) -> KVRetriever:
    return KVRetriever(model=model, memory={"path": folder})


def search(of: KVRetriever, query: Query = MOONS, k: int = 3, corpus=CORPUS):
    trace = Trace()
    with trace.stage("retrieve") as stage:
        hits = of.search(query, k, corpus)
    return hits, stage, trace


def test_the_passage_that_the_question_looks_at_comes_first_with_the_tokens_it_looked_at(model):
    hits, stage, _ = search(retriever(model))
    assert hits[0].chunk.document_id == "mars"
    assert hits[0].score == hits[0].scores["kv"]
    best = stage.notes["spans"][0]
    assert best["chunk"] == hits[0].chunk.id
    span = best["spans"][0]
    assert TEXTS["mars"][span["start"] : span["end"]] == "Two moons circle Mars at night."
    assert stage.counts["passages_read"] == 3


def test_it_keeps_the_laws_of_retrievers(model):
    check_retriever(retriever(model), sample_corpus())


def test_passages_are_read_once_and_found_after_a_restart(model, tmp_path):
    first = retriever(model, tmp_path)
    hits, _, _ = search(first)
    assert "passages_read" not in search(first)[1].counts
    again, stage, _ = search(retriever(model, tmp_path))
    assert "passages_read" not in stage.counts
    assert [hit.chunk.id for hit in again] == [hit.chunk.id for hit in hits]
    assert [hit.score for hit in again] == pytest.approx([hit.score for hit in hits], abs=1e-2), "keys are bf16"
    assert len(list(tmp_path.glob("*.cache"))) == 3
    more = MemoryCorpus.of({**TEXTS, "sun": "The sun is hot."}, HashEncoder())
    assert search(retriever(model, tmp_path), corpus=more)[1].counts["passages_read"] == 1


def test_a_damaged_file_is_said_and_the_passage_read_anew(model, tmp_path):
    expected, *_ = search(retriever(model, tmp_path))
    path = next(tmp_path.glob("*.cache"))
    whole = path.read_bytes()
    for damaged in (whole[:-7], whole[:-3] + b"x" + whole[-2:], b""):
        path.write_bytes(damaged)
        hits, stage, trace = search(retriever(model, tmp_path))
        assert [hit.chunk.id for hit in hits] == [hit.chunk.id for hit in expected]
        assert stage.counts["passages_read"] == 1
        assert next(iter(trace.warnings)).startswith("a passage's cache is damaged, and the passage is read anew: ")
        assert path.read_bytes() == whole


def test_a_changed_passage_is_another(model):
    one = retriever(model)
    search(one)
    changed = MemoryCorpus.of({**TEXTS, "sea": "Two moons circle Mars, and moons circle moons."}, HashEncoder())
    hits, stage, _ = search(one, corpus=changed)
    assert stage.counts["passages_read"] == 1
    assert {hit.chunk.document_id for hit in hits[:2]} == {"mars", "sea"}


def test_filters_hold(model):
    corpus = MemoryCorpus.of({"2001/mars": TEXTS["mars"], "2002/moons": "Moons circle Mars."}, HashEncoder())
    query = Query(MOONS.text, where=parse("document_id == '2002/moons'"))
    hits, _, _ = search(retriever(model), query, corpus=corpus)
    assert [hit.chunk.document_id for hit in hits] == ["2002/moons"] or not hits


def test_one_text_is_looked_at_as_in_a_prompt_of_its_own(model):
    """With one passage, the weights are the softmax of the heads in its prompt, the question's own tokens left out."""
    kv, (hit,) = retriever(model), CORPUS.nearest(CORPUS.embed("moons"), 1)
    lm, passages, heads = kv.lm, kv._passages, kv.pointing
    prompt = passages.laid(MOONS, [hit], CORPUS)
    opening, place = passages.opening(prompt.opening), prompt.places[0]
    reader = PointingKeys(lm, passages.rotation, heads, opening)
    index = KVIndex(reader, [reader.read(prompt.ids[place.start : place.stop])])
    layout = Layout.of(lm, MOONS, [hit], corpus=CORPUS)
    rows = layout.tokens(*layout.question)
    theirs = weights(lm, layout.ids, [[row] for row in rows], heads)
    for head, by_row, asked in zip(heads, theirs, weights_queries(lm, layout.ids, rows, heads)):
        for whole, row in zip(by_row, asked):
            ours, seen = index._share(row[None], head), whole[place.start : place.stop]
            np.testing.assert_allclose(ours / ours.sum(), seen / seen.sum(), atol=1e-4)


def weights_queries(lm, ids, rows, heads) -> list[np.ndarray]:
    """The queries of a whole prompt's rows, times the scaling."""
    from fovea.attention_retrieval.probes.through import through

    found: dict[int, np.ndarray] = {}

    def seen(called, out):
        found[called.layer] = (called.query[0][:, rows.start : rows.stop] * called.scaling).numpy()
        return out

    with through(lm.model, seen), torch.inference_mode():
        lm.model(torch.tensor([ids]), use_cache=False)
    return [found[layer][head] for layer, head in heads]


def test_a_pipeline_retrieves_inside_with_keys_beside_its_store(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    for name, text in TEXTS.items():
        Path("docs", f"{name}.txt").write_text(text)
    with Pipeline(encoder="hash", retrieve=[{"use": "kv", "model": model}]) as pipeline:
        pipeline.ingest("docs")
        answer = pipeline.ask(MOONS, k=2)
        assert answer.hits[0].chunk.source == "docs/mars.txt"
        assert pipeline.shelved().texts == 3
        assert pipeline.shelved().stale == ()
        Path("docs/tea.txt").write_text("Tea is cold.")
        pipeline.ingest("docs")
        assert [name.split(":")[0] for name in pipeline.shelved().stale] == ["docs/tea.txt"]
