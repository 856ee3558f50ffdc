"""The dialogue segmenter: its chain of lengths equals all ways counted, features say what they are, and it learns."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.types import Document
from fovea.segmenters.blocks import unit
from fovea.segmenters.chain import segment
from fovea.segmenters.dialogue import DialogueSegmenter, gathered, priors
from fovea.segmenters.dialogue_features import COLUMNS, COSINES, cues, features, salience
from fovea.segmenters.greetings import GOODBYE, GREETING, OTHER_SPEAKERS, SAME_SPEAKER, evidence, pauses
from fovea.segmenters.sectioned import Sectioned
from fovea.segmenters.semi_markov import posterior
from fovea.segmenters.turns import Turn
from fovea.segmenters.units import Units
from tests.growth import MOST, growth
from tests.learned_weights import weights_of
from tests.segmenters.test_sage import WORDS

HASH = HashEncoder(size=64)


def segmenter(**settings):
    return DialogueSegmenter(weights=weights_of("dialogue", HASH), **settings)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6), st.integers(2, 8), st.integers(0, 99))
def test_the_posterior_is_that_of_all_ways_to_segment(gains, longest, seed):
    rng = np.random.default_rng(seed)
    gains = np.stack([gains, rng.normal(size=len(gains))])
    n, lengths, odds = gains.shape[1] + 1, rng.normal(size=(2, max(longest, 2))), rng.normal(size=2)
    weights, with_it = np.zeros(2), np.zeros(gains.shape)
    for way in product([False, True], repeat=n - 1):
        ends = np.array(way)
        edges = [0, *(np.flatnonzero(ends) + 1).tolist(), n]
        sizes = [b - a for a, b in pairwise(edges)]
        if max(sizes) <= lengths.shape[1]:
            weight = np.exp(gains[:, ends].sum(1) + odds + lengths[:, np.array(sizes) - 1].sum(1))
            weights, with_it = weights + weight, with_it + weight[:, None] * ends
    found = posterior(gains, lengths, odds)
    assert found.boundary == pytest.approx(with_it.sum(0) / weights.sum())
    assert found.prior == pytest.approx(weights / weights.sum())


def test_likely_lengths_follow_the_text_between_two_bounds():
    for turns, mean in ((10, 4.5), (60, 11), (400, 50), (5000, 90)):
        lengths, odds = priors((3, 4.5, 7, 11, 17, 28, 50, 90, 150), turns)
        assert (3, 4.5, 7, 11, 17, 28, 50, 90, 150)[int(odds.argmax())] == mean
        assert lengths.shape == (9, min(turns, 800))


def test_a_boundary_is_gathered_from_the_gaps_it_may_lie_at():
    alone = np.zeros(19)
    alone[[4, 12]] = 0.9, 0.4
    assert np.flatnonzero(gathered(alone, 0.6)).tolist() == [4]
    spread = np.zeros(99)
    spread[50:54] = 0.2, 0.25, 0.2, 0.2
    assert np.flatnonzero(gathered(spread, 0.6)).tolist() == [51]
    assert not gathered(spread, 0.9).any()
    assert not gathered(np.zeros(5), 0.6).any()


def test_columns_are_what_they_are_called():
    texts = ["Where is the mill?", "By the river.", "Anyway, next item.", "Yes, it is bread."]
    vectors = unit(np.random.default_rng(0).standard_normal((4, 8))).astype(np.float32)
    found = features(texts, vectors)
    assert found.shape == (3, COLUMNS)
    assert found[:, 0] == pytest.approx((vectors[:-1] * vectors[1:]).sum(1), abs=1e-4)
    products = vectors @ vectors.T
    assert found[1, 12] == pytest.approx(products[:2, 2:].max(), abs=1e-4)
    assert found[:, 14] == pytest.approx(found[:, 0], abs=1e-4)
    assert found[:, -COSINES:].mean(0) == pytest.approx(0, abs=1e-5), "the mean around is that of all, in a short text"
    assert cues(texts)[:, 0].tolist() == [1, 0, 0, 0], "a question"
    assert cues(texts)[:, 3].tolist() == [0, 0, 1, 0], "a turn to the next"
    assert salience(["a b c d e f", ""]).tolist() == pytest.approx([0.5, 1 / 13])


def said(*words, speakers=None, seconds=None):
    names, times = speakers or [""] * len(words), seconds or [None] * len(words)
    return [Turn(*one) for one in zip(names, times, words, strict=True)]


def test_greetings_goodbyes_speakers_and_silence_count():
    assert evidence(said("So.", "Hi!", "Hello.", "Bread?")).tolist() == [GREETING, 0, 0]
    assert evidence(said("Bread?", "Thanks, bye.", "Bye!", "Where?")).tolist() == [0, 0, GOODBYE]
    assert evidence(said("a", "b", "c", speakers=["Ann", "Ann", "Bob"])).tolist() == [SAME_SPEAKER, OTHER_SPEAKERS]
    assert evidence(said("a", "b", "c", speakers=["Ann", "Bob", "Ann"])).tolist() == [0, 0]
    assert pauses([0, 10, 20, 60, 50, None, 100]).tolist() == [0, 0, 2, 0, 0, 0]
    assert pauses([None, 3.0]).tolist() == [0]


def test_a_name_in_front_of_the_words_changes_no_vector():
    texts = [f"{word} is here." for words in WORDS.values() for word in words.split()]
    named = [f"{'Ann' if i % 2 else 'Bob'}: {text}" for i, text in enumerate(texts)]
    plain, with_names = (segmenter().scores(Units.given(each), HASH) for each in (texts, named))
    assert plain == pytest.approx(with_names)


def test_chunks_begin_with_whole_turns_and_names_stay_in_them():
    rng = np.random.default_rng(0)
    lines = [f"{'Ann' if i % 2 else 'Bob'}: {rng.choice(list(WORDS))} number {i}. And more." for i in range(60)]
    chunks = segment(Document("d", "\n".join(lines)), [segmenter(max_tokens=64)], HASH)
    assert len(chunks) > 3
    assert all(chunk.text.startswith(("Ann: ", "Bob: ")) for chunk in chunks)
    assert "\n".join(chunk.text for chunk in chunks) == "\n".join(lines)


def test_a_turn_over_the_budget_is_cut_between_its_sentences():
    text = "Ann: " + " ".join(f"This is sentence {i} of a long turn." for i in range(20)) + "\nBob: Yes.\nAnn: So."
    chunks = segment(Document("d", text), [segmenter(max_tokens=40)], HASH)
    assert len(chunks) > 3
    assert all(chunk.text.endswith(".") for chunk in chunks)


def test_the_number_of_boundaries_and_the_mean_length_can_be_given():
    rng = np.random.default_rng(1)
    units = Units.given([" ".join(rng.choice(WORDS[key].split(), 5)) for key in rng.choice(list(WORDS), 60)])
    assert segmenter().boundaries(units, HASH, 7).sum() == 7
    short, long = (segmenter(mean_turns=mean).scores(units, HASH).sum() for mean in (3, 30))
    assert short > 2 * long


def test_time_is_in_proportion_to_the_turns():
    def cut(size):
        rng = np.random.default_rng(0)
        units = Units.given([f"Turn {word} here." for word in rng.integers(0, 500, size)])
        return lambda: segmenter().boundaries(units, HASH)

    assert growth(cut, 1000) < MOST


def test_it_learns_where_spliced_dialogues_end(tmp_path):
    pytest.importorskip("torch")
    from fovea.segmenters.training.dialogue import DialogueRecipe
    from fovea.segmenters.training.measure import pk
    from fovea.segmenters.training.train import train
    from tests.segmenters.test_sage import articles

    texts = articles(marked=False)
    recipe = DialogueRecipe(steps=60, every=60, splices=6)
    result = train(recipe, texts, HASH, tmp_path)
    assert result.scores["1 - auc, whole"] < 0.1
    learned = DialogueSegmenter(weights=str(tmp_path), mean_turns=6)
    test = [text for text in texts if text.split == "test"]
    found = np.mean([pk(text, learned.boundaries(text.units, HASH)) for text in test])
    assert found < 0.2
    assert found < np.mean([pk(text, np.zeros_like(text.boundaries)) for text in test]) / 2


@pytest.mark.parametrize(("ends", "learns"), [([0, 1, 0, 0, 1], True), ([0] * 5, False), ([1] * 5, False)])
def test_it_learns_without_splices_but_not_from_nothing(ends, learns):
    pytest.importorskip("torch")
    from fovea.segmenters.training.dialogue import gaps

    units = Units.given([f"Turn {i} of {i % 3}." for i in range(6)])
    texts = [Sectioned(str(i), units, np.array(ends, bool)) for i in range(3)]
    if learns:
        for kind in gaps(texts, HASH, 0, np.random.default_rng(0)):
            assert len(kind.truth) == 15
            assert np.isfinite(kind.odds).all()
    else:
        with pytest.raises(ConfigError, match="none of 3 texts"):
            gaps(texts, HASH, 6, np.random.default_rng(0))
