"""Heads that stream give up what they do not read; what stands for it; prompts, crops and files after that."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache.layer import LayerCache  # noqa: E402
from fovea.attention_retrieval.kernels.reference import attend  # noqa: E402
from fovea.attention_retrieval.testing.induction import induction_model, lookup  # noqa: E402
from fovea.rag.causal_lm import cache_argument  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

ALL = {"use": "all"}


def heads(*scores: list[float], keep: float = 0.5, window: int = 25) -> dict[str, object]:
    return {"use": "retrieval_heads", "scores": list(scores), "keep": keep, "window": window}


def settings(**more) -> Retrieval:
    own = {"sinks": 5, "window": 20, "dense_below": 100, "dtype": "fp32", "insert_every": 50, "select": ALL}
    return Retrieval(**{**own, **more})


def layer_of(rows: np.ndarray, tokens: int, made: Retrieval) -> LayerCache:
    layer = LayerCache(made, 0, len(rows), rows.shape[2])
    for n in range(90, tokens + 1):
        layer.append(*(rows[:, 0 if n == 90 else n - 1 : n],) * 2)
        layer.advance()
    return layer


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int4"])
def test_bytes_fall_to_what_is_read(dtype):
    rows = np.random.default_rng(0).normal(size=(4, 3000, 16)).astype(np.float32)
    policy = heads([0.9, 0, 0, 0], keep=0.25)
    layer = LayerCache(settings(heads=policy, dtype=dtype), 0, 4, 16)
    layer.append(rows[:, :2999], rows[:, :2999])
    before = layer.keys.nbytes + layer.values.nbytes
    layer.advance()
    assert layer.keys.lengths.tolist() == [2999, 30, 30, 30]
    held = layer.keys.nbytes + layer.values.nbytes
    assert held < 0.35 * before
    per_head = [layer.keys.head_bytes(head) + layer.values.head_bytes(head) for head in range(4)]
    assert (sum(per_head), per_head[1] < 0.1 * per_head[0]) == (held, True)
    assert layer.tokens == 2999


def test_a_long_answer_is_cut_again_and_again(monkeypatch):
    monkeypatch.setattr("fovea.attention_retrieval.cache.zones.ANSWER", 50)
    rows = np.random.default_rng(0).normal(size=(2, 900, 16)).astype(np.float32)
    layer = layer_of(rows, 900, settings(heads=heads([0.9, 0.1])))
    assert layer.keys.lengths[0] == 900
    assert 30 <= layer.keys.lengths[1] <= 30 + 50
    np.testing.assert_array_equal(layer.keys.head(1).block(0, 5), rows[1, :5])
    held = layer.evicted.positions(1, 900)
    np.testing.assert_array_equal(layer.keys.head(1).block(0, len(held)), rows[1, held])


def test_a_crop_goes_back_to_the_end_of_the_prompt():
    """All that a head that streams held there is there, however much of an answer has come since."""
    rows = np.random.default_rng(0).normal(size=(2, 400, 16)).astype(np.float32)
    layer = LayerCache(settings(heads=heads([0.9, 0.1])), 0, 2, 16)
    layer.append(rows[:, :120], rows[:, :120])
    layer.learn(rows[:, :120], 0)
    for n in range(120, 400):
        layer.append(rows[:, n : n + 1], rows[:, n : n + 1])
        layer.advance()
    assert layer.evicted.whole_from == 120
    with pytest.raises(ModelError, match=r"the first 119 tokens are not all there.*\n.*leave out evict and heads"):
        layer.crop(119)
    layer.crop(120)
    assert (layer.tokens, layer.keys.lengths.tolist()) == (120, [120, 30])
    np.testing.assert_array_equal(layer.keys.head(1).block(5, 30), rows[1, 95:120])
    layer.crop(0)
    assert (layer.tokens, layer.evicted, layer.keys.lengths.tolist()) == (0, None, [0, 0])


@pytest.fixture
def compensating(monkeypatch):
    from fovea.attention_retrieval.heads.retrieval_heads import RetrievalHeads

    monkeypatch.setattr(RetrievalHeads, "compensate", property(lambda self: True))


@pytest.mark.parametrize("tokens", [101, 149, 150, 399])
def test_where_all_dropped_keys_are_equal_nothing_is_lost(compensating, tokens):
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(2, 2, 400, 16)).astype(np.float32)
    keys[1, 5:] = keys[1, 5]
    layer = LayerCache(settings(heads=heads([0.9, 0.1])), 0, 2, 16)
    layer.append(keys[:, :90], values[:, :90])
    for n in range(91, tokens + 1):
        layer.append(keys[:, n - 1 : n], values[:, n - 1 : n])
        layer.advance()
    assert layer.keys.lengths[1] < tokens
    q = rng.normal(size=(2, 3, 16)).astype(np.float32)
    part = layer.attend(q)
    for head in range(2):
        out, lse = attend(values[head, :tokens], (q[head] @ keys[head, :tokens].T).astype(np.float32))
        np.testing.assert_allclose(part.out[head], out, atol=1e-4)
        np.testing.assert_allclose(part.lse[head], lse, atol=1e-4)


def test_what_stands_for_rows_is_the_same_whenever_they_were_dropped(compensating):
    rows = np.random.default_rng(0).normal(size=(2, 400, 16)).astype(np.float32)
    layer = layer_of(rows, 400, settings(heads=heads([0.9, 0.1])))
    gone = np.setdiff1d(np.arange(400), layer.evicted.positions(1, 400))
    assert layer.rest.counts.tolist() == [0, len(gone)]
    np.testing.assert_allclose(layer.rest.keys[1], rows[1, gone].mean(axis=0), atol=1e-5)


TINY = {"sinks": 4, "window": 16, "dense_below": 60, "dtype": "fp32", "insert_every": 16, "select": ALL}
TABLE = heads([0.9] * 4 + [0.1] * 4, [0.1] * 8, [0.2] * 4 + [0.8] * 4, keep=1 / 3)


def read(lm, ids, **own):
    cache = RetrievalCache(lm.config, Retrieval(**{**TINY, **own}))
    return cache, greedy(lm, ids, 30, **cache_argument(lm, cache))


@pytest.mark.parametrize("family", ["llama, 4 to 1", "qwen2, 7 to 1"])
def test_windows_that_hold_all_are_full_attention(family):
    ours, full = model(family, "fovea_retrieval"), model(family, "sdpa")
    count = ours.config.num_attention_heads
    policy = heads(*[[0.1] * count] * 3, keep=0, window=500)
    _, made = read(ours, text(150), heads=policy)
    expected = greedy(full, text(150), 30)
    assert torch.equal(made[0], expected[0])
    torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_a_saved_cache_goes_on_as_the_one_in_memory(tmp_path, compensating, dtype):
    lm = model("llama, 4 to 1", "fovea_retrieval")
    cache, made = read(lm, text(150), heads=TABLE, dtype=dtype)
    cache.save(tmp_path / "a.kv")
    more = torch.cat([made[0], text(7, seed=3)], dim=1)  # a second prompt, read by what is left
    expected = greedy(lm, more, 40, **cache_argument(lm, cache))
    loaded = RetrievalCache.load(tmp_path / "a.kv")
    got = greedy(lm, more, 40, **cache_argument(lm, loaded))
    assert torch.equal(got[0], expected[0])
    torch.testing.assert_close(got[1], expected[1])
    held = [(head.rows, head.held_bytes) for head in cache.report()]
    assert held == [(head.rows, head.held_bytes) for head in loaded.report()]
    assert len({rows for rows, _ in held}) > 1, "heads hold different rows"


def test_an_answer_to_a_loaded_text_is_cropped_off(tmp_path):
    """Where heads first stream in that answer: the text's end is in the file."""
    lm = model("llama, 4 to 1", "fovea_retrieval")
    RetrievalCache(lm.config, settings(heads=TABLE)).save(tmp_path / "none.kv")
    cache = RetrievalCache.load(tmp_path / "none.kv")
    with torch.inference_mode():
        lm(text(95), **cache_argument(lm, cache))
        cache.save(tmp_path / "a.kv")
        cache = RetrievalCache.load(tmp_path / "a.kv")
        for n in range(12):
            lm(text(1, seed=n), **cache_argument(lm, cache))
    assert len({head.rows for head in cache.report()}) > 1, "heads stream"
    cache.crop(-12)
    assert cache.get_seq_length() == 95


