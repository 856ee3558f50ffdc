"""The reader's attention as a re-ranker: planted sentences, exact places, windows, tables, and the laws."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from fovea.attention_retrieval.heads import table as tables  # noqa: E402
from fovea.attention_retrieval.probes.weights import weights  # noqa: E402
from fovea.pipelines.answering import probing  # noqa: E402
from fovea.pipelines.answering.layout import Layout  # noqa: E402
from fovea.pipelines.refiners.attention import AttentionRefiner, mixed  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from fovea.rag.encoders.hash import HashEncoder  # noqa: E402
from fovea.rag.errors import ConfigError, ModelError  # noqa: E402
from fovea.rag.models import find  # noqa: E402
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus  # noqa: E402
from fovea.rag.testing.refiners import check_refined, check_refiner  # noqa: E402
from fovea.rag.trace import Trace  # noqa: E402
from fovea.rag.types import Hit, Query  # noqa: E402
from tests.matching_lm import LAYERS, MATCHING, keep_table, save_matching  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama  # noqa: E402

TEXTS = {
    "tea": "  Tea grows on hills. Green leaves are dried in the sun.\n\nKettles whistle at noon. ",
    "mars": "Dust storms cover deserts. Two moons circle Mars at night.\tIce hides below.",
    "sea": "Ships carry salt. Harbours close in winter. Sailors sing of storms.",
}
CORPUS = MemoryCorpus.of(TEXTS, HashEncoder())
HITS = [Hit(chunk, 3.0 - n) for n, chunk in enumerate(CORPUS.chunks())]
SMOLLM2 = find("smollm2")
"""In the user's cache; tests have one of their own otherwise."""
MOONS = Query("Which moons circle Mars")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_matching(tmp_path_factory.mktemp("matching"), TEXTS.values())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probing, "PROBES", 2)
    probing.digest.cache_clear()
    yield tmp_path / "cache"
    probing.digest.cache_clear()


def run(refiner: AttentionRefiner, query: Query = MOONS, hits=HITS, corpus=CORPUS):
    """What comes out, its sentences by document as (text, share), and the stage."""
    trace = Trace()
    with trace.stage("refine") as stage:
        refined = refiner.refine(query, hits, corpus)
    names = {hit.chunk.id: hit.chunk.document_id for hit in refined}
    told = {
        names[one["chunk"]]: [
            (corpus.document(names[one["chunk"]]).text[s["start"] : s["end"]], s["share"]) for s in one["spans"]
        ]
        for one in stage.notes.get("spans", [])
    }
    return refined, told, stage


def order(hits) -> list[str]:
    return [hit.chunk.document_id for hit in hits]


def test_the_passage_of_the_planted_sentence_comes_first_and_the_trace_says_where_it_lies(model):
    keep_table(model)
    refined, told, stage = run(AttentionRefiner(model=model, weight=1))
    assert order(refined)[0] == "mars"
    assert told["mars"][0][0] == "Two moons circle Mars at night."
    assert told["mars"][0][1] > 0.9
    assert sum(share for spans in told.values() for _, share in spans) == pytest.approx(1, abs=1e-3)
    assert refined[0].score == refined[0].scores["attention"] == 1
    assert stage.counts["prompts"] == 1


def test_a_sentence_gets_its_share_of_what_the_heads_softmax_gives_beyond_a_question_of_nothing(model):
    keep_table(model)
    lm = load(model)
    found = AttentionRefiner(model=model).evidence(MOONS, HITS, CORPUS)
    layout = Layout.of(lm, MOONS, HITS, corpus=CORPUS)
    nothing = layout.neutral(lm, 0)
    asked = weights(lm, layout.ids, [layout.tokens(*layout.question)], [MATCHING])[0, 0]
    drawn = weights(lm, [*layout.ids[: nothing.start], *nothing.ids], nothing.rows, [MATCHING])[0, 0]
    beyond = {}
    for hit, at, each in zip(HITS, layout.passages, found):
        for span in each:
            tokens = layout.tokens(at + span.start - hit.chunk.start, at + span.end - hit.chunk.start)
            beyond[hit.chunk.id, span] = sum(max(asked[n] - drawn[n], 0) for n in tokens)
    whole = sum(beyond.values())
    assert whole > 0.1
    for hit, each in zip(HITS, found):
        assert each
        for span, share in each.items():
            assert share == pytest.approx(beyond[hit.chunk.id, span] / whole, abs=1e-5)


