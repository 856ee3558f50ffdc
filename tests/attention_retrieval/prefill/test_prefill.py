"""Prefill policies: the contract, how it is carried out, and a band against its formula."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.cache.prompt import blocks, read_all, read_by
from fovea.attention_retrieval.methods.retrieval import Retrieval
from fovea.attention_retrieval.prefill.band import BandPrefill
from fovea.attention_retrieval.prefill.prefill import Columns, Means, Prefill
from fovea.attention_retrieval.testing.prefills import SINKS, block_of, check_prefill, sight
from fovea.attention_retrieval.testing.selections import layer
from fovea.rag import registry

SMALL = {
    "anchor": {"theta": 2, "block": 8, "step": 2, "window": 8},
    "band": {"window": 50},
    "power": {"block": 32, "local": 1},
    "s2": {"block": 32, "local": 1, "stride": 4},
    "moa_bands": {"block": 32, "betas": 0.25},
    "hip_prefill": {"stages": [[32, 64], [8, 16]], "window": 16, "block": 32, "dense_below": 64},
    "sale": {"tau": 0.9, "window": 8, "block": 16, "key_block": 2, "dense_below": 0},
    "hyper": {"exact": 64, "bucket": 16, "sample": 16, "block": 32},
    "delta": {"segment": 16, "window": 16, "block": 32, "threshold": 1},
    "flexprefill": {"gamma": 0.3, "size": 8, "min_budget": 16},
    "wave": {
        "price": 1,
        "tolerance": 9,
        "sizes": [4, 16],
        "alone": 4,
        "dense_below": 0,
        "block": 16,
        "segment": 32,
        "window": 8,
    },
}
"""Settings of each policy that leave something out of a text of 700 tokens."""
ALL = {
    "anchor": {"theta": 1e9, "block": 16, "step": 2, "window": 8},
    "band": {"window": 10_000},
    "power": {"block": 32, "local": 1000},
    "s2": {"block": 32, "local": 1, "stride": 1},
    "moa_bands": {"block": 32, "alphas": 0, "betas": 1},
    "hip_prefill": {"stages": [[32, 1024], [8, 1024]], "window": 16, "block": 32, "dense_below": 0},
    "sale": {"tau": 0, "dense_below": 0},
    "hyper": {"exact": 64, "bucket": 512, "sample": 16, "block": 32},
    "delta": {"segment": 16, "window": 16, "block": 32, "threshold": 0},
    "flexprefill": {"min_budget": 10_000},
    "wave": {"price": 0},
}
"""Settings that leave nothing out."""


@pytest.mark.parametrize("name", registry.names("prefill"))
def test_every_policy_keeps_the_contract(name):
    check_prefill(Prefill.model_validate({"use": name, **SMALL[name]}))


@pytest.mark.parametrize("sinks", [0, 32, 100, 900])
@pytest.mark.parametrize("name", registry.names("prefill"))
def test_any_number_of_sinks_is_read(name, sinks, monkeypatch):
    """None and no window, more than a segment of the text, or more than there is."""
    monkeypatch.setattr("fovea.attention_retrieval.testing.prefills.SINKS", sinks)
    alone = {"window": 0} if name != "band" and "window" in SMALL[name] else {}
    policy = Prefill.model_validate({"use": name, **SMALL[name], **alone})
    check_prefill(policy)
    seen = sight(policy.columns(block_of(layer(700), 640, 641)), 640, 641)
    assert seen[:, : min(sinks, 641)].all()


@pytest.mark.parametrize(("start", "stop"), [(0, 40), (3, 60), (100, 300), (299, 300)])
def test_a_band_is_its_formula(start, stop):
    window = 20
    columns = BandPrefill(window=window).columns(block_of(layer(300), start, stop))
    tokens, rows = np.arange(start, stop)[:, None], np.arange(stop)
    wanted = (rows <= tokens) & ((rows > tokens - window) | (rows < SINKS))
    np.testing.assert_array_equal(sight(columns, start, stop), wanted)
    assert len(columns.ids[0]) <= SINKS + window, "linear in the text"


def read(prefill, group, pieces, dtype="bf16", tokens=300):
    """A layer's attention (kv heads * group, tokens, d) to a text that comes in pieces, and the layer."""
    cache, rng, parts = LayerCache(Retrieval(sinks=SINKS, dtype=dtype), 0, 2, 16), np.random.default_rng(group), []
    query, keys, values = (rng.normal(size=(heads, tokens, 16)).astype(np.float32) for heads in (2 * group, 2, 2))
    for start, stop in zip(np.cumsum([0, *pieces]), np.cumsum(pieces)):
        cache.append(keys[:, start:stop], values[:, start:stop])
        asked = torch.from_numpy(query[:, start:stop])
        if prefill is None:
            parts.append(read_all(asked, cache.keys, cache.values, 0.7))
        else:
            parts.append(read_by(prefill, asked, cache, start, 0.7))
    return torch.cat(parts, dim=1)


def plain(group, dtype="bf16", tokens=300):
    """The same by the formula, in one softmax."""
    rng = np.random.default_rng(group)
    query, keys, values = (
        torch.from_numpy(rng.normal(size=(heads, tokens, 16)).astype(np.float32)) for heads in (2 * group, 2, 2)
    )
    if dtype == "bf16":
        keys, values = keys.bfloat16().float(), values.bfloat16().float()
    keys, values = (each.repeat_interleave(group, dim=0) for each in (keys, values))
    return torch.nn.functional.scaled_dot_product_attention(query, keys, values, is_causal=True, scale=0.7)


