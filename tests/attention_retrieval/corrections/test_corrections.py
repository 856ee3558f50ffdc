"""Corrections: the suite over every registered one, and what is each one's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.attention_retrieval.corrections.lift import LiftCorrection
from fovea.attention_retrieval.corrections.tail import TailCorrection
from fovea.attention_retrieval.index.engine import Found, Keys
from fovea.attention_retrieval.index.flat import FlatEngine
from fovea.attention_retrieval.index.ivf import IvfEngine
from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.testing.corrections import check_correction
from fovea.attention_retrieval.vectors import Rows
from fovea.rag import registry
from fovea.rag.errors import FoveaError

pytest.importorskip("numba")


@pytest.mark.parametrize("name", registry.names("correction"))
def test_correction_keeps_the_contract(name):
    check_correction(registry.find("correction", name)())


def test_the_series_keeps_the_contract():
    check_correction(TailCorrection(form="taylor"))


def votes(tokens: int = 6000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """200 tokens, each stronger than any other, say one thing; all the others together weigh more and say another."""
    rng = np.random.default_rng(0)
    logits = np.full(tokens, -1.0)
    strong = rng.choice(tokens, 200, replace=False)
    logits[strong] = 1.0
    keys = np.column_stack([logits, rng.normal(size=(tokens, 7)) * 0.2]).astype(np.float32)
    values = np.tile(np.float32([0, 1]), (tokens, 4))
    values[strong] = np.tile(np.float32([1, 0]), 4)
    q = np.zeros((2, 8), np.float32)
    q[:, 0] = 1
    return keys, values, q


@pytest.mark.parametrize("engine", [FlatEngine(), IvfEngine()], ids=lambda engine: engine.name)
@pytest.mark.parametrize("correction", [LiftCorrection(), TailCorrection()], ids=lambda correction: correction.name)
def test_many_weak_keys_outvote_the_strong_ones(engine, correction):
    keys, values, q = votes()
    rows, held = Rows.of(keys), Rows.of(values)
    exact = reference.attend(values, q @ keys.T)[0]
    plain = FlatEngine().build(Keys(rows, 0, len(keys)), None).search(q, 128)
    assert values[plain.ids].mean(axis=1)[0, 0] == 1, "the strong ones are all that top-k sees"
    assert exact[0, 1] > 0.75
    index = engine.build(Keys(rows, 0, len(keys), correction.bias(len(keys), seed=0, layer=0, head=0)), None)
    near = correction.over(index.keys, held).attend(q, index.search(q, 128 + correction.more))
    np.testing.assert_allclose(near.out, exact, atol=0.1)


def test_lift_is_unbiased():
    rng = np.random.default_rng(1)
    keys, values = (rng.normal(size=(700, 8)).astype(np.float32) for _ in range(2))
    values += 2
    rows, held = Rows.of(keys), Rows.of(values)
    q = (rng.normal(size=(3, 8)) * np.array([[0.2], [0.7], [1.5]])).astype(np.float32)
    exact, lse = reference.attend(values, q @ keys.T)
    correction, masses, sums, outs = LiftCorrection(), [], [], []
    for seed in range(200):
        known = Keys(rows, 0, 700, correction.bias(700, seed=seed, layer=3, head=1))
        near = correction.over(known, held).attend(q, known.best(q, 65))
        masses.append(np.exp(near.lse - lse))
        sums.append(masses[-1][:, None] * near.out)
        outs.append(near.out)

    def away(drawn, mean):
        return np.abs(np.mean(drawn, axis=0) - mean) / (np.std(drawn, axis=0) / len(drawn) ** 0.5)

    assert away(masses, 1).max() < 3
    assert (away(sums, exact) < 3.5).all()
    assert (away(sums, exact) < 2).mean() > 0.8
    assert np.abs(np.mean(outs, axis=0) - exact).max() < 0.02 * np.abs(exact).max()


def test_a_bias_is_drawn_for_a_seed_a_layer_and_a_head():
    correction = LiftCorrection()
    drawn = [correction.bias(5000, seed=s, layer=n, head=h) for s, n, h in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    for one in drawn:
        assert one.dtype == np.float32
        assert np.isfinite(one).all()
        assert (one >= 0).all()
        assert abs(one.mean() - 1) < 0.05  # -log u is exponential
    for a in range(4):
        for b in range(a):
            assert abs(np.corrcoef(drawn[a], drawn[b])[0, 1]) < 0.05


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 20.0, 100.0]), st.integers(1, 5), st.booleans())
def test_the_kernel_of_the_tail_is_the_reference(seed, spread, queries, taylor):
    from fovea.attention_retrieval.kernels.tail import Clusters, attend_rest

    rng = np.random.default_rng(seed)
    tokens, count, k, first = int(rng.integers(1, 300)), int(rng.integers(1, 20)), 17, 5
    keys, values = (rng.normal(size=(first + tokens, 8)).astype(np.float32) for _ in range(2))
    cells = np.unique(rng.integers(0, count, tokens), return_inverse=True)[1].astype(np.int32)
    sizes = np.bincount(cells).astype(np.float32)
    means, middle = (
        np.stack([table[first:][cells == c].mean(axis=0) for c in range(len(sizes))]) for table in (keys, values)
    )
    wider = rng.uniform(0.2, 2, len(sizes)).astype(np.float32)
    q = (rng.normal(size=(queries, 8)) * spread / 8).astype(np.float32)
    found = Keys(Rows.of(keys), first, first + tokens).best(q, k)
    variances, lean = rng.uniform(0, 2, queries).astype(np.float32), rng.normal(size=(queries, 8)).astype(np.float32)
    clusters = Clusters(first, cells, sizes, means, middle, wider, taylor)
    made = attend_rest(Rows.of(values).stored, clusters, q, variances, lean, found.ids, found.logits)
    out, lse = reference.attend_rest(values, clusters, q, variances, lean, found.ids, found.logits)
    np.testing.assert_allclose(made[1], lse, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(made[0], out, rtol=1e-3, atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 10.0]))
def test_the_tail_is_exact_where_the_keys_of_a_cluster_are_equal(seed, spread):
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(9, 16)).astype(np.float32)
    keys = atoms[rng.integers(0, 9, 1500)]
    values = rng.normal(size=(1500, 16)).astype(np.float32)
    q = (rng.normal(size=(3, 16)) * spread).astype(np.float32)
    known = Keys(Rows.of(keys), 4, 1500)
    corrected = TailCorrection(size=10).over(known, Rows.of(values), seed=seed)
    ids = np.stack([rng.choice(1496, 60, replace=False) + 4 for _ in q]).astype(np.int32)
    ids[1, 50:], ids[2] = -1, -1  # found at random, few, and nothing: what is left is still all the rest
    logits = np.where(ids >= 0, np.einsum("gd,gkd->gk", q, keys[ids]), -np.inf).astype(np.float32)
    logits_best = logits.max(axis=1)
    exact = Partial(*reference.attend(values[4:], q @ keys[4:].T))
    near = corrected.attend(q, Found(ids, logits, 1, 1))
    whole = np.isneginf(logits_best)
    np.testing.assert_allclose(near.out[whole], exact.out[whole], atol=2e-3)
    np.testing.assert_allclose(near.lse[whole], exact.lse[whole], atol=1e-3)
    best = known.best(q, 60)
    near = corrected.attend(q, best)
    np.testing.assert_allclose(near.out, exact.out, atol=2e-3)
    np.testing.assert_allclose(near.lse, exact.lse, atol=1e-3)


def test_the_tail_knows_what_its_clusters_hide():
    """Keys that are one cloud, and values that follow them: the covariances make a few clusters enough."""
    rng = np.random.default_rng(2)
    keys = rng.normal(size=(8192, 16)).astype(np.float32)
    values = (keys @ rng.normal(size=(16, 16)) / 4 + rng.normal(size=(8192, 16)) * 0.1).astype(np.float32)
    q, before = (rng.normal(size=(count, 16)).astype(np.float32) * np.float32(0.4) for count in (20, 400))
    known, held = Keys(Rows.of(keys), 0, 8192), Rows.of(values)
    exact = reference.attend(values, q @ keys.T)[0]
    corrected = TailCorrection(size=512).over(known, held, before)
    found = known.best(q, 64)
    whole = corrected.attend(q, found)
    corrected.scales = np.zeros(2, np.float32)
    means_only = corrected.attend(q, found)

    def away(near):
        return (np.linalg.norm(near.out - exact, axis=1) / np.linalg.norm(exact, axis=1)).mean()

    assert away(whole) < 0.1
    assert away(whole) < away(means_only) / 3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.5, 1.5]))
def test_the_series_is_within_its_third_order_term(seed, size):
    """One cluster, nothing found, so its moments are its own: Based's sum, and what it leaves out."""
    rng = np.random.default_rng(seed)
    keys, values = rng.normal(size=(1100, 8)).astype(np.float32), rng.normal(size=(1100, 8)).astype(np.float32)
    q = (rng.normal(size=(3, 8)) * size / 8**0.5).astype(np.float32)
    corrected = TailCorrection(form="taylor", size=1100).over(Keys(Rows.of(keys), 0, 1100), Rows.of(values))
    corrected.scales = np.ones(2, np.float32)
    none = Found(np.full((3, 1), -1, np.int32), np.full((3, 1), -np.inf, np.float32), 0, 0)
    near = corrected.attend(q, none)
    middle = q.astype(np.float64) @ keys.mean(axis=0, dtype=np.float64)
    delta = q.astype(np.float64) @ keys.T - middle[:, None]
    weights = 1 + delta + delta**2 / 2
    mass = np.exp(near.lse - middle)
    np.testing.assert_allclose(mass, weights.sum(axis=1), rtol=1e-4)
    bound = (np.abs(delta) ** 3 * np.exp(np.maximum(delta, 0))).sum(axis=1) / 6
    assert (np.abs(mass - np.exp(delta).sum(axis=1)) <= bound + 1e-3).all()
    mixed = (delta**2 @ (values - values.mean(axis=0))) / 2  # a third moment, which no form holds
    np.testing.assert_allclose(near.out * mass[:, None], weights @ values - mixed, atol=2e-4 * mass.max())


