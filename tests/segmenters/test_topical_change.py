"""TopicalChange: what samplers promise, numpy as torch, ensembles, the prior, levels, and a real cross-encoder."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.segmenter import Segmenter
from fovea.rag.trace import Trace
from fovea.rag.types import Document
from fovea.segmenters.blocks import unit
from fovea.segmenters.decode import viterbi
from fovea.segmenters.lengths import Lengths
from fovea.segmenters.pairs import Paragraphs, features, same_topic
from fovea.segmenters.topical_change import TopicalChangeSegmenter
from fovea.segmenters.units import Units
from tests.learned_weights import topical_change
from tests.segmenters.test_sage import articles

HASH = HashEncoder(size=64)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return [str(topical_change(folder / f"{i}.safetensors", HASH, seed=i)) for i in range(4)]


def prose(n=12, seed=0):
    """Units in paragraphs of one to three."""
    rng = np.random.default_rng(seed)
    words = ["river", "bridge", "mill", "bread", "flour", "yeast", "moon", "orbit", "crater", "law", "court", "judge"]
    return Units.given([" ".join(rng.choice(words, 5)) for _ in range(n)], rng.random(n - 1) < 0.6)


# Sampling


@st.composite
def corpora(draw):
    """The text and the section of each of some paragraphs."""
    sizes = draw(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4))
    text = np.repeat(np.arange(len(sizes)), [sum(s) for s in sizes])
    section = np.repeat(np.arange(sum(map(len, sizes))), [n for s in sizes for n in s])
    return text, section


@given(corpora(), st.sampled_from(["cp", "rp", "consecutive"]), st.integers(1, 4), st.integers(0, 99))
def test_pairs_keep_the_laws_of_sampling(corpus, regime, most, seed):
    pytest.importorskip("torch")
    from fovea.segmenters.training.topical_change import sample

    text, section = corpus
    try:
        left, right, same = sample(text, section, regime, most, np.random.default_rng(seed))
    except ConfigError as error:
        assert f"no pairs of paragraphs for {regime!r}" in str(error)
        inside = [len(np.unique(section[text == t])) > 1 for t in np.unique(text)]
        assert regime == "consecutive" or not any(inside) or regime == "cp" or len(np.unique(section)) == len(section)
        return
    assert same.mean() == 0.5, "as many of either kind"
    assert (left < right).all(), "never a paragraph and itself, the earlier first"
    assert ((section[left] == section[right]) == (same == 1)).all()
    assert regime == "rp" or (text[left] == text[right]).all(), "no pair crosses texts"
    assert regime != "consecutive" or (right == left + 1).all()
    again = sample(text, section, regime, most, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip((left, right, same), again))


@given(corpora(), st.sampled_from(["cp", "rp"]), st.integers(1, 4))
def test_each_paragraph_gets_as_many_pairs_of_either_kind(corpus, regime, most):
    pytest.importorskip("torch")
    from fovea.segmenters.training.topical_change import _drawn

    text, section = corpus
    ones, twos = _drawn(text, section, regime, most, np.random.default_rng(0))
    for anchor in range(len(text)):
        alike, other = ones[ones[:, 0] == anchor, 1], twos[twos[:, 0] == anchor, 1]
        there = (text == text[anchor]) if regime == "cp" else np.ones(len(text), bool)
        possible = [(section == section[anchor]).sum() - 1, (there & (section != section[anchor])).sum()]
        assert len(alike) == len(other) == min(most, *possible)
        assert len(set(alike)) == len(alike)
        assert len(set(other)) == len(other)


def test_sections_and_paragraphs_are_stacked_as_the_texts_mark_them():
    pytest.importorskip("torch")
    from fovea.segmenters.training.measure import examples
    from fovea.segmenters.training.topical_change import stack

    texts = articles()[:3]
    found = examples(texts, HASH)
    vectors = found[0].vectors
    paragraphs, text, section = stack(found)
    assert len(paragraphs) == len(text) == len(section) == sum(int(t.units.breaks.sum()) + 1 for t in texts)
    assert len(np.unique(section)) == sum(int(t.boundaries.sum()) + 1 for t in texts)
    np.testing.assert_allclose(paragraphs.middle[0], vectors.mean(0), atol=1e-6)
    np.testing.assert_allclose(paragraphs.mean[0], vectors[:2].mean(0), atol=1e-6)
    np.testing.assert_array_equal(paragraphs.last[0], vectors[1])


# The head


def test_features_by_hand():
    vectors = unit(np.random.default_rng(0).standard_normal((5, 8)))
    paragraphs = Paragraphs.between(vectors, [0, 2, 5])
    (found,) = features(paragraphs, np.array([0]), np.array([1]))
    m, n, c = vectors[:2].mean(0), vectors[2:].mean(0), vectors.mean(0)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    u, v = m / np.linalg.norm(m), n / np.linalg.norm(n)
    cosines = [cosine(m, n), cosine(m - c, n - c), vectors[1] @ vectors[2], cosine(vectors[1] - c, vectors[2] - c)]
    np.testing.assert_allclose(found, [*(np.abs(u - v) * 8**0.5), *(u * v * 8), *cosines], atol=1e-5)
    inner = Paragraphs.between(vectors, [2, 3, 5])
    np.testing.assert_allclose(inner.middle[0], vectors[2:].mean(0), atol=1e-6)


def test_numpy_scores_are_those_of_the_head():
    torch = pytest.importorskip("torch")
    from fovea.segmenters.training.topical_change import Head, TopicalChangeRecipe

    torch.manual_seed(0)
    model = Head(16, TopicalChangeRecipe()).eval()
    vectors = unit(np.random.default_rng(0).standard_normal((300, 16), dtype=np.float32))
    paragraphs = Paragraphs.between(vectors, [*range(0, 300, 2), 300])
    left = np.arange(len(paragraphs) - 1)
    read = features(paragraphs, left, left + 1)
    with torch.no_grad():
        expected = torch.sigmoid(model(torch.from_numpy(read))).numpy()
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    np.testing.assert_allclose(same_topic(read, arrays), expected, atol=1e-5)


# Cutting


def test_scores_lie_between_paragraphs_only(heads):
    units = prose()
    scores = TopicalChangeSegmenter(weights=heads[0]).scores(units, HASH)
    assert (scores[~units.breaks] == 0).all()
    assert (scores[units.breaks] > 0).all()
    assert len(set(scores.tolist())) > 3
    alone = Units.given(units.texts)
    found = TopicalChangeSegmenter(weights=heads[0]).scores(alone, HASH)
    assert len(set(found.tolist())) == len(found), "no paragraphs: every gap is scored"


def test_an_ensemble_of_one_is_that_one(heads):
    units = prose()
    one = TopicalChangeSegmenter(weights=heads[0]).scores(units, HASH)
    for ensemble in ("mean", "vote"):
        several = TopicalChangeSegmenter(weights=(heads[0],), ensemble=ensemble)
        np.testing.assert_array_equal(several.scores(units, HASH), one)
    three = TopicalChangeSegmenter(weights=(heads[0],) * 3, ensemble="vote").boundaries(units, HASH)
    np.testing.assert_array_equal(three, TopicalChangeSegmenter(weights=heads[0]).boundaries(units, HASH))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_votes_are_counted_and_a_tie_is_no_boundary(heads, count):
    ties = 0
    for seed in range(20):
        units = prose(seed=seed)
        singles = [TopicalChangeSegmenter(weights=h).boundaries(units, HASH) for h in heads[:count]]
        share = np.mean(singles, axis=0)
        voted = TopicalChangeSegmenter(weights=tuple(heads[:count]), ensemble="vote")
        np.testing.assert_array_equal(voted.boundaries(units, HASH), share > 0.5)
        ties += int((share == 0.5).sum())
        mean = TopicalChangeSegmenter(weights=tuple(heads[:count])).scores(units, HASH)
        expected = np.mean([TopicalChangeSegmenter(weights=h).scores(units, HASH) for h in heads[:count]], axis=0)
        np.testing.assert_allclose(mean, expected, atol=1e-5)
    assert ties or count == 3


def test_the_threshold_counts(heads):
    units = prose()
    same = 1 - TopicalChangeSegmenter(weights=heads[0]).scores(units, HASH)
    for threshold in (0.2, 0.5, 0.8):
        found = TopicalChangeSegmenter(weights=heads[0], threshold=threshold).boundaries(units, HASH)
        np.testing.assert_array_equal(found, units.breaks & (same < threshold))
    assert TopicalChangeSegmenter(weights=heads[0]).boundaries(units, HASH, count=3).sum() == 3


@given(st.integers(0, 200), st.integers(2, 30), st.sampled_from(["mean", "vote"]), st.floats(0.05, 0.95))
def test_subsections_keep_the_boundaries_of_sections(heads, seed, n, ensemble, threshold):
    units = prose(n, seed)
    for settings in ({}, {"threshold": threshold}, {"threshold": threshold, "prior": {"mean": 3}}):
        settings = {"weights": tuple(heads[:3]), "ensemble": ensemble, **settings}
        sections = TopicalChangeSegmenter(**settings).boundaries(units, HASH)
        finer = TopicalChangeSegmenter(**settings, level="subsection").boundaries(units, HASH)
        assert (finer >= sections).all()


def test_a_subsection_is_found_in_its_section_alone(heads):
    units = prose(30, 3)
    settings = {"weights": heads[0], "threshold": 0.3}
    sections = np.flatnonzero(TopicalChangeSegmenter(**settings).boundaries(units, HASH))
    finer = TopicalChangeSegmenter(**settings, level="subsection", subsection_threshold=0.6).boundaries(units, HASH)
    assert finer.sum() > len(sections) > 0
    edges = [0, *(sections + 1), len(units)]
    for a, b in pairwise(edges):
        if b - a > 1 and units.breaks[a : b - 1].any():
            part = Units.given(units.texts[a:b], units.breaks[a : b - 1])
            alone = TopicalChangeSegmenter(weights=heads[0], threshold=0.6, candidates="paragraphs")
            np.testing.assert_array_equal(finer[a : b - 1], alone.boundaries(part, HASH))


def test_the_wrong_encoder_is_refused(heads):
    with pytest.raises(
        ConfigError, match=r"of topical_change read vectors of hash \(64 numbers\), the encoder here is"
    ):
        TopicalChangeSegmenter(weights=heads[0]).scores(prose(), HashEncoder(size=32))
    both = TopicalChangeSegmenter(weights=(heads[0], heads[1]), encoder=HASH)
    assert both.scores(prose(), HashEncoder(size=32)).any()
    assert both.fingerprint != TopicalChangeSegmenter(weights=(heads[0], heads[2]), encoder=HASH).fingerprint


# The prior


@given(
    st.lists(st.floats(-4, 4), min_size=0, max_size=8),
    st.lists(st.floats(-5, 0), min_size=9, max_size=9),
    st.integers(1, 9),
)
def test_viterbi_finds_the_best_of_all_ways(gains, logs, longest):
    gains, logs = np.array(gains), np.array(logs)[:longest]
    n = len(gains) + 1

    def total(cuts):
        edges = [0, *(c + 1 for c in cuts), n]
        sizes = [b - a for a, b in pairwise(edges)]
        if max(sizes) > longest:
            return -np.inf
        return sum(logs[size - 1] for size in sizes) + sum(gains[c] for c in cuts)

    ways = [cuts for k in range(n) for cuts in combinations(range(n - 1), k)]
    found = np.flatnonzero(viterbi(gains, logs)).tolist()
    assert total(found) == pytest.approx(max(map(total, ways)), abs=1e-9)


@given(st.lists(st.floats(-4, 4).filter(lambda x: abs(x) > 1e-6), max_size=60))
def test_a_flat_prior_is_the_independent_rule(gains):
    gains = np.array(gains)
    np.testing.assert_array_equal(viterbi(gains, np.zeros(len(gains) + 1)), gains > 0)


@given(st.integers(2, 40), st.integers(0, 99), st.floats(1.5, 30))
def test_a_geometric_prior_moves_the_threshold(n, seed, mean):
    """Each boundary costs log(p / (1 - p)), p = 1 / mean, whatever the lengths."""
    gains = np.random.default_rng(seed).normal(0, 3, n - 1)
    p = 1 / mean
    prior = Lengths(mean=mean, shape="geometric", longest=n).log_probabilities()
    np.testing.assert_array_equal(viterbi(gains, prior), gains > np.log((1 - p) / p))


@pytest.mark.parametrize("shape", ["geometric", "log_normal"])
@pytest.mark.parametrize("mean", [1.5, 4, 20])
def test_lengths_are_probabilities_with_the_mean_asked_for(shape, mean):
    p = np.exp(Lengths(mean=mean, shape=shape, longest=3000).log_probabilities())
    assert len(p) == 3000
    assert p.sum() == pytest.approx(1, abs=1e-3)
    assert (p * np.arange(1, 3001)).sum() == pytest.approx(mean, rel=0.15)
    assert len(Lengths(mean=mean, shape=shape).log_probabilities()) == np.ceil(10 * mean)


def test_a_prior_evens_out_lengths():
    scores = np.random.default_rng(0).uniform(0.3, 0.7, 2000)
    sizes = {}
    for prior in (None, {"mean": 4, "spread": 0.2}):
        cuts = TopicalChangeSegmenter(prior=prior, threshold=0.25 if prior is None else 0.5).choose(scores, None)
        sizes[prior is None] = np.diff([-1, *np.flatnonzero(cuts)])
    assert sizes[True].size == 0, "no score is over the bar by itself"
    assert 3 < sizes[False].mean() < 5
    assert sizes[False].std() < 1


@pytest.mark.parametrize("settings", [{"mean": 1}, {"mean": 5, "shape": "normal"}, {"mean": 5, "spread": 0}, {}])
def test_priors_that_cannot_be_are_refused(settings):
    with pytest.raises(ValidationError):
        TopicalChangeSegmenter(prior=settings)


# The cross-encoder


@pytest.fixture(scope="module")
def cross(tmp_path_factory):
    pytest.importorskip("transformers")
    from tests.tiny import save_bert

    folder = tmp_path_factory.mktemp("cross")
    save_bert(folder / "two", labels=2)
    save_bert(folder / "three", labels=3)
    return folder


def test_the_cross_encoder_says_what_transformers_says(cross):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from fovea.segmenters.cross_scorer import CrossScorer

    pairs = [("tea is brewed", "the moon orbits"), ("rivers flow", "x"), ("a", "that in days of the earth")]
    tokenizer = AutoTokenizer.from_pretrained(cross / "two")
    model = AutoModelForSequenceClassification.from_pretrained(cross / "two").eval()
    with torch.no_grad():
        expected = [model(**tokenizer(a, b, return_tensors="pt")).logits.softmax(-1)[0, 1].item() for a, b in pairs]
    for size in (1, 2, 16):
        found = CrossScorer(model=str(cross / "two"), batch_size=size, device="cpu").same_topic(pairs)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert CrossScorer(model=str(cross / "two")).same_topic([]).shape == (0,)


def test_it_cuts_by_the_cross_encoder_without_weights_or_vectors(cross):
    text = "Tea is brewed. Rivers flow.\n\nThe moon orbits. A day.\n\nThe earth in days.\n\nTea flow."
    segmenter = Segmenter.model_validate(
        {"use": "topical_change", "scorer": {"model": str(cross / "two"), "device": "cpu"}, "weights": "none at all"}
    )
    units = Units.sentences(text)
    scores = segmenter.scores(units, HashEncoder(size=8))
    texts = ["Tea is brewed. Rivers flow.", "The moon orbits. A day.", "The earth in days.", "Tea flow."]
    expected = 1 - segmenter.scorer.same_topic(list(pairwise(texts)))
    np.testing.assert_allclose(scores[scores > 0], expected, atol=1e-6)
    cuts = {cut.at for cut in segmenter.cuts(text, Document("d", text), HashEncoder(size=8)) if cut.score == 1}
    starts = [text.index(t) for t in texts[1:]]
    assert cuts == {at for at, score in zip(starts, expected) if score > 0.5}
    finer = segmenter.model_copy(update={"level": "subsection"})
    assert (finer.boundaries(units, HASH) >= segmenter.boundaries(units, HASH)).all()
    other = segmenter.model_copy(update={"scorer": segmenter.scorer.model_copy(update={"batch_size": 1})})
    assert other.fingerprint == segmenter.fingerprint, "how many at a time changes nothing"


def test_pairs_too_long_for_the_cross_encoder_are_warned_of(cross):
    from fovea.segmenters.cross_scorer import CrossScorer

    trace = Trace()
    with trace.stage("segment") as stage:
        CrossScorer(model=str(cross / "two"), device="cpu").same_topic([("tea " * 80, "moon"), ("tea", "moon")])
    assert [count for text, count in stage.warnings.items() if "64 tokens" in text] == [1]


def test_models_of_other_forms_are_refused(cross, tmp_path):
    import json
    import shutil

    from fovea.segmenters.cross_scorer import CrossScorer

    with pytest.raises(ModelError, match="has 3 labels; a scorer of pairs has two"):
        CrossScorer(model=str(cross / "three")).same_topic([("a", "b")])
    shutil.copytree(cross / "two", tmp_path / "turned")
    config = json.loads((tmp_path / "turned" / "config.json").read_text())
    config["id2label"], config["label2id"] = {0: "same_topic", 1: "other"}, {"same_topic": 0, "other": 1}
    (tmp_path / "turned" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="label 1 must be the same topic"):
        CrossScorer(model=str(tmp_path / "turned")).same_topic([("a", "b")])


@pytest.mark.parametrize("name", ["roberta-cls-consec", "dennlinger/roberta-cls-consec"])
def test_hub_names_are_looked_for_with_their_organisation(name):
    from fovea.segmenters.cross_scorer import CrossScorer

    with pytest.raises(ModelError, match="the model 'dennlinger/roberta-cls-consec' is not in"):
        CrossScorer(model=name, offline=True).same_topic([("a", "b")])


# Training


@pytest.mark.parametrize("pairs", ["cp", "rp", "consecutive"])
def test_it_learns_paragraphs_of_one_subject(tmp_path, pairs):
    pytest.importorskip("torch")
    from fovea.segmenters.training.topical_change import TopicalChangeRecipe
    from fovea.segmenters.training.train import train

    recipe = TopicalChangeRecipe(steps=60, every=20, hidden=16, pairs=pairs, learning_rate=5e-3)
    found = train(recipe, articles(), HASH, tmp_path)
    assert found.scores["1 - auc"] < 0.2
    rows = {row["split"]: row for row in found.table}
    assert rows["test"]["Pk %"] < 15 < rows["test"]["no boundary"]
    assert TopicalChangeSegmenter(weights=str(tmp_path)).heads[0].about["training"]["pairs"] == pairs
