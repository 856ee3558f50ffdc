"""Long documents read step by step: what is kept is of the document, within its cap, and where the question points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from fovea.attention_retrieval.probes.weights import weights  # noqa: E402
from fovea.pipelines.answering import probing  # noqa: E402
from fovea.pipelines.answering.layout import Layout  # noqa: E402
from fovea.pipelines.refiners.infini_retri import InfiniRetri  # noqa: E402
from fovea.pipelines.refiners.pieces import pieces, runs, steps  # noqa: E402
from fovea.pipelines.refiners.token_scores import LastLayer  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from fovea.rag.encoders.hash import HashEncoder  # noqa: E402
from fovea.rag.errors import QueryError  # noqa: E402
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus  # noqa: E402
from fovea.rag.testing.refiners import QUESTIONS, check_refined  # noqa: E402
from fovea.rag.trace import Trace  # noqa: E402
from fovea.rag.types import Document, Hit, Query  # noqa: E402
from fovea.rag.wordpieces import ModelTokenizer  # noqa: E402
from tests.matching_lm import keep_table, save_matching  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import save_llama  # noqa: E402

FILLER = "Ships carry salt. Harbours close in winter. Sailors sing of storms.\n\n"
PLANTED = "Two moons circle Mars at night."
TEXT = FILLER * 12 + PLANTED + "  " + "Ice hides below. " + FILLER * 12
MOONS = Query("Which moons circle Mars")
FORMS = ("probed", "last_layer")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEA_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(probing, "PROBES", 2)
        probing.digest.cache_clear()
        yield
    probing.digest.cache_clear()


@pytest.fixture(scope="module")
def model(tmp_path_factory, cache) -> str:
    made = save_matching(tmp_path_factory.mktemp("matching"), [TEXT], window=600)
    keep_table(made)
    return made


@pytest.fixture(scope="module")
def random_model(tmp_path_factory, cache) -> str:
    """Random weights over bytes: every text is so many tokens."""
    return save_llama(tmp_path_factory.mktemp("llama"), window=2048)


def of(text: str, **more: str) -> tuple[MemoryCorpus, list[Hit]]:
    corpus = MemoryCorpus.of({"text": text, **more}, HashEncoder(), size=200)
    return corpus, [Hit(chunk, 1.0) for chunk in corpus.chunks()]


def run(refiner: InfiniRetri, corpus: MemoryCorpus, hits: list[Hit], query: Query = MOONS):
    trace = Trace()
    with trace.stage("refine") as stage:
        return refiner.refine(query, hits, corpus), stage


@pytest.mark.parametrize("heads", FORMS)
def test_the_planted_sentence_is_carried_to_the_end_and_comes_first(model, heads):
    corpus, hits = of(TEXT, other="Deserts lie far away.")
    refiner = InfiniRetri(model=model, heads=heads, step_tokens=100, keep_tokens=60, top_tokens=3, width=1)
    refined, stage = run(refiner, corpus, hits)
    assert refined[0].chunk.text == PLANTED
    assert refined[0].chunk.start == TEXT.index(PLANTED)
    assert stage.counts["prompts"] > 3
    assert set(stage.dropped.values()) == {"its document was read whole", "not of the first 1 documents"}
    check_refined(refiner, MOONS, hits, corpus)


def test_two_documents_are_read_where_two_are_asked_for(model):
    corpus, hits = of(FILLER * 3, other=f"Salt. {PLANTED} Ice hides below.")
    refined, _ = run(InfiniRetri(model=model, documents=2, top_tokens=4, keep_tokens=60), corpus, hits)
    assert refined[0].chunk.document_id == "other"
    assert refined[0].chunk.text == PLANTED


def test_neighbours_are_one_hit_with_what_stands_between_them(model):
    text = FILLER + "Two moons circle Mars.  \n Mars has moons. " + FILLER
    corpus, hits = of(text)
    refined, _ = run(InfiniRetri(model=model, top_tokens=5, keep_tokens=60), corpus, hits)
    assert refined[0].chunk.text == "Two moons circle Mars.  \n Mars has moons."


def test_where_nothing_is_attended_to_the_hits_stay(model):
    corpus, hits = of(FILLER * 3)
    refined, stage = run(InfiniRetri(model=model, keep_tokens=60), corpus, hits, Query("Zyx wvu tsr qpo nml"))
    assert refined == hits
    assert any("attends to no sentence" in text for text in stage.warnings)
    blank = MemoryCorpus([Document("blank", " \n ")], [], HashEncoder())
    assert InfiniRetri(model=model, keep_tokens=60).refine(MOONS, [], blank) == []


def test_a_step_shrinks_to_the_window_and_no_room_is_said(model):
    corpus, hits = of(TEXT + FILLER * 40)
    refined, stage = run(InfiniRetri(model=model, step_tokens=5000, keep_tokens=60, top_tokens=3), corpus, hits)
    assert stage.counts["prompts"] > 1
    assert PLANTED in [hit.chunk.text for hit in refined]
    with pytest.raises(QueryError, match=r"window of .* holds 600 tokens.*keep_tokens \(590\)"):
        run(InfiniRetri(model=model, keep_tokens=590), corpus, hits)


@pytest.mark.parametrize("heads", FORMS)
def test_laws(random_model, heads):
    corpus = sample_corpus()
    refiner = InfiniRetri(model=random_model, heads=heads, keep_tokens=64, step_tokens=96, documents=2)
    for text, k in ((QUESTIONS[0], 0), (QUESTIONS[1], 1), (QUESTIONS[2], 7)):
        hits = corpus.nearest(corpus.embed(text), k) if k else []
        check_refined(refiner, Query(text), [hit.scored("dense", hit.score) for hit in hits], corpus)


HOSTILE = st.lists(
    st.sampled_from([*"ab .!?\n\t\r", "。", "é", "🙂", "\u0301", "\x00", "\ud800", "[1]", "</"]), max_size=120
).map("".join)


@settings(max_examples=8)
@given(text=HOSTILE | st.text(max_size=60), cap=st.integers(8, 60), heads=st.sampled_from(FORMS))
def test_what_is_kept_never_passes_the_cap_and_is_of_the_document(random_model, text, cap, heads):
    document = Document("d", text)
    refiner = InfiniRetri(model=random_model, heads=heads, keep_tokens=cap, step_tokens=48)
    kept = refiner.read(Query("a b?"), document)
    tokenizer = ModelTokenizer.of(load(random_model).tokenizer, "")
    told = [text[span.start : span.end] for span, _ in kept]
    used = sum(tokenizer.count_many(told))
    assert used <= cap or (len(kept) == 1 and len(told[0]) == 1)
    assert all(a.end <= b.start for (a, _), (b, _) in zip(kept, kept[1:]))


@given(text=HOSTILE | st.text(max_size=200), most=st.integers(2, 40))
def test_pieces_hold_all_of_a_text_in_order(random_model, text, most):
    tokenizer = ModelTokenizer.of(load(random_model).tokenizer, "")
    found = pieces(text, tokenizer, most)
    assert "".join(text[p.start : p.stop] for p in found).strip() == text.strip()
    assert all(p.start <= p.end <= p.stop for p in found)
    assert all(p.tokens <= most or p.stop - p.start <= 1 for p in found)
    assert [p for step in steps(found, most) for p in step] == found
    assert [p for run in runs(found[::-1]) for p in run] == found
    for step in steps(found, most):
        assert len(step) == 1 or sum(p.tokens for p in step) <= most


def test_the_last_layer_is_scored_as_the_paper_says(random_model):
    lm = load(random_model)
    document = "It rains. Tea is hot. The sea is wide."
    corpus, hits = of(document)
    layout = Layout.of(lm, Query("tea?"), hits)
    asks = layout.tokens(*layout.question)
    passage = layout.tokens(layout.passages[0], layout.passages[0] + len(document))
    heads = lm.model.config.num_attention_heads
    last = lm.model.config.num_hidden_layers - 1
    seen = weights(lm, layout.ids, [[row] for row in asks], [(last, h) for h in range(heads)]).sum(axis=0)
    score = LastLayer(3)
    expected = np.zeros(len(passage))
    for a in range(len(asks)):
        row = seen[a, passage.start : passage.stop]
        r = seen[a, asks.start : asks.stop].sum()
        for x in range(len(row)):
            expected[x] += r**2 * row[max(x - 1, 0) : x + 2].sum()
    np.testing.assert_allclose(score(lm, layout, passage), expected, rtol=1e-4)
    frozen = score.rows
    longer, more = of("Coffee is not. " + document)
    other = Layout.of(lm, Query("tea?"), more)
    score(lm, other, other.tokens(other.passages[0], other.passages[0] + 10))
    assert score.rows is frozen


def test_an_even_width_is_refused(random_model):
    with pytest.raises(ValueError, match="must be odd"):
        InfiniRetri(model=random_model, width=8)
