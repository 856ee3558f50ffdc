"""Weights of adaptive fusion by coordinate ascent: they go where answers are; nDCG is that of the fused lists."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.adaptive import AdaptiveFuser
from fovea.retrievers.training.ascent import NAMES, Asked, ascend, asked_of, ndcg, ndcg_of

CORPUS = sample_corpus(HashEncoder())


def random_question(rng: np.random.Generator, right: int) -> Asked:
    """Twelve chunks with random features, of which the one with most of feature `right` answers."""
    rows = rng.random((12, len(NAMES)))
    return Asked(rows, np.arange(12) == rows[:, right].argmax(), 1)


def random_list(rng: np.random.Generator, chunks: list[Chunk]) -> list[Hit]:
    """Eight hits, some of equal scores."""
    found = [Hit(chunk, round(float(score), 1)) for chunk, score in zip(chunks, rng.random(len(chunks)))]
    return sorted(found, key=lambda hit: -hit.score)[:8]


@pytest.mark.parametrize("right", range(len(NAMES)))
def test_weight_goes_where_the_answers_are(right):
    rng = np.random.default_rng(right)
    asked = [random_question(rng, right) for _ in range(40)]
    weights = ascend(asked)
    assert weights == ascend(asked), "deterministic"
    assert max(weights, key=weights.__getitem__) == NAMES[right]
    assert ndcg_of(asked, weights).mean() > ndcg_of(asked, dict.fromkeys(NAMES, 1.0)).mean() + 0.1


def test_sets_count_alike_however_many_questions_they_have():
    rng = np.random.default_rng(0)
    many, few = [random_question(rng, 0) for _ in range(60)], [random_question(rng, 3) for _ in range(6)]
    groups = ["many"] * 60 + ["few"] * 6
    alike, plain = ascend([*many, *few], groups), ascend([*many, *few])
    assert alike["coverage"] / alike["meaning"] > plain["coverage"] / plain["meaning"]


def test_ndcg_is_that_of_what_the_fuser_gives():
    rng, chunks = np.random.default_rng(1), list(CORPUS.chunks())
    asked, expected = [], []
    for text in ("green tea", "moon and rivers", "ships to the oceans", "nothing"):
        lists = {name: random_list(rng, chunks) for name in ("dense", "bm25")}
        gold = {chunks[i].id for i in rng.integers(0, len(chunks), 3)}
        asked.append(asked_of(lists, Query(text), CORPUS, gold))
        expected.append(ndcg([h.chunk.id for h in AdaptiveFuser().fuse(lists, 10, Query(text), CORPUS)], gold))
    defaults = {name: getattr(AdaptiveFuser(), name) for name in NAMES}
    assert ndcg_of(asked, defaults) == pytest.approx(expected)
    assert any(expected)


def test_nothing_to_learn_from_is_said():
    lists = {"dense": [Hit(Chunk("x", 0, 1, "x"), 1.0)]}
    with pytest.raises(ConfigError, match="nothing can be learnt"):
        ascend([asked_of(lists, Query("x"), CORPUS, {"another"})])


def test_ndcg_by_hand():
    assert ndcg(["x", "a"], {"a"}) == pytest.approx(1 / 1.584962500721156)
    assert ndcg(["a", "b"], {"a", "b"}) == 1
    assert ndcg(["x"] * 10 + ["a"], {"a"}) == 0