PIECES = [(300,), (1, 299), (64, 64, 64, 64, 44), (100, 7, 193), (13,) * 23 + (1,)]


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("group", [1, 3, 4, 7])
def test_full_attention_in_pieces_is_one_softmax(group, pieces, monkeypatch):
    monkeypatch.setattr("fovea.attention_retrieval.cache.prompt.BLOCK", 50)
    torch.testing.assert_close(read(None, group, pieces), plain(group), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("name", registry.names("prefill"))
def test_a_policy_that_leaves_nothing_out_is_full_attention(name, pieces):
    prefill = Prefill.model_validate({"use": name, **ALL[name]})
    for group in (3, 4, 7):
        torch.testing.assert_close(read(prefill, group, pieces), plain(group), atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("name", registry.names("prefill"))
def test_pieces_that_end_with_a_block_are_read_as_the_whole(name):
    prefill = Prefill.model_validate({"use": name, **SMALL[name]})
    tokens = 2 * prefill.rows + 9
    whole = read(prefill, 3, (tokens,), tokens=tokens)
    for pieces in ((prefill.rows, prefill.rows + 9), (prefill.rows, prefill.rows, 9)):
        torch.testing.assert_close(read(prefill, 3, pieces, tokens=tokens), whole, atol=5e-6, rtol=1e-5)


def test_a_policy_by_token_reads_any_pieces_as_the_whole():
    whole, *others = (read(BandPrefill(window=20), 3, pieces) for pieces in PIECES)
    for other in others:
        torch.testing.assert_close(other, whole, atol=5e-6, rtol=1e-5)


def test_blocks_are_aligned_to_the_text():
    assert list(blocks(0, 10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(blocks(3, 6, 4)) == [(3, 4), (4, 8), (8, 9)]
    assert list(blocks(5, 1, 4)) == [(5, 6)]


class Odd(BandPrefill):
    """Every query head its own columns, some of them none; tokens that see nothing far; counted twice by their bias."""

    rows = property(lambda self: 64)

    def columns(self, block):
        heads = [np.arange(h, block.start, h + 1) if h % 3 else np.zeros(0, np.int64) for h in range(6)]
        seen = [np.add.outer(np.arange(block.queries.shape[2]), ids) % 4 == 0 for ids in heads]
        return Columns(heads, seen, [np.full(len(ids), np.log(2), np.float32) for ids in heads])


def test_columns_by_query_head_with_sight_and_bias_are_their_formula():
    prefill = Odd()
    check_prefill(prefill)
    got, rng = read(prefill, 3, (300,)), np.random.default_rng(3)
    query, keys, values = (torch.from_numpy(rng.normal(size=(n, 300, 16)).astype(np.float32)) for n in (6, 2, 2))
    keys, values = (each.bfloat16().float().repeat_interleave(3, dim=0) for each in (keys, values))
    weight = torch.zeros(6, 300, 300)
    for start in range(0, 300, 64):
        tokens = min(64, 300 - start)
        columns = prefill.columns(block_of(layer(300), start, start + tokens))
        for head, (ids, seen) in enumerate(zip(columns.ids, columns.seen)):
            weight[head, start : start + tokens, ids] = torch.from_numpy(seen).float() * 2
            weight[head, start : start + tokens, start : start + tokens] = torch.ones(tokens, tokens).tril()
    logits = query @ keys.transpose(1, 2) * 0.7 + weight.log()
    torch.testing.assert_close(got, logits.softmax(-1) @ values, atol=2e-6, rtol=1e-5)


class Own(BandPrefill):
    """One that names the block's own rows."""

    def columns(self, block):
        return Columns([np.arange(block.stop)])


class Twice(BandPrefill):
    """One that names rows twice."""

    def columns(self, block):
        return Columns([np.sort(np.concatenate([np.arange(block.start)] * 2))])


class Blind(BandPrefill):
    """One whose tokens do not see themselves."""

    def columns(self, block):
        tokens = block.stop - block.start
        return Columns([np.arange(block.start)], own=np.tri(tokens, k=-1, dtype=bool))


@pytest.mark.parametrize(
    ("policy", "said"), [(Own, "rows before the block"), (Twice, "ids ascend"), (Blind, "every token sees itself")]
)
def test_the_suite_notices(policy, said):
    with pytest.raises(AssertionError, match=said):
        check_prefill(policy())


class Averaged(BandPrefill):
    """Half of the far rows by name, the others as means of four."""

    rows = property(lambda self: 64)

    def columns(self, block):
        half = block.start - block.start // 8 * 4
        means = (each[:, half : block.start].unflatten(1, (-1, 4)).mean(2) for each in (block.keys, block.values))
        return Columns([np.arange(half)] * 2, means=[Means(*each, 4) for each in zip(*means)])


def test_a_mean_is_as_many_rows_that_are_alike():
    prefill = Averaged()
    check_prefill(prefill)
    got, rng = read(prefill, 3, (192,), "fp32", 192), np.random.default_rng(3)
    query, keys, values = (torch.from_numpy(rng.normal(size=(n, 192, 16)).astype(np.float32)) for n in (6, 2, 2))
    for start in (0, 64, 128):
        half, here = start // 2, slice(start, start + 64)
        alike = [each.clone()[:, : start + 64] for each in (keys, values)]
        for each in alike:
            each[:, half:start] = each[:, half:start].unflatten(1, (-1, 4)).mean(2).repeat_interleave(4, dim=1)
        rows = (each.repeat_interleave(3, dim=0) for each in alike)
        mask = torch.ones(64, start + 64, dtype=torch.bool).tril(start)
        wanted = torch.nn.functional.scaled_dot_product_attention(query[:, here], *rows, mask, scale=0.7)
        torch.testing.assert_close(got[:, here], wanted, atol=2e-6, rtol=1e-5)
