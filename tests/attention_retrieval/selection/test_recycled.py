"""Recycled: full steps where they are due, the rows that they found between them, and layers that share."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.selection.recycled import RecycledSelection, heaviest  # noqa: E402
from fovea.attention_retrieval.testing.selections import START, layer, nothing  # noqa: E402
from tests.attention_retrieval.selection.test_tokenselect import SETTINGS, plain, read_ids  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS = "fovea_retrieval"


def full(read) -> bool:
    """Whether a step read more than 300 rows."""
    return bool((read.rows > 300).all())


def test_steps_between_read_what_the_last_full_one_found():
    page, rng = plain(500), np.random.default_rng(1)
    q = rng.normal(size=(2, 3, 8)).astype(np.float32)
    near = page.exact(q, 480, 500)
    selected = RecycledSelection(top_k=40, every=5).over(page.keys, page.values, START, 480)
    whole = selected.attend(q, near)
    np.testing.assert_allclose(whole.part.out, page.exact(q, START, 500).out, atol=1e-5)
    logits = q @ page.keys.block(START, 480).transpose(0, 2, 1)
    weights = np.exp(logits - whole.part.lse[..., None]).sum(axis=1)
    best = START + np.sort(np.argsort(-weights, axis=1)[:, :40], axis=1)
    kinds = [full(whole)]
    for step in range(1, 12):
        q = rng.normal(size=(2, 3, 8)).astype(np.float32)
        read = selected.attend(q, nothing(q))
        kinds.append(full(read))
        if step < 5:
            np.testing.assert_array_equal(read_ids(read), best)
            for head in range(2):
                rows = np.concatenate([page.keys.block(0, 500)[head, best[head]]])
                values = page.values.block(0, 500)[head, best[head]]
                w = np.exp(q[head] @ rows.T)
                np.testing.assert_allclose(read.part.out[head], w @ values / w.sum(1, keepdims=True), atol=1e-5)
    assert [n for n, kind in enumerate(kinds) if kind] == [0, 5, 10]


def test_the_dynamic_form_compares_queries_where_it_is_due():
    page, rng = plain(500), np.random.default_rng(2)
    q, other = (rng.normal(size=(2, 2, 8)).astype(np.float32) for _ in range(2))
    selected = RecycledSelection(top_k=40, every=3, below=0.8).over(page.keys, page.values, START, 480)
    kinds = [full(selected.attend(each, nothing(each))) for each in [q] * 7 + [other] * 5]
    assert [n for n, kind in enumerate(kinds) if kind] == [0, 9], "another topic at step 7, seen at 9"


def test_what_changes_the_text_makes_the_next_step_full():
    page = plain(500)
    q = np.ones((2, 2, 8), np.float32)
    selected = RecycledSelection(top_k=40).over(page.keys, page.values, START, 400)
    for change in (selected.anew, lambda: selected.insert(450), lambda: None):
        selected.attend(q, nothing(q))
        assert not full(selected.attend(q, nothing(q)))
        change()
    assert not full(selected.attend(q, nothing(q)))
    selected.insert(480)
    assert full(selected.attend(q, nothing(q)))


@pytest.mark.parametrize(
    "inner",
    [
        {"use": "tokenselect", "top_k": 60},
        {"use": "retrieval", "top_k": 60, "engine": {"use": "flat"}},
        {"use": "retrieval", "top_k": 60, "engine": {"use": "flat"}, "correct": {"use": "lift"}},
        {"use": "retrieval", "top_k": 60, "engine": {"use": "flat"}, "correct": None},
    ],
    ids=str,
)
def test_it_wraps_any_selection_that_names_rows(inner):
    page = layer(2000)
    made = RecycledSelection(of=inner, every=4)
    selected, alone = made.over(page.keys, page.values, START, 1990), made.of.over(page.keys, page.values, START, 1990)
    q = page.asked(3, seed=1)
    first, wanted = selected.attend(q, nothing(q)), alone.attend(q, nothing(q))
    np.testing.assert_array_equal(first.part.out, wanted.part.out)
    again = selected.attend(q, nothing(q))
    np.testing.assert_allclose(again.part.out, first.part.out, atol=2e-3, err_msg="the same query, the same rows")
    assert (again.rows <= first.rows).all()
    state = selected.state()
    restored = made.restore(page.keys, page.values, state, START, 1990)
    np.testing.assert_array_equal(restored.attend(q, nothing(q)).part.out, first.part.out)


def test_what_names_no_rows_cannot_be_recycled():
    for inner in ({"use": "wave"}, {"use": "recycled"}, {"use": "tokenselect", "estimate": True}):
        with pytest.raises(ValidationError, match="names no rows that could be read again"):
            RecycledSelection(of=inner)
    for beside in ({"evict": {"use": "snapkv"}}, {"heads": {"use": "retrieval_heads", "scores": [[1.0]]}}):
        with pytest.raises(ValidationError, match="would have to hold the same"):
            Retrieval(select={"use": "recycled", "layers": 2}, **beside)


def test_the_heaviest_of_many_queries():
    from fovea.attention_retrieval.index.engine import Found

    ids, logits = np.array([[5, 7, -1], [7, 9, 2]], np.int32), np.log(np.float32([[3, 2, 0.1], [2, 1, 0.5]]))
    logits[0, 2] = -np.inf
    found = [Found(ids, logits, 0, 0), Found(ids[:, :1], logits[:, :1], 0, 0)]
    assert heaviest(found, np.zeros((2, 2), np.float32), 3).tolist() == [[5, 7, 9], [5, 7, -1]]


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen2, 7 to 1", "qwen3, hybrid"])
@pytest.mark.parametrize("layers", [1, 2])
def test_where_all_rows_are_kept_it_is_full_attention(name, layers):
    ours, whole, ids = model(name, OURS), model(name, "sdpa"), text(120, batch=2)
    mask = torch.ones(2, 120, dtype=torch.long)
    mask[0, :31] = 0
    select = {"use": "recycled", "every": 3, "layers": layers}
    made = greedy(
        ours, ids, 14, mask, past_key_values=RetrievalCache(ours.config, Retrieval(**SETTINGS, select=select))
    )
    wanted = greedy(whole, ids, 14, mask)
    assert torch.equal(made[0], wanted[0])
    torch.testing.assert_close(made[1], wanted[1], atol=5e-5, rtol=1e-5)


def test_layers_read_what_their_leader_has_read():
    ours, ids = model("llama, 4 to 1", OURS), text(200, batch=2)
    select = {"use": "recycled", "every": 4, "top_k": 30, "layers": 2}
    cache = RetrievalCache(ours.config, Retrieval(**SETTINGS, select=select))
    greedy(ours, ids, 4, past_key_values=cache)
    first, second, third = ([row.cache.selected for row in layer.rows] for layer in cache.layers)
    for n in range(2):
        np.testing.assert_array_equal(first[n].ids, second[n].ids)
        assert not np.array_equal(first[n].ids, third[n].ids)
    assert not np.array_equal(first[0].ids, first[1].ids), "each sequence its own"
    copied = copy.deepcopy(cache)
    assert copied.layers[1].leader is copied.layers[0]
    copied.batch_select_indices(torch.tensor([1]))
    step = torch.tensor([[7]])
    with torch.inference_mode():
        one = ours(step.expand(2, 1), past_key_values=cache).logits[1]
        other = ours(step, past_key_values=copied).logits[0]
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    second = copied.layers[1].rows[0].cache.selected
    assert second.leader() is copied.layers[0].rows[0].cache.selected, "a copy follows its own leader"


def test_an_answer_does_not_depend_on_what_was_asked_before():
    ours, ids = model("llama, 4 to 1", OURS), text(150)
    select = {"use": "recycled", "every": 6, "top_k": 20}
    settings = Retrieval(**{**SETTINGS, "insert_every": 1024}, select=select)
    used, fresh = (RetrievalCache(ours.config, settings) for _ in range(2))
    for cache in (used, fresh):
        greedy(ours, ids, 2, past_key_values=cache)
        cache.crop(150 - cache.get_seq_length())
    greedy(ours, torch.cat([ids, text(6, seed=5)], dim=1), 5, past_key_values=used)
    used.crop(150 - used.get_seq_length())
    question = torch.cat([ids, text(6, seed=1)], dim=1)
    one, other = (greedy(ours, question, 6, past_key_values=cache)[1] for cache in (used, fresh))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("of", [None, {"use": "block_bounds", "top_k": 40, "size": 8}])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_loaded_cache_begins_with_a_full_step_and_answers_as_the_one_that_was_saved(tmp_path, layers, of):
    ours, ids = model("llama, 4 to 1", OURS), text(150)
    select = {"use": "recycled", "every": 6, "top_k": 20, "layers": layers, "of": of}
    saved = RetrievalCache(ours.config, Retrieval(**{**SETTINGS, "insert_every": 1024}, select=select))
    greedy(ours, ids, 3, past_key_values=saved)  # amid a run of steps that read again
    saved.save(tmp_path / "a.kv")
    loaded, went_on = RetrievalCache.load(tmp_path / "a.kv"), copy.deepcopy(saved)
    assert loaded.layers[1].leader is (loaded.layers[0] if layers == 2 else None)
    for row in (row for each in went_on.layers for row in each.rows):
        row.cache.selected.anew()
    step = torch.tensor([[7]])
    for n in range(8):
        with torch.inference_mode():
            one, other = (ours(step + n, past_key_values=cache).logits for cache in (loaded, went_on))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for cache in (loaded, saved):
        cache.crop(150 - cache.get_seq_length())
    question = torch.cat([ids, text(6, seed=1)], dim=1)
    one, other = (greedy(ours, question, 6, past_key_values=cache)[1] for cache in (loaded, saved))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
