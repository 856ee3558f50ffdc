"""Policies of heads: the contract, and a layer of which some heads stream against exact attention to what each sees."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.heads.heads import Heads
from fovea.attention_retrieval.heads.retrieval_heads import RetrievalHeads
from fovea.attention_retrieval.kernels.reference import attend
from fovea.attention_retrieval.testing.heads import check_heads
from fovea.rag import registry
from fovea.rag.errors import ConfigError

SCORES = [[0.1, 0.9, 0.2, 0.3], [0.8, 0.1, 0.1, 0.0], [0.0, 0.0, 0.5, 0.6]]
SMALL = {"retrieval_heads": {"scores": SCORES}}


@pytest.mark.parametrize("name", registry.names("heads"))
def test_every_policy_keeps_the_contract(name):
    check_heads(Heads.model_validate({"use": name, **SMALL[name]}), 3, 4, 2)


@pytest.mark.parametrize(("keep", "reads"), [(0, ""), (1 / 6, "00"), (0.5, "00 10 21"), (1, "00 01 10 11 20 21")])
def test_the_best_of_all_layers_read_everything(keep, reads):
    policy = RetrievalHeads(scores=SCORES, keep=keep, window=30)
    got = [policy.windows(layer, 2, 1000) for layer in range(3)]
    assert {f"{n}{h}" for n, each in enumerate(got) for h in range(2) if each[h] == 1000} == set(reads.split())
    assert all(w in (30, 1000) for each in got for w in each)
    assert policy.windows(0, 2, 20).tolist() == [20, 20], "a window holds a short text"


def test_a_table_of_another_model():
    with pytest.raises(ConfigError, match="of 3 layers of 4 heads, the model has 30 of 9"):
        RetrievalHeads(scores=SCORES).check(30, 9, 3)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers(odd):
    with pytest.raises(ValueError, match="finite number"):
        RetrievalHeads(scores=[[odd, 0.5]])


@pytest.mark.parametrize("scores", [[], [[]], [[], []], [[0.1, 0.2], [0.3]]])
def test_scores_that_are_no_table(scores):
    with pytest.raises(ValueError, match="a row a layer, with as many numbers in each"):
        RetrievalHeads(scores=scores)


def test_scores_of_a_table_are_the_generators_to_give():
    policy = RetrievalHeads()
    assert policy.wants_table == "copy"
    with pytest.raises(ConfigError, match="scores: auto takes those of the model's table"):
        policy.check(3, 4, 2)
    assert policy.with_table({"copy": SCORES}) == RetrievalHeads(scores=SCORES)
    settings = Retrieval(heads={"use": "retrieval_heads", "keep": 0.2})
    assert settings.wants_table == "copy"
    given = settings.with_table({"copy": SCORES})
    assert (given.heads, given.wants_table) == (RetrievalHeads(scores=SCORES, keep=0.2), "")


@pytest.mark.parametrize("select", [{"use": "wave", "rest": 0, "most": 10_000}, {"use": "retrieval", "top_k": 500}])
@pytest.mark.parametrize("scores", [[0.9, 0.1, 0.2], [0.1, 0.9, 0.8], [0.1, 0.1, 0.1]])
def test_each_head_sees_what_it_should(scores, select):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 400, 16)).astype(np.float32)
    keep = sum(score > 0.5 for score in scores) / 3
    policy = {"use": "retrieval_heads", "scores": [scores], "keep": keep, "window": 25}
    settings = Retrieval(
        sinks=5, window=20, dense_below=100, dtype="fp32", insert_every=10, heads=policy, select=select
    )
    layer = LayerCache(settings, 0, 3, 16)
    layer.append(rows[:, :90], rows[:, :90])
    for tokens in range(91, 401):
        layer.append(rows[:, tokens - 1 : tokens], rows[:, tokens - 1 : tokens])
        layer.advance()
        if tokens not in (95, 101, 102, 250, 400):
            continue
        q = rng.normal(size=(3, 2, 16)).astype(np.float32)
        part = layer.attend(q)
        for head, score in enumerate(scores):
            streams = score < 0.5 and tokens > 100
            seen = np.r_[:5, tokens - 25 : tokens] if streams else np.arange(tokens)
            out, lse = attend(rows[head, seen], (q[head] @ rows[head, seen].T).astype(np.float32))
            np.testing.assert_allclose(part.out[head], out, atol=1e-4)
            np.testing.assert_allclose(part.lse[head], lse, atol=1e-4)
    assert layer.built
    assert (layer.selected is None) == (keep == 0)
