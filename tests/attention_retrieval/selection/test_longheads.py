"""LongHeads: chunk keys as released, chosen by a group together, at the text's positions or closed up."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.rotation import Rotation  # noqa: E402
from fovea.attention_retrieval.selection.longheads import LongHeadsSelection  # noqa: E402
from fovea.attention_retrieval.selection.selection import Queries  # noqa: E402
from fovea.attention_retrieval.testing.selections import START, Layer, nothing  # noqa: E402
from fovea.attention_retrieval.vectors import Vectors  # noqa: E402
from tests.attention_retrieval.selection.test_tokenselect import SETTINGS, TURNS, plain, read_ids  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS = "fovea_retrieval"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("moves", [False, True])
def test_chunk_keys_are_those_of_the_formula(moves):
    """By the raw keys and queries of each chunk, turned as if it began at position 0."""
    rng, size, d, group, tokens = np.random.default_rng(0), 16, 8, 3, 150
    raw, asked = rng.normal(size=(2, tokens, d)), rng.normal(size=(2, group, tokens, d))
    at = np.arange(0, tokens, 2)
    page = Layer(Vectors(2, d, "fp32"), Vectors(2, d, "fp32"))
    page.keys.append(TURNS.moved(raw, np.arange(tokens)))
    page.values.append(rng.normal(size=(2, tokens, d)).astype(np.float32))
    q = TURNS.moved(asked, np.arange(tokens))
    queries = Queries(lambda head: q[head][:, at].transpose(1, 0, 2).reshape(-1, d), lambda _: at)
    made = LongHeadsSelection(top_k=64, chunk=size, positions="remapped" if moves else "text").with_rotation(TURNS)
    selected = made.over(page.keys, page.values, START, 140, queries=queries)
    values = page.values.block(0, tokens)
    assert selected.chunks.shape == (2, group, 8, d)
    for head, g, chunk in ((0, 0, 0), (1, 2, 5), (1, 1, 7)):
        low = START + chunk * size
        rows, mine = slice(low, low + size), np.arange(low, low + size)
        inside = mine[mine % 2 == 0]
        local, base = (mine - low, low) if moves else (mine, 0)
        keys = TURNS.moved(raw[head, rows], local)
        here = TURNS.moved(asked[head, g, inside], inside - base)
        middle = (softmax(here @ keys.T) @ values[head, rows]).mean(axis=0)
        expected = softmax(middle @ keys.T / np.sqrt(d)) @ keys
        np.testing.assert_allclose(selected.chunks[head, g, chunk], expected, atol=1e-5)
    selected.now = tokens - 1
    step = rng.normal(size=(2, group, d)).astype(np.float32)
    turned = TURNS.moved(step, np.full(group, tokens - 1))
    scores = np.einsum("hgd,hgcd->hc", step if moves else turned, selected.chunks)
    ids = read_ids(selected.attend(turned, nothing(turned)))
    for head in range(2):
        best = np.sort(np.argsort(-scores[head])[:3])  # 64 rows less 4 behind the last whole chunk
        expected = [*(START + best[:, None] * size + np.arange(size)).ravel(), *range(136, 140)]
        assert ids[head].tolist() == expected


def test_chunks_without_queries_and_rows_that_come_later():
    page = plain(300)
    made = LongHeadsSelection(top_k=64, chunk=16)
    whole = made.over(page.keys, page.values, START, 290)
    parts = made.over(page.keys, page.values, START, 100)
    for stop in (101, 180, 290):
        parts.insert(stop)
    np.testing.assert_allclose(parts.chunks, whole.chunks, atol=1e-6)
    assert whole.chunks.shape == (2, 1, 17, 8)
    q = np.random.default_rng(1).normal(size=(2, 4, 8)).astype(np.float32)
    np.testing.assert_array_equal(read_ids(parts.attend(q, nothing(q))), read_ids(whole.attend(q, nothing(q))))
    learnt = Queries(lambda head: np.ones((3 * 50, 8), np.float32), lambda _: np.arange(50))
    mixed = made.over(page.keys, page.values, START, 100, queries=learnt)
    mixed.insert(290)
    assert mixed.chunks.shape == (2, 3, 17, 8), "later chunks stand beside those with keys by head"


def test_two_chunks_at_least():
    with pytest.raises(ValidationError, match="top_k must hold two chunks of 256 rows, and is 300"):
        LongHeadsSelection(top_k=300)


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen2, 7 to 1"])
@pytest.mark.parametrize("positions", ["text", "remapped"])
def test_where_nothing_is_left_out_it_is_full_attention(name, positions):
    ours, full, ids = model(name, OURS), model(name, "sdpa"), text(130, batch=2)
    mask = torch.ones(2, 130, dtype=torch.long)
    mask[0, :23] = 0
    made = Retrieval(**SETTINGS, select={"use": "longheads", "chunk": 16, "positions": positions})
    made = made.with_rotation(Rotation.of(ours)) if made.wants_rotation else made
    given, wanted = (
        greedy(ours, ids, 10, mask, past_key_values=RetrievalCache(ours.config, made)),
        greedy(full, ids, 10, mask),
    )
    assert torch.equal(given[0], wanted[0])
    torch.testing.assert_close(given[1], wanted[1], atol=5e-5, rtol=1e-5)


def test_a_loaded_cache_answers_alike(tmp_path):
    ours, ids = model("llama, 4 to 1", OURS), text(200)
    made = Retrieval(**SETTINGS, select={"use": "longheads", "chunk": 16, "top_k": 64, "positions": "remapped"})
    cache = RetrievalCache(ours.config, made.with_rotation(Rotation.of(ours)))
    greedy(ours, ids, 2, past_key_values=cache)
    assert cache.layers[0].rows[0].cache.selected.chunks.shape[1] == 4, "a key of each query head"
    cache.save(tmp_path / "text.kv")
    loaded, longer = RetrievalCache.load(tmp_path / "text.kv"), torch.cat([ids, text(5, seed=1)], dim=1)
    for each in (cache, loaded):
        each.crop(200 - each.get_seq_length())
    one, other = (greedy(ours, longer, 8, past_key_values=each)[1] for each in (cache, loaded))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