def test_the_model_reads_no_further_than_the_deepest_of_its_heads(model):
    keep_table(model)
    ran: list[int] = []
    layers = load(model).model.model.layers
    handles = [
        layer.mlp.register_forward_hook(lambda *_, n=n: ran.append(n))  # type: ignore[misc]
        for n, layer in enumerate(layers)
    ]
    try:
        run(AttentionRefiner(model=model))
    finally:
        for handle in handles:
            handle.remove()
    assert len(layers) == LAYERS
    assert set(ran) == set(range(MATCHING[0]))


def test_where_nothing_is_seen_the_order_is_kept(model):
    keep_table(model)
    unknown = Query("Zyx wvu tsr qpo nml")
    for weight in (0.5, 1):
        refined, told, _ = run(AttentionRefiner(model=model, weight=weight), unknown)
        assert order(refined) == order(HITS)
        assert not any(told.values())
    assert order(run(AttentionRefiner(model=model, weight=0))[0]) == order(HITS)


@pytest.mark.parametrize(
    ("incoming", "evidence", "weight", "expected"),
    [
        ([3.0, 2.0, 1.0], [0.0, 0.1, 0.2], 1.0, [0.0, 0.5, 1.0]),
        ([3.0, 2.0, 1.0], [0.0, 0.1, 0.2], 0.5, [0.5, 0.5, 0.5]),
        ([3.0, 2.0, 1.0], [0.0, 0.0, 0.0], 0.5, [0.5, 0.25, 0.0]),
        ([-7.0], [0.2], 0.5, [0.5]),
        ([2.0, 2.0], [0.1, 0.2], 0.5, [0.25, 0.5]),
    ],
)
def test_scores_are_mixed_in_shares(incoming, evidence, weight, expected):
    assert mixed(incoming, evidence, weight) == pytest.approx(expected)


def test_one_hit_none_and_those_below(model):
    keep_table(model)
    refiner = AttentionRefiner(model=model, top_n=2)
    assert refiner.refine(MOONS, [], CORPUS) == []
    (only,), told, _ = run(refiner, hits=HITS[1:2])
    assert told["mars"][0][0] == "Two moons circle Mars at night."
    assert only.score == 0.6
    refined, _, stage = run(refiner)
    assert sorted(order(refined)) == ["mars", "tea"]
    assert stage.dropped == {HITS[2].chunk.id: "below the first 2 hits, which alone the model reads"}


def test_passages_that_share_text_get_theirs_each(model):
    keep_table(model)
    corpus = MemoryCorpus.of({"a": TEXTS["mars"], "b": TEXTS["mars"], "c": TEXTS["sea"]}, HashEncoder())
    hits = [Hit(chunk, 1.0) for chunk in corpus.chunks()]
    refiner = AttentionRefiner(model=model, weight=1)
    refined, told, _ = run(refiner, hits=hits, corpus=corpus)
    assert order(refined)[2] == "c"
    assert told["a"][0][1] == pytest.approx(told["b"][0][1], abs=1e-3)
    check_refined(refiner, MOONS, hits, corpus)


def test_several_prompts_where_the_window_holds_few_passages(tmp_path):
    long = {"long": "Deserts " * 400, **{f"{name} {n}": text for n in range(3) for name, text in TEXTS.items()}}
    model = save_matching(tmp_path / "small", TEXTS.values(), window=230)
    keep_table(model)
    corpus = MemoryCorpus.of(long, HashEncoder())
    hits = [Hit(chunk, 1.0) for chunk in corpus.chunks()]
    refiner = AttentionRefiner(model=model, weight=1, top_n=20)
    refined, told, stage = run(refiner, hits=hits, corpus=corpus)
    assert {name.split()[0] for name in order(refined)[:3]} == {"mars"}
    assert stage.counts["prompts"] > 1
    assert [times for text, times in stage.warnings.items() if "could not read whole" in text] == [1]
    assert told["long"] == []
    assert all(told[f"{name} {n}"] for n in range(3) for name in ("mars",))
    check_refined(refiner, MOONS, hits, corpus)