def test_the_two_forms_of_the_tail_agree_to_the_second_order():
    rng = np.random.default_rng(1)
    keys, values = (rng.normal(size=(2000, 8)).astype(np.float32) for _ in range(2))
    known, held = Keys(Rows.of(keys), 0, 2000), Rows.of(values)
    gaussian, taylor = (TailCorrection(form=form, size=100).over(known, held) for form in ("gaussian", "taylor"))
    away = []
    for size in (0.1, 0.2, 0.4):
        q = np.full((1, 8), size, np.float32)
        none = Found(np.full((1, 1), -1, np.int32), np.full((1, 1), -np.inf, np.float32), 0, 0)
        away.append(float((gaussian.attend(q, none).lse - taylor.attend(q, none).lse)[0]))
    assert 0 < away[0] < 5e-4
    assert away[1] / away[0] > 10, "they differ by the fourth power of a query's length"
    assert away[2] > 5e-3, "and are not the same"


def test_a_damaged_tail_is_refused():
    rng = np.random.default_rng(3)
    known, held = (Rows.of(rng.normal(size=(3000, 16)).astype(np.float32)) for _ in range(2))
    correction, keys = TailCorrection(), Keys(known, 0, 3000)
    state = correction.over(keys, held).state()
    for name, broken in {
        "cells": state["cells"] + 1000,
        "keys": state["keys"][:-1],
        "across": state["across"][:8],
    }.items():
        with pytest.raises(FoveaError, match="does not fit|is damaged"):
            correction.restore(keys, held, {**state, name: broken})
    with pytest.raises(FoveaError, match="does not fit|is damaged"):
        correction.restore(Keys(known, 0, 1000), held, state)


def test_the_tail_says_what_it_reads():
    rng = np.random.default_rng(3)
    known, held = (Rows.of(rng.normal(size=(8192 + 1000, 16)).astype(np.float32), "bf16") for _ in range(2))
    corrected = TailCorrection(size=64).over(Keys(known, 0, 8192 + 1000), held)
    clusters = len(corrected.state()["sizes"])
    assert clusters <= 128
    assert corrected.scanned == 2 * (clusters + 1000)
    assert corrected.bytes == clusters * 2 * 16 * 4 + 1000 * 2 * 32
    assert corrected.nbytes < 0.25 * 2 * 2 * 32 * 8192
