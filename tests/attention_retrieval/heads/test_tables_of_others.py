"""DuoAttention's alphas and MoA's plans, as their authors publish them, and RazorAttention's shares."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fovea.attention_retrieval.heads.duo import Duo
from fovea.attention_retrieval.heads.moa import MoA
from fovea.attention_retrieval.heads.razor import Razor
from fovea.rag.errors import ConfigError

ALPHAS = "6.054687500000000000e-01\t0.000000000000000000e+00\n9.960937500000000000e-01\t1.200000000000000000e+00\n"


@pytest.mark.parametrize(
    ("keep", "reads"), [(0.25, "10"), (0.5, "10 11"), (None, "00 10 11"), (0, ""), (1, "00 01 10 11")]
)
def test_alphas_of_a_file(tmp_path, keep, reads):
    (tmp_path / "heads.tsv").write_text(ALPHAS)
    policy = Duo(scores=str(tmp_path / "heads.tsv"), keep=keep, window=7)
    assert policy.scores == [[0.60546875, 0.0], [0.99609375, 1.0]], "beyond 1 is 1"
    policy.check(2, 6, 2)
    got = {f"{n}{h}" for n in range(2) for h in range(2) if policy.windows(n, 2, 50)[h] == 50}
    assert got == ({"11"} if keep == 0.25 else set(reads.split()))
    with pytest.raises(ConfigError, match="of 2 layers of 2 heads, the model has 3 of 2") as error:
        policy.check(3, 6, 2)
    assert "fovea heads MODEL --kind duo" in str(error.value)


def test_a_kv_head_has_the_mean_of_its_groups_estimates():
    policy = Duo(keep=0.5, window=7).with_table({"duo": [[0.9, 0.1, 0.6, 0.7], [0.0, 0.0, 1.0, 0.0]]})
    policy.check(2, 4, 2)
    assert [policy.windows(n, 2, 50).tolist() for n in range(2)] == [[50, 50], [7, 7]]


@pytest.mark.parametrize("text", [None, "", "a\tb\n", "nan\t1\n", "1\t2\n3\n"])
def test_a_file_that_is_no_table_says_how_one_is_made(tmp_path, text):
    if text is not None:
        (tmp_path / "odd.tsv").write_text(text)
    with pytest.raises(ValueError, match=r"fovea train heads duo|must be a row a layer|no table of numbers"):
        Duo(scores=str(tmp_path / "odd.tsv"))


def test_spans_grow_by_each_heads_rule_and_the_widest_of_a_group_counts(tmp_path):
    plan = {"alphas": [[-1024.0, 0.0, 8192.0, 0.0]], "betas": [[0.875, 0.125, 0.0, 0.5]]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    policy = MoA(plan=str(tmp_path / "plan.json"))
    policy.check(1, 4, 2)
    assert policy.windows(0, 4, 8192).tolist() == [6144, 1024, 8192, 4096]
    assert policy.windows(0, 4, 16384).tolist() == [13312, 2048, 8192, 8192]
    assert policy.windows(0, 2, 8192).tolist() == [6144, 8192]
    assert policy.windows(0, 4, 200).tolist() == [64, 64, 200, 100], "no less than `least`, no more than there is"


def test_a_head_that_streams_never_comes_to_read_everything():
    rng = np.random.default_rng(0)
    plan = {"alphas": rng.integers(-3000, 3000, (1, 64)).tolist(), "betas": rng.random((1, 64)).tolist()}
    policy, streams = MoA(plan=plan), np.zeros(64, bool)
    for tokens in [*range(1, 400), *range(400, 20_000, 37)]:
        now = policy.windows(0, 64, tokens) < tokens
        assert (now | ~streams).all()
        streams = now


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ("nowhere.json", "fovea train heads moa"),
        ({"alphas": [[1.0]], "betas": [[0.5, 0.5]]}, "as many heads"),
        ({"alphas": [[1.0]], "betas": [[1.5]]}, "from 0 to 1"),
        ({"alphas": [[1.0]]}, "betas"),
    ],
)
def test_a_plan_that_is_none(plan, why):
    with pytest.raises(ValueError, match=why):
        MoA(plan=plan)


def razor(**given) -> Razor:
    rng = np.random.default_rng(1)
    tables = {name: rng.random((10, 20)).tolist() for name in ("echo", "induction")}
    return Razor(scores=tables, **given)


def test_one_percent_echo_and_fourteen_induce_and_the_rest_are_compensated():
    policy = razor()
    policy.check(10, 20, 10)
    windows = np.stack([policy.windows(layer, 10, 100_000) for layer in range(10)])
    tables = {name: np.array(rows).reshape(10, 10, 2).max(axis=2) for name, rows in policy.scores.items()}
    echo, induction = tables["echo"], tables["induction"]
    wanted = (echo >= np.sort(echo, axis=None)[-1]) | (induction >= np.sort(induction, axis=None)[-14])
    np.testing.assert_array_equal(windows == 100_000, wanted)
    assert set(windows[~wanted].tolist()) == {20_000}, "a fifth of the text"
    assert set(policy.windows(0, 10, 5000).tolist()) <= {4000, 5000}, "4,000 at least"
    assert policy.windows(0, 10, 4000).tolist() == [4000] * 10
    assert policy.compensate
    assert not razor(compensation=False).compensate


@pytest.mark.parametrize(
    "scores", [{"echo": [[1.0]]}, {"echo": [[1.0]], "induction": [[1.0, 2.0]]}, {"echo": [[]], "induction": [[]]}]
)
def test_scores_of_razor_that_are_no_tables(scores):
    with pytest.raises(ValueError, match="scores must|as many heads"):
        Razor(scores=scores)