def test_laws_and_a_table_made_at_the_first_use(tmp_path, cache):
    model = save_llama(tmp_path / "llama", window=4096, template=TEMPLATE)
    check_refiner(AttentionRefiner(model=model, top_n=4))
    (path,) = (cache / "heads").iterdir()
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    corpus = sample_corpus()
    hits = corpus.nearest(corpus.embed("tea"), 2)
    AttentionRefiner(model=model).refine(Query("tea"), hits, corpus)
    assert tables.read(path)


def test_a_model_with_a_sliding_window_is_read(tmp_path):
    from tests.tiny_lms import hybrid

    folder = tmp_path / "hybrid"
    save_llama(folder, template=TEMPLATE)
    config = hybrid()
    config.vocab_size = 300
    import transformers

    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    refined, _, stage = run(AttentionRefiner(model=str(folder)))
    assert sorted(order(refined)) == sorted(order(HITS))
    assert stage.counts["prompts"] == 1


def test_a_model_that_cannot_be_looked_at_says_so(tmp_path, model):
    with pytest.raises(ModelError, match="nowhere"):
        run(AttentionRefiner(model=str(tmp_path / "nowhere")))
    with pytest.raises(ModelError, match="question"):
        keep_table(model)
        run(AttentionRefiner(model=model), Query("  "))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("model: m, top_n: 0", "top_n"),
        ("model: m, weight: 2", "weight"),
        ("model: m, passage: mean", "passage"),
        ("top_n: 3", "model"),
        ("model: m, spans: -1", "spans"),
    ],
)
def test_wrong_settings_say_which(tmp_path, settings, said):
    from fovea.pipelines.pipeline import Pipeline

    path = tmp_path / "p.yaml"
    path.write_text(f"name: p\nretrieve: [bm25]\nrefine:\n  - {{use: attention, {settings}}}\n")
    with pytest.raises(ConfigError, match=said):
        Pipeline.from_yaml(path)


def test_a_rule_that_needs_probabilities_is_refused_behind_it(tmp_path):
    from fovea.pipelines.pipeline import Pipeline

    path = tmp_path / "p.yaml"
    path.write_text("name: p\nretrieve: [bm25]\nrefine: [reranker, {use: attention, model: smollm2}, mass]\n")
    with pytest.raises(ConfigError, match="probabilities"):
        Pipeline.from_yaml(path)


@pytest.mark.slow
@pytest.mark.skipif(SMOLLM2 is None, reason="needs the model: fovea models get smollm2")
def test_smollm2_points_at_the_sentence_that_answers(monkeypatch):
    monkeypatch.setattr(probing, "PROBES", 24)
    probing.digest.cache_clear()
    folder = str(SMOLLM2.path)
    shipped = tables.find("smollm2", "evidence", probing.digest("evidence"))
    tables.keep(replace(shipped, model=tables.identity(folder)))
    texts = {
        "a": "The harbour froze in March. Fishermen mended nets until the thaw came.",
        "b": "Anna Berger grew up in Hallbrook. She paid 40,000 crowns for the old mill beside the river.",
        "c": "The old mill was painted white. Tourists photograph it from the bridge.",
    }
    corpus = MemoryCorpus.of(texts, HashEncoder())
    hits = [Hit(chunk, 1.0) for chunk in corpus.chunks()]
    refined, told, _ = run(AttentionRefiner(model=folder, weight=1), Query("How much did the mill cost?"), hits, corpus)
    assert order(refined)[0] == "b"
    assert told["b"][0][0] == "She paid 40,000 crowns for the old mill beside the river."
