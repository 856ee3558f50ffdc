"""Policies of heads: the contract, and a layer of which some heads stream against exact attention to what each sees."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.heads.heads import Heads, shared
from fovea.attention_retrieval.heads.retrieval_heads import RetrievalHeads
from fovea.attention_retrieval.kernels.reference import attend
from fovea.attention_retrieval.testing.heads import check_heads
from fovea.rag import registry
from fovea.rag.errors import ConfigError

SCORES = [[0.1, 0.9, 0.2, 0.3], [0.8, 0.1, 0.1, 0.0], [0.0, 0.0, 0.5, 0.6]]
RULES = {"alphas": [[-9.0, 0.0, 700.0, 3.0]] * 3, "betas": [[0.5, 0.1, 0.0, 1.0]] * 3}
SMALL = {
    "retrieval_heads": {"scores": SCORES},
    "duo": {"scores": [[0.1, 0.9], [1.0, 0.3], [0.0, 0.6]]},
    "razor": {"scores": {"echo": SCORES, "induction": SCORES}, "window": 60},
    "moa": {"plan": RULES},
    "task_kv": {"layers": 3},
}
WIDE = {
    "retrieval_heads": {"scores": [[0.0] * 4], "keep": 0, "window": 1000},
    "duo": {"scores": [[0.0, 1.0]], "window": 1000},
    "razor": {"scores": {"echo": [[0.0] * 4], "induction": [[0.0] * 4]}, "window": 1000},
    "moa": {"plan": {"alphas": [[1000.0] * 4], "betas": [[0.0] * 4]}},
    "task_kv": {"window": 1000},
}


@pytest.mark.parametrize("name", registry.names("heads"))
def test_every_policy_keeps_the_contract(name):
    check_heads(Heads.model_validate({"use": name, **SMALL[name]}), 3, 4, 2)


@pytest.mark.parametrize("name", registry.names("heads"))
def test_a_window_that_holds_the_text_is_full_attention(name):
    rng = np.random.default_rng(0)
    rows, q = rng.normal(size=(2, 300, 16)).astype(np.float32), rng.normal(size=(2, 2, 16)).astype(np.float32)
    policy = {"use": name, **WIDE[name]}
    select = {"use": "wave", "rest": 0, "most": 10_000}
    layer = LayerCache(
        Retrieval(sinks=5, window=20, dense_below=100, dtype="fp32", heads=policy, select=select), 0, 2, 16
    )
    layer.append(rows, rows)
    layer.learn(rng.normal(size=(4, 40, 16)).astype(np.float32), 260)
    assert layer.advance()
    part = layer.attend(q)
    for head in range(2):
        out, lse = attend(rows[head], (q[head] @ rows[head].T).astype(np.float32))
        np.testing.assert_allclose(part.out[head], out, atol=1e-4)
        np.testing.assert_allclose(part.lse[head], lse, atol=1e-4)
    assert layer.windows is None


@pytest.mark.parametrize(("keep", "reads"), [(0, ""), (1 / 6, "00"), (0.5, "00 10 21"), (1, "00 01 10 11 20 21")])
def test_the_best_of_all_layers_read_everything(keep, reads):
    policy = RetrievalHeads(scores=SCORES, keep=keep, window=30)
    got = [policy.windows(layer, 2, 1000) for layer in range(3)]
    assert {f"{n}{h}" for n, each in enumerate(got) for h in range(2) if each[h] == 1000} == set(reads.split())
    assert all(w in (30, 1000) for each in got for w in each)
    assert policy.windows(0, 2, 20).tolist() == [20, 20], "a window holds a short text"


def test_of_equals_no_more_than_the_share_reads_everything():
    policy = RetrievalHeads(scores=[[0.5] * 4] * 3, keep=0.5, window=30)
    assert [policy.windows(layer, 4, 99).tolist() for layer in range(3)] == [[99] * 4, [99, 99, 30, 30], [30] * 4]


def test_budgets_go_by_windows_and_what_one_has_no_use_for_goes_to_the_others():
    policy = RetrievalHeads(scores=SCORES, keep=0.5, window=100)
    assert policy.budgets(0, 2, 550, 1000).tolist() == [499, 51], "one each, and the rest by windows"
    assert policy.budgets(0, 2, 1500, 1000).tolist() == [1000, 500]
    assert policy.budgets(1, 2, 2000, 1000).tolist() == [1000, 1000]
    assert policy.budgets(0, 2, 0, 1000).tolist() == [1, 1], "a head keeps a row at least"
    assert shared(10, np.array([1, 1, 1]), 7).tolist() == [3, 4, 3]


def test_a_table_of_another_model():
    with pytest.raises(ConfigError, match="of 3 layers of 4 heads, the model has 30 of 9"):
        RetrievalHeads(scores=SCORES).check(30, 9, 3)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers(odd):
    with pytest.raises(ValueError, match="finite number"):
        RetrievalHeads(scores=[[odd, 0.5]])


@pytest.mark.parametrize("scores", [[], [[]], [[], []], [[0.1, 0.2], [0.3]]])
@pytest.mark.parametrize("name", ["retrieval_heads", "duo"])
def test_scores_that_are_no_table(scores, name):
    with pytest.raises(ValueError, match="a row a layer, with as many numbers in each"):
        Heads.model_validate({"use": name, "scores": scores})


@pytest.mark.parametrize("said", ["", "\n\n", "0.1\t0.2\n0.3\n"])
def test_a_file_that_is_no_table_is_named(said, tmp_path):
    (tmp_path / "alphas.tsv").write_text(said)
    with pytest.raises(ValueError, match=r"alphas\.tsv must be a row a layer, with as many numbers in each"):
        Heads.model_validate({"use": "duo", "scores": str(tmp_path / "alphas.tsv")})


@pytest.mark.parametrize(
    ("name", "kind", "rows"), [("retrieval_heads", "copy", ["copy"]), ("duo", "duo", ["duo"]),
                               ("razor", "repeats", ["echo", "induction"])]
)  # fmt: skip
def test_scores_of_a_table_are_the_generators_to_give(name, kind, rows):
    settings = Retrieval(heads={"use": name})
    assert settings.wants_table == settings.heads.wants_table == kind
    with pytest.raises(
        ConfigError, match=f"(?s)scores: auto takes those .*`fovea heads MODEL --kind {kind} --json` prints"
    ):
        settings.heads.check(3, 4, 2)
    given = settings.with_table({row: SCORES for row in rows})
    given.heads.check(3, 4, 2)
    assert given.wants_table == ""
    assert RetrievalHeads(by="influence").wants_table == "influence"


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
