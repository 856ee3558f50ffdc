"""One layer's cache: its zones, what is near the model, and the engine that `auto` takes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval  # noqa: E402
from fovea.attention_retrieval.attend import merge  # noqa: E402
from fovea.attention_retrieval.cache.device import Near  # noqa: E402
from fovea.attention_retrieval.cache.layer import LayerCache  # noqa: E402
from fovea.attention_retrieval.cache.prompt import full_attention  # noqa: E402
from fovea.attention_retrieval.index.engine import Engine, Keys  # noqa: E402
from fovea.attention_retrieval.index.flat import FlatEngine  # noqa: E402
from fovea.attention_retrieval.selection.choice import Wanted, chosen, trial  # noqa: E402
from fovea.attention_retrieval.testing.engines import asked, topics  # noqa: E402
from fovea.attention_retrieval.vectors import Rows  # noqa: E402


@pytest.mark.parametrize("seed", range(6))
def test_zones_are_all_tokens_and_disjoint(seed):
    rng = np.random.default_rng(seed)
    settings = Retrieval(sinks=int(rng.integers(0, 9)), window=int(rng.integers(1, 20)), dense_below=30,
                         insert_every=int(rng.integers(1, 15)), engine={"use": "flat"})  # fmt: skip
    layer = LayerCache(settings, 0, heads=2, d=8)
    for _ in range(60):
        if rng.random() < 0.1:
            layer.crop(int(rng.integers(0, len(layer) + 1)))
        rows = rng.normal(size=(2, int(rng.integers(1, 8)), 8)).astype(np.float32)
        layer.append(rows, rows)
        layer.advance()
        near = Near(layer, torch.zeros(1))
        held = near.keys[:, : near.length].numpy()
        indexed = range(settings.sinks, layer.indexed) if layer.built else range(0)
        assert near.length + len(indexed) == len(layer)
        rest = [n for n in range(len(layer)) if n not in indexed]
        np.testing.assert_array_equal(held[0], layer.keys.head(0).take(np.array(rest)))
        if layer.built:
            assert layer.indexed <= len(layer)
            assert len(layer) - settings.window - layer.indexed < settings.insert_every
            assert all(head.index.keys.stop == layer.indexed for head in layer.selected.heads)


def test_without_a_search_sinks_and_window_are_all_there_is():
    layer = LayerCache(Retrieval(sinks=3, window=10, top_k=0, dense_below=20), 0, heads=2, d=4)
    rows = np.random.default_rng(0).normal(size=(2, 60, 4)).astype(np.float32)
    for n in range(60):
        layer.append(rows[:, n : n + 1], rows[:, n : n + 1])
        moved = layer.advance()
        assert moved == (n + 1 > 20), "all is read up to dense_below, and then the window moves at every token"
        last = range(n + 1 - 10, n + 1) if moved else range(3, n + 1)
        np.testing.assert_array_equal(Near(layer, torch.zeros(1)).positions(), [*range(min(3, n + 1)), *last])
    assert layer.selected is None
    assert layer.retrieve(rows[:, :1]) is None
    layer.crop(40)
    assert layer.advance()
    np.testing.assert_array_equal(Near(layer, torch.zeros(1)).positions(), [0, 1, 2, *range(30, 40)])


def test_what_is_near_grows_in_place_and_moves_with_the_index():
    layer = LayerCache(Retrieval(sinks=2, window=4, insert_every=5, dense_below=10, engine={"use": "flat"}), 0, 1, 4)
    rows = np.random.default_rng(0).normal(size=(1, 400, 4)).astype(np.float32)
    layer.append(rows[:, :20], rows[:, :20])
    near = Near(layer, torch.zeros(1))
    for n in range(20, 400):
        layer.append(rows[:, n : n + 1], rows[:, n : n + 1])
        near.add(layer)
    np.testing.assert_array_equal(near.values[:, : near.length].numpy(), layer.values.block(0, 400))


def test_torch_merge_is_attention_over_both():
    query, keys = torch.randn(2, 3, 8) * 30, torch.randn(2, 50, 8)
    parts = []
    for part in (keys[:, :20], keys[:, 20:]):
        logits = query @ part.transpose(1, 2)
        parts += [logits.softmax(-1) @ part, logits.logsumexp(-1)]
    out, _ = merge(*parts)
    torch.testing.assert_close(out, (query @ keys.transpose(1, 2)).softmax(-1) @ keys, atol=3e-5, rtol=1e-5)


def test_a_prompt_in_blocks_of_rows(monkeypatch):
    monkeypatch.setattr("fovea.attention_retrieval.cache.prompt.BLOCK", 7)
    query, keys, values = torch.randn(1, 4, 30, 8), torch.randn(1, 1, 50, 8), torch.randn(1, 1, 50, 8)
    mask = torch.ones(30, 50, dtype=torch.bool).tril(20)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, keys.expand(1, 4, 50, 8), values.expand(1, 4, 50, 8), mask, scale=0.3
    )
    torch.testing.assert_close(full_attention(query[0], keys[0], values[0], 20, 0.3), expected[0], atol=1e-6, rtol=1e-5)


def easy(tokens: int) -> tuple[Keys, np.ndarray]:
    """Keys that queries like those of the prompt want."""
    keys = topics(tokens, seed=0)
    return Keys(Rows.of(keys), 0, tokens), asked(keys, 2000, seed=1)


@pytest.mark.parametrize(
    ("tokens", "settings", "name", "why"),
    [
        (9_000, {"reuse": True}, "flat", "costs less than an index"),
        (20_000, {}, "fast_scan", "is asked once"),
        (20_000, {"reuse": True, "k": 20}, "joined", "will be asked again, and they find"),
        (20_000, {"reuse": True, "build_seconds": 0.1}, "fast_scan", "would take about"),
        (20_000, {"engine": Engine.model_validate({"use": "ivf"})}, "ivf", "was asked for"),
    ],
)
def test_auto_says_what_it_takes_and_why(tokens, settings, name, why):
    pytest.importorskip("faiss")
    engine, words = chosen(Wanted(**settings), *easy(tokens))
    assert engine.name == name, words
    assert why in words


def test_auto_tries_what_it_takes():
    keys, queries = easy(20_000)
    rng = np.random.default_rng(0)
    queries[-32:] = rng.normal(size=(32, queries.shape[1]))  # unlike all that was asked before
    engine, words = chosen(Wanted(k=20, reuse=True), keys, queries)
    assert "in a trial" in words
    assert engine.name == "joined" or "wants more than query_ivf and ivf find" in words
    assert trial(FlatEngine(), keys, queries, 20) == 1
    assert trial(FlatEngine(), keys, None, 20) == 0


def test_auto_without_faiss(monkeypatch):
    monkeypatch.setattr("fovea.attention_retrieval.selection.choice.find_spec", lambda name: None)
    assert chosen(Wanted(), *easy(20_000))[0].name == "ivf"
