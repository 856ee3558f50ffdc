"""TextTiling, C99 and clusters: by hand, against brute force, and on Choi's texts."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.rag.encoders.hash import HashEncoder
from fovea.segmenters import c99, density, partition
from fovea.segmenters.c99 import C99Segmenter
from fovea.segmenters.cluster import ClusterSegmenter
from fovea.segmenters.products import Vectors
from fovea.segmenters.texttiling import TextTilingSegmenter, block_cosines, depths
from fovea.segmenters.units import Units
from fovea.segmenters.words import STOP_WORDS, counts
from tests.conftest import SHARED
from tests.gap_fixtures import CHEAP

WIDE = HashEncoder(size=2048)
VOCABULARIES = [
    "river bridge flood boat bank ferry",
    "flour yeast oven dough crust loaf",
    "goal referee striker penalty keeper league",
    "planet orbit comet moon telescope star",
]


def planted(lengths, *, seed=0):
    """Sentences of four words, each topic with words of its own; and where the topics end."""
    rng = np.random.default_rng(seed)
    texts = [
        "The " + " ".join(rng.choice(VOCABULARIES[topic % 4].split(), 4, replace=False)) + " was there."
        for topic, length in enumerate(lengths)
        for _ in range(length)
    ]
    ends = np.zeros(len(texts) - 1, bool)
    ends[np.cumsum(lengths)[:-1] - 1] = True
    return Units.given(texts), ends


METHODS = {
    "texttiling": TextTilingSegmenter(window=4),
    "texttiling embeddings": TextTilingSegmenter(similarity="embeddings"),
    "c99": C99Segmenter(),
    "c99 embeddings": C99Segmenter(similarity="embeddings"),
    "cluster": ClusterSegmenter(),
}


@pytest.mark.parametrize("lengths", [(8, 12, 9, 10), (6, 6, 6, 6, 6, 6), (15, 7, 15)])
@pytest.mark.parametrize("name", METHODS)
def test_planted_topics_are_found_exactly(name, lengths):
    units, ends = planted(lengths)
    assert METHODS[name].boundaries(units, WIDE, len(lengths) - 1).tolist() == ends.tolist()


@pytest.mark.parametrize("name", ["texttiling", "texttiling embeddings", "cluster"])
def test_planted_topics_are_found_without_their_number(name):
    units, ends = planted((8, 12, 9, 10))
    assert METHODS[name].boundaries(units, WIDE).tolist() == ends.tolist()


# --- words


def test_counts_of_stems_without_stop_words():
    found = counts(["The rivers rose, and a river fell.", "It is what it was.", "春 river 春"])
    assert len(found) == 3
    dense = np.zeros((3, found.term.max() + 1))
    dense[found.row, found.term] = found.value
    assert dense.tolist() == [[2, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 2]], "river, rose, fell, 春"
    assert "the" in STOP_WORDS
    assert "river" not in STOP_WORDS


ROWS = st.lists(
    st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl", "mn"]), max_size=6).map(" ".join),
    min_size=2,
    max_size=12,
)


@given(ROWS, st.integers(1, 6), st.data())
def test_products_of_counts_are_those_of_the_dense_matrix(texts, width, data):
    found = counts(texts)
    dense = np.zeros((len(texts), 8), np.float32)
    dense[found.row, found.term] = found.value
    start = data.draw(st.integers(0, len(texts) - 1))
    stop = data.draw(st.integers(start, len(texts)))
    assert np.allclose(found.gram(start, stop), dense[start:stop] @ dense[start:stop].T)
    assert np.allclose(found.band(width), Vectors(dense).band(width))
    lengths = np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-9)
    cosines = (dense / lengths) @ (dense / lengths).T
    assert np.allclose(found.of_unit_length().gram(0, len(texts)), cosines, atol=1e-6)


# --- TextTiling


@given(ROWS, st.integers(1, 4))
def test_block_cosines_are_those_of_summed_counts(texts, window):
    found = counts(texts)
    dense = np.zeros((len(texts), 8))
    dense[found.row, found.term] = found.value
    for gap, value in enumerate(block_cosines(found, window)):
        left, right = dense[max(0, gap + 1 - window) : gap + 1].sum(0), dense[gap + 1 : gap + 1 + window].sum(0)
        lengths = np.linalg.norm(left) * np.linalg.norm(right)
        assert value == pytest.approx(left @ right / lengths if lengths else 0, abs=1e-5)


def test_depths_by_hand():
    # From the 1, climbing ends at 5 on the left and, over the level 4 4, at 6 on the right: 4 + 5.
    assert depths(np.array([3.0, 5, 2, 1, 4, 4, 6, 0])).tolist() == [2, 0, 3, 9, 2, 2, 0, 6]
    assert depths(np.zeros(0)).tolist() == []
    assert depths(np.ones(4)).tolist() == [0] * 4


def test_the_threshold_is_that_of_the_valleys():
    scores = np.array([0, 0.9, 0, 0.8, 0, 0.1, 0, 0.5, 0.0])  # valleys .9 .8 .1 .5: mean .575, deviation .311
    assert np.flatnonzero(TextTilingSegmenter().choose(scores, None)).tolist() == [1, 3, 7]
    assert np.flatnonzero(TextTilingSegmenter(liberal=True).choose(scores, None)).tolist() == [1, 3, 7]
    scores[5] = 0.3  # mean .625, deviation .238
    assert np.flatnonzero(TextTilingSegmenter().choose(scores, None)).tolist() == [1, 3]
    assert np.flatnonzero(TextTilingSegmenter(liberal=True).choose(scores, None)).tolist() == [1, 3, 7]
    assert not TextTilingSegmenter().choose(np.zeros(5), None).any(), "no valley, no boundary"
    assert np.flatnonzero(TextTilingSegmenter().choose(np.array([0, 0.7, 0]), None)).tolist() == [1]


def test_with_a_number_valleys_come_before_slopes():
    scores = np.array([0.6, 0.9, 0.7, 0.1, 0.2, 0.1])
    assert np.flatnonzero(TextTilingSegmenter().choose(scores, 2)).tolist() == [1, 4]
    assert np.flatnonzero(TextTilingSegmenter().choose(scores, 3)).tolist() == [1, 2, 4]


# --- C99


def test_ranks_of_a_small_matrix_by_hand():
    similarity = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.4], [0.2, 0.4, 1.0]])
    # Around the 1 in the corner lie .5 .5 1, around the .5 beside it 1 .2 .5 1 .4, around the middle all others.
    expected = np.array([[2 / 3, 2 / 5, 0 / 3], [2 / 5, 6 / 8, 1 / 5], [0 / 3, 1 / 5, 2 / 3]])
    assert np.allclose(density.ranks(similarity, mask=3), expected)


@given(st.integers(0, 1000), st.integers(1, 15), st.sampled_from([1, 3, 11]))
def test_ranks_are_shares_of_lower_cells_around(seed, n, mask):
    similarity = np.random.default_rng(seed).integers(0, 4, (n, n)) / 4
    found, half = density.ranks(similarity, mask), mask // 2
    for i in range(n):
        for j in range(n):
            around = similarity[max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1]
            assert found[i, j] == pytest.approx((around < similarity[i, j]).sum() / max(around.size - 1, 1))


def inside_density(rank, ends):
    squares = [rank[a:b, a:b] for a, b in pairwise([0, *sorted(ends), len(rank)])]
    return sum(s.sum() for s in squares) / sum(s.size for s in squares)


@given(st.integers(0, 1000), st.integers(2, 14), st.data())
def test_every_split_is_the_best_there_is(seed, n, data):
    rank = np.random.default_rng(seed).random((n, n))
    rank = (rank + rank.T) / 2
    first = np.array(data.draw(st.lists(st.booleans(), min_size=n - 1, max_size=n - 1)))
    splits, ends, before = density.divide(rank, first), [], inside_density(rank, [])
    for gap, gain in zip(splits.gaps.tolist(), splits.gains.tolist()):
        left = [g for g in range(n - 1) if g + 1 not in ends]
        may = [g for g in left if first[g]] or left
        best = max(inside_density(rank, [*ends, g + 1]) for g in may)
        ends.append(gap + 1)
        after = inside_density(rank, ends)
        assert gap in may
        assert after == pytest.approx(best)
        assert gain == pytest.approx(after - before, abs=1e-9)
        before = after
    assert sorted(ends) == list(range(1, n))


def test_where_the_splitting_stops():
    gains = np.array([0.1, 0.3, 0.3, 0.3, *[0.01] * 40])
    assert density.worthwhile(gains, 1.2) == 4
    assert density.worthwhile(gains[::-1], 1.2) == 44, "the last gain that is great counts"
    assert density.worthwhile(np.zeros(0), 1.2) == 0
    assert density.worthwhile(np.ones(9), 1.2) == 0


def test_scores_fall_in_the_order_of_the_splits():
    units, _ = planted((8, 12, 9, 10))
    similarity = counts(units.texts).of_unit_length().gram(0, len(units))
    first = np.ones(len(units) - 1, bool)
    splits = density.divide(density.ranks(similarity), first)
    scores = C99Segmenter().scores(units, CHEAP)
    assert np.argsort(-scores, kind="stable").tolist() == splits.gaps.tolist()
    assert len(set(scores.tolist())) == len(scores)
    kept = density.worthwhile(splits.gains, 1.2)
    assert (scores > 0.5).sum() == kept > 0


def test_windows_find_what_the_whole_finds(monkeypatch):
    lengths = [9, 11, 8, 12, 10] * 8
    units, ends = planted(lengths)
    found = {}
    for window in (120, 1000):
        monkeypatch.setattr(c99, "WINDOW", window)
        found[window] = C99Segmenter().boundaries(units, CHEAP, len(lengths) - 1)
    assert found[1000].tolist() == ends.tolist()
    assert pk(ends, found[120]) < 0.05


# --- clusters


def worth(similarity, ends):
    n = len(similarity)
    mean = (similarity.sum() - np.trace(similarity)) / (n * (n - 1))
    pairs = [similarity[i, j] - mean for a, b in pairwise([0, *ends, n]) for i in range(a, b) for j in range(i + 1, b)]
    return sum(pairs) - partition.PRICE * len(ends)


def divisions(n, longest):
    for size in range(n):
        for ends in combinations(range(1, n), size):
            if max(b - a for a, b in pairwise([0, *ends, n])) <= longest:
                yield ends


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 10))
def test_the_division_is_the_best_of_all(seed, n, longest):
    rows = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = rows.astype(np.float64) @ rows.T
    by_worth = {ends: worth(similarity, ends) for ends in divisions(n, longest)}
    found = partition.divide(partition.worths(Vectors(rows), longest), np.ones(n - 1, bool))
    ends = tuple((np.flatnonzero(found.boundaries) + 1).tolist())
    assert by_worth[ends] == pytest.approx(max(by_worth.values()), abs=1e-5)
    for gap in range(n - 1):
        having = max(value for ends, value in by_worth.items() if gap + 1 in ends)
        lacking = max(value for ends, value in by_worth.items() if gap + 1 not in ends)
        assert found.margins[gap] == pytest.approx(having - lacking, abs=1e-5)


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(2, 9), st.data())
def test_barred_gaps_are_used_only_where_segments_would_be_too_long(seed, n, longest, data):
    rows = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    may = np.array(data.draw(st.lists(st.booleans(), min_size=n - 1, max_size=n - 1)))
    found = partition.divide(partition.worths(Vectors(rows), longest), may).boundaries
    ends = [0, *(np.flatnonzero(found) + 1).tolist(), n]
    assert max(np.diff(ends)) <= longest
    blocks = np.diff([0, *(np.flatnonzero(may) + 1).tolist(), n])
    assert found[~may].sum() == sum(-(-block // longest) - 1 for block in blocks), "as few as can be"


def test_equal_sentences_are_divided_only_for_their_number():
    for n, expected in ((16, []), (17, [1]), (40, [8, 24])):
        found = ClusterSegmenter().boundaries(Units.given(["The same."] * n), CHEAP)
        assert (np.flatnonzero(found) + 1).tolist() == expected


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (TextTilingSegmenter, {"window": 0}),
        (TextTilingSegmenter, {"similarity": "letters"}),
        (C99Segmenter, {"deviations": 0}),
        (ClusterSegmenter, {"longest": 1}),
    ],
)
def test_settings_that_cannot_work_are_refused(cls, settings):
    with pytest.raises(ValidationError):
        cls(**settings)


# --- Choi


def pk(reference, found):
    """Share of the pairs of units k apart on which the two disagree whether a boundary lies between them."""
    k = max(2, round((len(reference) + 1) / (reference.sum() + 1) / 2))
    sums = [np.concatenate([[0], np.cumsum(one)]) for one in (reference, found)]
    together = [(one[k:] - one[:-k]) == 0 for one in sums]
    return float((together[0] != together[1]).mean())


def choi(kind, most):
    """The first documents of one kind: sentences one a line, segments between lines of `=`."""
    for path in sorted((SHARED / "data/segmentation/choi/1" / kind).glob("*.ref"))[:most]:
        lines = [line.strip() for line in path.read_text("latin-1").splitlines()]
        segments = [[]]
        for line in lines:
            if line.startswith("====="):
                segments.append([])
            elif line:
                segments[-1].append(line)
        segments = [s for s in segments if s]
        ends = np.zeros(sum(map(len, segments)) - 1, bool)
        ends[np.cumsum([len(s) for s in segments])[:-1] - 1] = True
        yield Units.given([text for s in segments for text in s]), ends


@pytest.mark.skipif(not (SHARED / "data/segmentation/choi").exists(), reason="needs Choi's texts in shared data")
@pytest.mark.parametrize(
    ("segmenter", "given", "low", "high"),
    [
        (C99Segmenter(), True, 13, 15),
        (C99Segmenter(), False, 13.5, 15.5),
        (TextTilingSegmenter(), True, 15, 17),
        (TextTilingSegmenter(), False, 17, 19),
    ],
)
def test_choi_3_11_by_words(segmenter, given, low, high):
    found = [
        pk(ends, segmenter.boundaries(units, CHEAP, int(ends.sum()) if given else None))
        for units, ends in choi("3-11", 40)
    ]
    assert low <= 100 * np.mean(found) <= high