def test_a_second_prompt_reads_what_is_left_and_what_stands_for_the_rest(compensating):
    """Its tokens one by one are the same, where nothing is dropped between."""
    lm = model("llama, 4 to 1", "fovea_retrieval")
    both = []
    for exact in (True, False):
        cache, _ = read(lm, text(150), heads=TABLE, insert_every=500, exact_prompt=exact)
        with torch.inference_mode():
            both.append(lm(text(9, seed=5), **cache_argument(lm, cache)).logits)
    torch.testing.assert_close(both[0], both[1], atol=1e-4, rtol=1e-4)


def test_lookup_where_the_heads_that_only_look_back_stream():
    page = lookup(900)
    lm = induction_model()
    lm.set_attn_implementation("fovea_retrieval")
    policy = heads([0.0] * 8, [1.0] * 8, keep=0.5, window=8)
    cache = RetrievalCache(lm.config, Retrieval(**{**TINY, "dense_below": 200, "dtype": "bf16"}, heads=policy))
    with torch.inference_mode():
        lm(torch.tensor([page.ids[:-1]]), **cache_argument(lm, cache))
    made = greedy(lm, torch.tensor([page.ids]), 1, **cache_argument(lm, cache))
    assert int(made[0][0, -1]) == page.answer
    rows = {head.layer: head.rows for head in cache.report()}
    assert (rows[0], rows[1]) == (4 + 8 + 1, len(page.ids))  # sinks, the prompt's window, and what came since
    shown = str(cache.report())
    assert "held" in shown
    assert "window" in shown
