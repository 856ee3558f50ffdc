"""Task-KV: which heads differ on a text, the middle tokens of the others, and a layer's attention to just these."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.heads.task_kv import TaskKV, mean_attention
from fovea.attention_retrieval.kernels.reference import attend
from fovea.attention_retrieval.vectors import Vectors
from tests.tiny_lms import model, text

HEADS, ROWS, D = 6, 300, 16
SETTINGS = {"window": 30, "budget": 0.6, "last_tokens": 8, "top": 20}


def drawn(group: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, values and the last queries; head 4 takes values that are unlike all others'."""
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(2, HEADS, ROWS, D)).astype(np.float32)
    values = 0.1 * values + np.ones(D, np.float32)
    values[4] += 5 * np.eye(D, dtype=np.float32)[0]
    return keys, values, 2 * rng.normal(size=(HEADS, group, 8, D)).astype(np.float32)


def vectors(rows: np.ndarray) -> Vectors:
    made = Vectors(HEADS, D, "fp32")
    made.append(rows)
    return made


@pytest.mark.parametrize("group", [3, 4, 7])
def test_mean_attention_is_that_of_the_formula(group):
    keys, _, queries = drawn(group)
    got = mean_attention(queries[0], keys[0])
    wanted = np.zeros(ROWS - 8)
    for q in queries[0]:
        for n, row in enumerate(q.astype(np.float64)):
            weights = np.exp(keys[0, : ROWS - 7 + n].astype(np.float64) @ row)
            wanted += (weights / weights.sum())[: ROWS - 8] / (8 * group)
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_the_furthest_and_the_nearest_read_everything_and_the_others_the_middle():
    keys, values, queries = drawn()
    policy = TaskKV(**SETTINGS, first=0.1)
    windows, middle = policy.reach(0, vectors(keys), vectors(values), queries, ROWS)
    assert windows[4] == ROWS, "it is unlike the others"
    assert sorted(windows.tolist()) == [30] * 4 + [ROWS] * 2
    count = int((0.6 * HEADS - 2) * ROWS / 4) - 30
    assert middle.shape == (HEADS, count)
    for head in range(HEADS):
        c = mean_attention(queries[head], keys[head])
        wanted = np.sort(np.argsort(-c, kind="stable")[:count]) if windows[head] == 30 else -1
        np.testing.assert_array_equal(middle[head], wanted)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_heads_it_is_always_the_first_that_reads_everything(seed):
    """Both are as far from their mean, but for rounding."""
    rng = np.random.default_rng(seed)
    reads = [TaskKV(**SETTINGS)._full(0, rng.normal(size=(2, 64)).astype(np.float32)) for _ in range(100)]
    assert np.unique(reads, axis=0).tolist() == [[True, False]]


def test_fewer_heads_are_far_in_deeper_layers_and_a_spent_budget_leaves_no_middle():
    keys, values, queries = drawn()
    policy = TaskKV(**SETTINGS, layers=5, first=0.5, last=0.1)
    reads = [policy.reach(layer, vectors(keys), vectors(values), queries, ROWS) for layer in range(5)]
    assert [int((each.windows == ROWS).sum()) for each in reads] == [4, 4, 3, 3, 2]
    assert reads[0].middle.shape[1] == 0


def test_of_a_text_that_is_not_known_every_head_reads_everything():
    keys, values, _ = drawn()
    windows, middle = TaskKV(**SETTINGS).reach(0, vectors(keys), vectors(values))
    assert windows.tolist() == [ROWS] * HEADS
    assert not middle.size


def layer_of(prompt: int) -> tuple[LayerCache, np.ndarray, np.ndarray]:
    keys, values, queries = drawn()
    select = {"use": "wave", "rest": 0, "most": 10_000}
    settings = Retrieval(
        sinks=5, window=20, dense_below=100, dtype="fp32", insert_every=10, select=select,
        heads={"use": "task_kv", **SETTINGS, "first": 0.1},
    )  # fmt: skip
    layer = LayerCache(settings, 0, HEADS, D)
    layer.append(keys[:, :prompt], values[:, :prompt])
    layer.learn(queries.reshape(-1, 8, D), prompt - 8)
    return layer, keys, values


def test_a_layer_reads_sinks_middle_and_window():
    layer, keys, values = layer_of(200)
    policy, q = layer.settings.heads, np.random.default_rng(1).normal(size=(HEADS, 2, D)).astype(np.float32)
    whole = [vectors(rows[:, :201]) for rows in (keys, values)]
    expected = policy.reach(0, *whole, drawn()[2], 200)
    for tokens in range(201, ROWS + 1):
        layer.append(keys[:, tokens - 1 : tokens], values[:, tokens - 1 : tokens])
        layer.advance()
        if tokens not in (201, 240, ROWS):
            continue
        part = layer.attend(q)
        for head in range(HEADS):
            near = np.r_[:5, tokens - 30 : tokens]
            few = expected.middle[head]
            few = few[(few >= 5) & (few < 201 - 30)]
            seen = np.arange(tokens) if expected.windows[head] > 30 else np.union1d(near, few)
            out, lse = attend(values[head, seen], (q[head] @ keys[head, seen].T).astype(np.float32))
            np.testing.assert_allclose(part.out[head], out, atol=1e-4)
            np.testing.assert_allclose(part.lse[head], lse, atol=1e-4)


def test_a_saved_cache_reads_the_same_middle(tmp_path):
    lm = model("llama, 4 to 1", "fovea_retrieval")
    heads = {"use": "task_kv", "window": 20, "budget": 0.9, "last_tokens": 8, "first": 0.5}
    cache = RetrievalCache(lm.config, Retrieval(sinks=4, window=10, dense_below=50, heads=heads))
    ids = text(200)
    lm(ids, past_key_values=cache)
    cache.index()
    cache.save(tmp_path / "text.kv")
    again = RetrievalCache.load(tmp_path / "text.kv")
    held = [[layer.rows[0].cache.keys.lengths.tolist() for layer in each.layers] for each in (cache, again)]
    assert held[0] == held[1]
    assert any(min(lengths) < 200 for lengths in held[0]), "some heads stream"
    token = ids[:, -1:]
    np.testing.assert_array_equal(
        lm(token, past_key_values=cache).logits.detach(), lm(token, past_key_values=again).logits.detach()
    )


def test_it_is_not_combined_with_an_eviction_that_looks_at_the_same_queries():
    with pytest.raises(ValueError, match="both look at the prompt's last queries"):
        Retrieval(heads={"use": "task_kv"}, evict={"use": "snapkv"})
