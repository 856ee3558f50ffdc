"""SAGE: numpy gives what torch gives, pairs are what they are called, coarse blocks bound segments, it learns."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.models import find
from fovea.rag.types import Document
from fovea.segmenters.blocks import sides, unit
from fovea.segmenters.chain import segment
from fovea.segmenters.sage import SageSegmenter, same_topic
from fovea.segmenters.sectioned import Sectioned
from fovea.segmenters.topical_change import TopicalChangeSegmenter
from fovea.segmenters.units import Units
from tests.learned_weights import sage, weights_of
from tests.tokenizers_of_tests import encoder

HASH = HashEncoder(size=64)
WORDS = {
    "river": "river bridge mill water bank flood boat",
    "bread": "bread flour yeast oven salt crust dough",
    "moon": "moon orbit crater earth landing rocket eclipse",
    "law": "law court judge appeal statute verdict trial",
}


def article(rng, name, split, sections=6):
    """A text whose sections are each about one of four subjects, in paragraphs of two sentences."""
    texts, ends, paragraphs, before = [], [], [], ""
    for _ in range(sections):
        before = rng.choice([key for key in WORDS if key != before])
        size = int(rng.integers(4, 9))
        for i in range(size):
            texts.append("The " + " ".join(rng.choice(WORDS[before].split(), 4)) + f" number {rng.integers(99)}.")
            ends.append(i == size - 1)
            paragraphs.append(i % 2 == 1 or i == size - 1)
    return Sectioned(name, Units.given(texts, paragraphs[:-1]), np.array(ends[:-1]), "made", split)


def articles(marked=True):
    rng = np.random.default_rng(0)
    made = [article(rng, str(i), split) for i, split in enumerate(["train"] * 12 + ["dev"] * 4 + ["test"] * 4)]
    if marked:
        return made
    return [Sectioned(a.name, Units.given(a.units.texts), a.boundaries, a.corpus, a.split) for a in made]


def plain_sides(vectors, size, gap):
    left, right = vectors[max(0, gap + 1 - size) : gap + 1], vectors[gap + 1 : gap + 1 + size]
    return left.sum(0) / np.linalg.norm(left.sum(0)), right.sum(0) / np.linalg.norm(right.sum(0))


@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 99))
def test_blocks_are_means_of_the_units_around(n, size, seed):
    vectors = unit(np.random.default_rng(seed).standard_normal((n, 5)))
    left, right = sides(vectors, size, 0, n - 1)
    for gap in range(n - 1):
        expected = plain_sides(vectors, size, gap)
        np.testing.assert_allclose(left[gap], expected[0], atol=1e-5)
        np.testing.assert_allclose(right[gap], expected[1], atol=1e-5)
    np.testing.assert_array_equal(sides(vectors, size, n // 2, n - 1)[0], left[n // 2 :])


@pytest.mark.parametrize("features", ["all", "difference", "product", "plain"])
def test_numpy_scores_are_those_of_the_network(features):
    torch = pytest.importorskip("torch")
    from fovea.segmenters.training.sage import Network, SageRecipe

    torch.manual_seed(0)
    model = Network(16, SageRecipe(hidden=32, features=features)).eval()
    vectors = unit(np.random.default_rng(0).standard_normal((3000, 16)))
    left, right = sides(vectors, 3, 0, 2999)
    with torch.no_grad():
        expected = torch.sigmoid(model(torch.from_numpy(left), torch.from_numpy(right))).numpy()
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    arrays["hidden.weight"] = arrays["hidden.weight"] * model.reads.numpy()
    np.testing.assert_allclose(same_topic(vectors, arrays, 3), expected, atol=1e-5)
    np.testing.assert_allclose(same_topic(vectors, arrays, 3, 5, 9), expected[5:9], atol=1e-5)


def test_memory_is_bounded_on_long_texts(tmp_path):
    import tracemalloc

    from fovea.rag.trained import load

    arrays = load(str(sage(tmp_path / "w.safetensors", HASH)), "sage").arrays
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    vectors = unit(np.random.default_rng(0).standard_normal((100_000, HASH.dim), dtype=np.float32))
    tracemalloc.start()
    scores = same_topic(vectors, arrays, 3)
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()
    assert scores.shape == (99_999,)
    assert np.isfinite(scores).all()


class Fixed(SageSegmenter):
    """SAGE whose network says what the test wants."""

    S: list[float] = []

    @property
    def trained(self):
        class Found:
            about = {"block": 1, "thresholds": {"all": 0.5, "paragraphs": 0.6}}
            arrays = {}

        return Found

    def vectors(self, units, encoder):
        return np.arange(len(units), dtype=np.float32)[:, None]


def test_boundaries_are_low_and_lowest_around(monkeypatch):
    same = np.array([0.9, 0.4, 0.2, 0.3, 0.8, 0.45, 0.9, 0.55], np.float32)
    monkeypatch.setattr("fovea.segmenters.sage.same_topic", lambda v, a, b, start=0, stop=None: same[start:stop])
    units = Units.given(["a"] * 9)
    assert np.flatnonzero(Fixed().boundaries(units, HASH)).tolist() == [2, 5]
    assert np.flatnonzero(Fixed(threshold=0.6).boundaries(units, HASH)).tolist() == [2, 5, 7]
    assert np.flatnonzero(Fixed().boundaries(units, HASH, count=3)).tolist() == [2, 5, 7], (
        "not 1 and 3, which are lower than 7"
    )
    assert np.flatnonzero(Fixed().boundaries(units, HASH, count=4)).tolist() == [2, 3, 5, 7]
    assert Fixed().boundaries(units, HASH, count=8).all()
    np.testing.assert_allclose(Fixed().scores(units, HASH), 1 - same, atol=2**-14)
    marked = Units.given(["a"] * 9, [True] * 8)
    assert np.flatnonzero(Fixed().boundaries(marked, HASH)).tolist() == [2, 5, 7], "another threshold for paragraphs"
    few = Units.given(["a"] * 9, [i in (1, 3, 7) for i in range(8)])
    assert np.flatnonzero(Fixed().boundaries(few, HASH)).tolist() == [3], "7 is now beside 3"
    odds = same * 0.4 / ((1 - same) * 0.6)
    np.testing.assert_allclose(Fixed().scores(marked, HASH), 1 / (1 + odds), atol=2**-14)
    assert not Fixed(threshold=0.0).boundaries(units, HASH).any()
    assert Fixed(threshold=1.0).boundaries(units, HASH).sum() == 3, "still only where it is lowest"


@given(st.integers(2, 40), st.integers(3, 25), st.integers(0, 50), st.booleans())
def test_coarse_blocks_bound_the_segments(n, most, seed, marked):
    rng = np.random.default_rng(seed)
    texts = [" ".join(["w"] * int(size)) for size in rng.integers(1, 6, n)]
    units = Units.given(texts, rng.random(n - 1) < 0.5 if marked else None)
    toy = encoder("words")
    segmenter = SageSegmenter(weights=weights_of("sage", toy), coarse_tokens=most)
    found = segmenter.boundaries(units, toy)
    tokens = np.array([len(text.split()) for text in texts])
    may = segmenter._may(units)
    assert not (found & ~may).any()
    edges = [0, *(np.flatnonzero(found) + 1), n]
    for a, b in pairwise(edges):
        assert tokens[a:b].sum() <= most or not may[a : b - 1].any(), "a segment too large that could have been cut"
    loose = SageSegmenter(weights=weights_of("sage", toy), coarse_tokens=10_000)
    plain = SageSegmenter(weights=weights_of("sage", toy))
    np.testing.assert_array_equal(loose.scores(units, toy), plain.scores(units, toy))


def test_inside_a_coarse_block_only_the_block_is_read():
    toy = encoder("words")
    units = Units.given([f"{word} {i}" for i, word in enumerate(["river", "moon", "bread", "law"] * 3)])
    segmenter = SageSegmenter(weights=weights_of("sage", toy), coarse_tokens=8)
    part = Units.given(units.texts[4:8])
    alone = SageSegmenter(weights=weights_of("sage", toy)).scores(part, toy)
    np.testing.assert_allclose(segmenter.scores(units, toy)[4:7], alone, atol=1e-6)


def test_the_wrong_encoder_is_refused(tmp_path):
    path = sage(tmp_path / "weights.safetensors", HASH)
    with pytest.raises(ConfigError) as error:
        list(SageSegmenter(weights=str(path)).cuts("One. Two.", Document("d", "One. Two."), HashEncoder(size=32)))
    assert str(error.value) == (
        f"segment: the weights '{path}' of sage read vectors of hash (64 numbers), the encoder here is hash (32)\n"
        "  fix: encoder: {use: sentence_transformer, model: hash}, or "
        "fovea train segmenter sage with this encoder"
    )
    own = SageSegmenter(weights=str(path), encoder=HASH)
    assert segment(Document("d", "One. Two."), [own], HashEncoder(size=32))


def test_weights_that_are_not_there_are_named():
    with pytest.raises(ModelError, match="no weights called 'saga' ship with Fovea"):
        SageSegmenter(weights="saga").fingerprint  # noqa: B018


def recipe(**settings):
    pytest.importorskip("torch")
    from fovea.segmenters.training.sage import SageRecipe

    return SageRecipe(**settings)


def stacked(texts):
    from fovea.segmenters.training.measure import examples
    from fovea.segmenters.training.stacked import Stacked

    return Stacked.of(examples(texts, HASH))


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("positives", ["paragraph", "section"])
@pytest.mark.parametrize("negatives", ["paragraphs", "sections", "random"])
@pytest.mark.parametrize("near", [0.0, 0.5, 1.0])
def test_pairs_are_what_they_are_called(negatives, positives, near, marked):
    settings = recipe(negatives=negatives, positives=positives, same_article=near)
    from fovea.segmenters.training.sage import _one_topic, _two_topics

    all_ = stacked(articles(marked))
    gaps = _one_topic(all_, settings)
    part = getattr(all_, positives)
    assert (part[gaps] == part[gaps + 1]).all()
    ends, starts = _two_topics(all_, settings, 400, np.random.default_rng(0))
    other = all_.paragraph if negatives == "paragraphs" else all_.section if negatives == "sections" else part
    assert (other[ends] != other[starts]).all()
    if negatives != "random":
        assert (starts == ends + 1).all()
        assert (all_.text[ends] == all_.text[starts]).all()
    else:
        share = (all_.text[ends] == all_.text[starts]).mean()
        assert share == (near if near in (0, 1) else pytest.approx(near, abs=0.1))
    again = _two_topics(all_, settings, 400, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip((ends, starts), again))


@given(st.integers(0, 1000), st.integers(1, 6), st.sampled_from(["paragraph", "section"]))
def test_blocks_of_pairs_stay_within_their_part(seed, most, within):
    all_ = stacked(articles()[:3])
    rng = np.random.default_rng(seed)
    at, sizes = rng.integers(len(all_), size=8), rng.integers(1, most + 1, 8)
    for step in (-1, 1):
        found = all_.blocks(at, sizes, step, within)
        part = getattr(all_, within)
        for row, begin, size in zip(found, at, sizes):
            rows = [begin + step * k for k in range(size)]
            rows = [r for r in rows if 0 <= r < len(all_) and part[r] == part[begin]]
            np.testing.assert_allclose(row, unit(all_.vectors[rows].sum(0, keepdims=True))[0], atol=1e-5)


def test_texts_without_pairs_are_refused():
    settings = recipe(negatives="sections")
    from fovea.segmenters.training.sage import draw

    alone = Sectioned("a", Units.given(["one", "two", "three"]), np.zeros(2, bool))
    with pytest.raises(ConfigError, match="hold no text of two sections"):
        draw(stacked([alone]), settings, 8, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="hold no text of two sections"):
        draw(stacked([alone]), recipe(), 8, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="hold no two texts"):
        draw(stacked(articles()[:1]), recipe(), 8, np.random.default_rng(0))
    single = Sectioned("a", Units.given(["one", "two"]), np.ones(1, bool))
    with pytest.raises(ConfigError, match="hold no section of two units"):
        draw(stacked([single]), recipe(), 8, np.random.default_rng(0))


@pytest.mark.parametrize("marked", [True, False])
def test_it_learns_subjects_and_the_weights_say_how_to_use_them(tmp_path, marked):
    settings = recipe(steps=160, every=40, hidden=32, block=2)
    from fovea.segmenters.training.measure import table
    from fovea.segmenters.training.train import train

    texts = articles(marked)
    found = train(settings, texts, HASH, tmp_path, seed=1)
    rows = {row["split"]: row for row in found.table}
    assert rows["test"]["Pk %"] < 15 < rows["test"]["no boundary"]
    segmenter = SageSegmenter(weights=str(tmp_path))
    assert table(segmenter, [t for t in texts if t.split == "test"], HASH)[0] == rows["test"]
    assert segmenter.trained.about["block"] == 2
    assert all(array.dtype == np.float32 for array in segmenter.trained.arrays.values()), "widened when read"
    with pytest.raises(ModelError, match="belong to sage, not to topical_change"):
        TopicalChangeSegmenter(weights=str(tmp_path)).heads  # noqa: B018


@pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")
def test_the_shipped_weights_find_where_subjects_change():
    parts = [
        "The river rose in the night. By morning the water stood in the streets. Boats took people from their roofs. "
        "The flood fell after three days.",
        "A good loaf needs flour, water and salt. Knead the dough until it is smooth. Let the yeast work for an hour. "
        "Bake the bread until the crust is brown.",
        "The court heard the appeal on Monday. Two judges were for the defendant. The third wrote a dissent. "
        "The verdict will be published in May.",
    ]
    text = " ".join(parts)
    segmenter = registry.find("segmenter", "sage")()
    units = Units.sentences(text)
    found = segmenter.boundaries(units, SentenceTransformerEncoder(), count=2)
    assert [units.spans[i + 1].start for i in np.flatnonzero(found)] == [text.index(part) for part in parts[1:]]
    alone = segmenter.boundaries(Units.sentences(parts[0]), SentenceTransformerEncoder())
    assert not alone.any(), "one subject"
