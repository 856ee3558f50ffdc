"""TokenSelect: a layer votes, the last vote holds for queries like it, and what is read may be closed up."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.rotation import Rotation  # noqa: E402
from fovea.attention_retrieval.selection.tokenselect import TokenSelection  # noqa: E402
from fovea.attention_retrieval.testing.induction import induction_model, lookup  # noqa: E402
from fovea.attention_retrieval.testing.selections import START, Layer, nothing  # noqa: E402
from fovea.attention_retrieval.vectors import Vectors  # noqa: E402
from fovea.rag.errors import FoveaError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS = "fovea_retrieval"
SETTINGS = {"sinks": 4, "window": 16, "dense_below": 0, "dtype": "fp32", "insert_every": 8}
TURNS = Rotation(1.0 / 100.0 ** (np.arange(4) / 4), False)


def plain(tokens: int, d: int = 8, heads: int = 2, seed: int = 0) -> Layer:
    """A layer of random rows."""
    made = Layer(Vectors(heads, d, "fp32", "channel"), Vectors(heads, d, "fp32"))
    rng = np.random.default_rng(seed)
    made.keys.append(rng.normal(size=(heads, tokens, d)).astype(np.float32))
    made.values.append(rng.normal(size=(heads, tokens, d)).astype(np.float32))
    return made


def read_ids(read) -> np.ndarray:
    """What each head read, (heads, k)."""
    return np.stack([found.ids[0] for found in read.found])


@pytest.mark.parametrize("group", [3, 4, 7])
def test_what_one_query_head_alone_wants_is_read_by_all(group):
    """A row that only the last query head of the last group sees is found, which pairing h % heads would not."""
    rng = np.random.default_rng(group)
    text, q = plain(400), rng.normal(size=(2, group, 8)).astype(np.float32) * 0.1
    q[1, -1] *= 200
    row = START + int((q[1, -1] @ text.keys.block(START, 390)[1].T).argmax())
    selected = TokenSelection(top_k=40).over(text.keys, text.values, START, 390)
    ids = read_ids(selected.attend(q, nothing(q)))
    assert row in ids[0]
    np.testing.assert_array_equal(ids[0], ids[1])
    assert (np.diff(ids[0]) > 0).all()


def test_votes_are_attention_weights():
    """Softmax before the sum: one head of huge logits has one vote to give, like each of the others."""
    text, rng = plain(300), np.random.default_rng(1)
    q = rng.normal(size=(2, 2, 8)).astype(np.float32)
    q[0, 0] *= 50
    keys = text.keys.block(START, 300)
    votes = np.zeros(300 - START)
    for head in range(2):
        logits = q[head] @ keys[head].T
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        votes += (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)
    expected = START + np.sort(np.argsort(-votes)[:30])
    selected = TokenSelection(top_k=30).over(text.keys, text.values, START, 300)
    np.testing.assert_array_equal(read_ids(selected.attend(q, nothing(q)))[0], expected)
    wider = Layer(*(Vectors(2, 16, "fp32", by) for by in ("channel", "token")))
    for vectors, rows in zip(wider, text):
        vectors.append(np.concatenate([rows.block(0, 300)] * 2, axis=-1))
    twice = TokenSelection(top_k=30).over(wider.keys, wider.values, START, 300)
    doubled = np.concatenate([q, q], axis=-1) / 2  # the scaling of twice the width is in the query
    np.testing.assert_array_equal(read_ids(twice.attend(doubled, nothing(doubled)))[0], expected)


def test_the_last_vote_holds_for_queries_like_it():
    text, rng = plain(500), np.random.default_rng(2)
    q = rng.normal(size=(2, 3, 8)).astype(np.float32)
    near, away = q + 0.1 * rng.normal(size=q.shape).astype(np.float32), rng.normal(size=q.shape).astype(np.float32)
    selected = TokenSelection(top_k=50).over(text.keys, text.values, START, 480)
    first = selected.attend(q, nothing(q))
    again = selected.attend(near, nothing(near))
    np.testing.assert_array_equal(read_ids(first), read_ids(again))
    assert again.rows.tolist() == [50, 50], "a vote reads every key, and this is none"
    assert (selected.attend(away, nothing(away)).rows > 400).all()
    for forget in (selected.anew, lambda: selected.insert(490)):
        selected.attend(q, nothing(q))
        forget()
        assert (selected.attend(q, nothing(q)).rows > 400).all()
    never = TokenSelection(top_k=50, similar=None).over(text.keys, text.values, START, 480)
    assert (never.attend(q, nothing(q)).rows > 400).all()
    assert (never.attend(q, nothing(q)).rows > 400).all()


def test_estimates_stand_for_what_is_not_read():
    text, rng = plain(900), np.random.default_rng(3)
    q = (rng.normal(size=(2, 3, 8)) * 0.3).astype(np.float32)
    exact = text.exact(q, START, 880)
    away = [
        np.abs(each.over(text.keys, text.values, START, 880).attend(q, nothing(q)).part.lse - exact.lse).max()
        for each in (TokenSelection(top_k=50, estimate=True), TokenSelection(top_k=50))
    ]
    assert away[0] < away[1] / 5


def test_closed_up_rows_stand_behind_one_another():
    """Against keys made anew at the places that the paper counts: sinks, what is read, what is near, from 0 on."""
    rng = np.random.default_rng(4)
    raw, text = rng.normal(size=(2, 300, 8)).astype(np.float32), Layer(Vectors(2, 8, "fp32"), Vectors(2, 8, "fp32"))
    text.keys.append(TURNS.moved(raw, np.arange(300)))
    text.values.append(rng.normal(size=(2, 300, 8)).astype(np.float32))
    asked = rng.normal(size=(2, 3, 8)).astype(np.float32)
    q, stop = TURNS.moved(asked, np.full(3, 299)), 280
    near = text.exact(q, stop, 300)
    selected = TokenSelection(top_k=40, positions="remapped").with_rotation(TURNS).over(text.keys, text.values, 8, stop)
    selected.now = 299
    read = selected.attend(q, near)
    ids = read_ids(read)[0]
    rows = np.concatenate([np.arange(8), ids, np.arange(stop, 300)])
    keys, there = TURNS.moved(raw[:, rows], np.arange(len(rows))), TURNS.moved(asked, np.full(3, len(rows) - 1))
    made = Layer(Vectors(2, 8, "fp32"), Vectors(2, 8, "fp32"))
    made.keys.append(keys)
    made.values.append(text.values.block(0, 300)[:, rows])
    exact = made.exact(there, 0, len(rows))
    np.testing.assert_allclose(read.part.out, exact.out, atol=1e-5)
    np.testing.assert_allclose(read.part.lse, exact.lse, atol=1e-5)
    logits = TURNS.moved(asked, np.full(3, 20)) @ raw[:, 8:stop].transpose(0, 2, 1)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    votes = (weights / weights.sum(axis=-1, keepdims=True)).sum(axis=(0, 1))
    np.testing.assert_array_equal(ids, 8 + np.sort(np.argsort(-votes)[:40]))


def settings(lm, **select) -> Retrieval:
    """For a model of RoPE."""
    made = Retrieval(**SETTINGS, select={"use": "tokenselect", **select})
    return made.with_rotation(Rotation.of(lm)) if made.wants_rotation else made


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen2, 7 to 1"])
@pytest.mark.parametrize("positions", ["text", "remapped"])
def test_where_nothing_is_left_out_it_is_full_attention(name, positions):
    ours, full, ids = model(name, OURS), model(name, "sdpa"), text(120)
    cache = RetrievalCache(ours.config, settings(ours, top_k=5000, positions=positions))
    made, wanted = greedy(ours, ids, 12, past_key_values=cache), greedy(full, ids, 12)
    assert torch.equal(made[0], wanted[0])
    torch.testing.assert_close(made[1], wanted[1], atol=3e-5, rtol=1e-5)


def test_a_needle_is_found_and_closed_up_text_is_read():
    lm = induction_model(512)
    lm.config._attn_implementation = OURS
    page = lookup(900, depth=0.4, vocabulary=512)
    for positions in ("text", "remapped"):
        made = Retrieval(
            sinks=4, window=32, dense_below=0, select={"use": "tokenselect", "top_k": 60, "positions": positions}
        )
        made = made.with_rotation(Rotation.of(lm)) if made.wants_rotation else made
        cache = RetrievalCache(lm.config, made)
        with torch.inference_mode():
            lm(torch.tensor([page.ids[:-1]]), past_key_values=cache)
            logits = lm(torch.tensor([page.ids[-1:]]), past_key_values=cache).logits
        assert int(logits[0, -1].argmax()) == page.answer


def test_what_cannot_be_moved_is_refused(tmp_path):
    ours = model("gpt2", OURS)
    remapped = {"use": "tokenselect", "positions": "remapped"}
    with pytest.raises(FoveaError, match="has no rotary positions"):
        Retrieval(select=remapped).with_rotation(Rotation.of(ours))
    with pytest.raises(FoveaError, match=r"(?s)how this model turns them.*with_rotation"):
        RetrievalCache(ours.config, Retrieval(select=remapped))
    for beside in ({"evict": {"use": "snapkv"}}, {"watch": True}):
        with pytest.raises(ValidationError, match=rf"select: \{{use: tokenselect\}} beside {next(iter(beside))}"):
            Retrieval(select=remapped, **beside)
    with pytest.raises(ValidationError, match="no place of its own"):
        Retrieval(select={**remapped, "estimate": True})
    llama = model("llama, 4 to 1", OURS)
    cache = RetrievalCache(llama.config, settings(llama, top_k=20, positions="remapped"))
    greedy(llama, text(100), 3, past_key_values=cache)
    cache.save(tmp_path / "text.kv")
    assert RetrievalCache.load(tmp_path / "text.kv").settings == cache.settings
    mask = torch.ones(1, 110, dtype=torch.long)
    mask[0, 40:50] = 0
    with pytest.raises(FoveaError, match=r"(?s)hides tokens that were read.*positions: text"):
        greedy(llama, text(110), 3, mask=mask, past_key_values=cache)
