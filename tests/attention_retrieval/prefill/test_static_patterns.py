"""Policies that choose by position alone: power, s2, moa_bands against their formulas, token by token."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.prefill.moa_bands import MoABands
from fovea.attention_retrieval.prefill.power import PowerAttention
from fovea.attention_retrieval.prefill.prefill import Prefill
from fovea.attention_retrieval.prefill.s2 import S2Attention
from fovea.attention_retrieval.testing.prefills import SINKS
from fovea.attention_retrieval.testing.selections import HEADS
from fovea.rag.errors import ConfigError
from tests.attention_retrieval.prefill.reading import whole_map

TOKENS = 300
QUERY, KEY = np.arange(TOKENS)[:, None], np.arange(TOKENS)
CAUSAL = KEY <= QUERY


@pytest.mark.parametrize(("block", "local"), [(16, 1), (8, 5)])
def test_power_reads_at_distances_that_are_powers_of_two(block, local):
    away = QUERY // block - KEY // block
    powers = np.isin(away, [1, 2, 4, 8, 16, 32, 64])
    wanted = CAUSAL & (powers | (away < local) | (block > KEY) | (KEY < SINKS))
    got = whole_map(PowerAttention(block=block, local=local), TOKENS)
    assert len(got) == HEADS
    for head in got:
        np.testing.assert_array_equal(head, wanted)


def test_power_reaches_every_token_within_log_layers():
    reads = whole_map(PowerAttention(block=1, local=1), 64)[0].astype(int)
    reached = np.linalg.matrix_power(reads, 6) > 0
    assert reached[np.tril_indices(64)].all(), "2^6 tokens in six layers"
    assert reads[-1].sum() < SINKS + 8


@pytest.mark.parametrize(("block", "local", "stride"), [(8, 3, 4), (16, 1, 7), (8, 2, 1)])
def test_s2_gives_each_head_its_share(block, local, stride):
    got = whole_map(S2Attention(block=block, local=local, stride=stride), TOKENS)
    for head in range(HEADS):
        shared = (KEY // block + head * max(1, stride // HEADS)) % stride == 0
        near = QUERY // block - KEY // block < local
        np.testing.assert_array_equal(got[head], CAUSAL & (shared | near | (KEY < SINKS)))


def test_heads_of_s2_see_all_of_a_text_together():
    got = whole_map(S2Attention(block=8, local=1, stride=HEADS), TOKENS)
    np.testing.assert_array_equal(np.logical_or.reduce(got), CAUSAL)
    assert got[0].mean() < 0.6 * CAUSAL.mean(), "and each by itself little more than half"


def test_what_s2_skips_stays_skipped():
    own = whole_map(S2Attention(block=8, local=2, stride=5), TOKENS)[1]
    last = own[-1]
    seen_far = own & (QUERY // 8 - KEY // 8 >= 2)
    assert not (seen_far & ~last).any(), "what a later token reads far away, the last one still does"


@pytest.mark.parametrize("policy", [PowerAttention, S2Attention])
def test_full_layers_read_everything(policy):
    made = policy(block=8, local=1, full_layers=(1, 3))
    np.testing.assert_array_equal(whole_map(made, 100, number=3)[0], CAUSAL[:100, :100])
    assert whole_map(made, 100, number=2)[0].sum() < CAUSAL[:100, :100].sum()


def test_moa_spans_grow_with_the_text():
    policy = MoABands(alphas=[[-64, 0, 0, 32, 0, 4096]], betas=[[0.5, 0, 0.25, 0, 1, 0]], block=16)
    got = whole_map(policy, TOKENS)  # groups of three query heads: the widest of each
    ends = (QUERY // 16 + 1) * 16
    spans = [np.maximum(np.maximum(-64 + 0.5 * ends, 0.25 * ends), 16), ends]
    for head, span in enumerate(spans):
        blocks = np.ceil(span / 16)
        near = blocks > QUERY // 16 - KEY // 16
        np.testing.assert_array_equal(got[head], CAUSAL & (near | (KEY < SINKS)))


def test_moa_with_a_length_is_one_band():
    got = whole_map(MoABands(alphas=0, betas=0.25, length=TOKENS, block=15), TOKENS)[0]
    np.testing.assert_array_equal(got, CAUSAL & ((QUERY // 15 - KEY // 15 < 5) | (KEY < SINKS)))


def test_a_plan_of_moa_that_is_not_one():
    with pytest.raises(ValueError, match="a row a layer, with a number for each query head in both"):
        MoABands(alphas=[[1, 2], [3]], betas=[[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="a row a layer, with a number for each query head in both"):
        MoABands(alphas=[[1, 2]], betas=[[1, 2], [3, 4]])
    plan = MoABands(alphas=[[1, 2]], betas=[[0, 0]])
    plan.check(1, 2, 1)
    with pytest.raises(ConfigError, match="of 1 layers of 2 heads, the model has 30 of 9") as said:
        plan.check(30, 9, 3)
    assert "fovea train heads moa" in str(said.value.fix)
    MoABands().check(30, 9, 3)


def test_a_plan_of_moa_says_alphas_and_betas(tmp_path):
    rules = {"alphas": [[-64, 0, 0, 32, 0, 4096]], "betas": [[0.5, 0, 0.25, 0, 1, 0]]}
    (tmp_path / "plan.json").write_text(json.dumps(rules))
    planned = MoABands(plan=str(tmp_path / "plan.json"), block=16)
    np.testing.assert_array_equal(whole_map(planned, TOKENS), whole_map(MoABands(**rules, block=16), TOKENS))
    assert Prefill.model_validate(planned.settings()) == planned, "as a saved cache keeps it"
    with pytest.raises(ConfigError, match="of 1 layers of 6 heads, the model has 30 of 9"):
        planned.check(30, 9, 3)
    with pytest.raises(ValueError, match="plan says alphas and betas: leave out one or the other"):
        MoABands(plan=rules, alphas=3)
    with pytest.raises(ValueError, match="fovea train heads moa"):
        MoABands(plan=str(tmp_path / "nowhere.json"))
