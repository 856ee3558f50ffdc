"""Selections that name rows, on a model: full attention where all is read, an answer found where little is."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.selection.reading import RowsSelected  # noqa: E402
from fovea.attention_retrieval.testing.induction import induction_model, lookup  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS, NAMES = "fovea_retrieval", ("block_bounds", "bilevel", "hip", "routing")
SETTINGS = {"sinks": 4, "window": 16, "dense_below": 0, "dtype": "fp32", "insert_every": 8}


def cache(lm, name: str, top_k: int = 10_000, **settings: object) -> RetrievalCache:
    select = {"use": name, "top_k": top_k, **settings.pop("select", {})}
    return RetrievalCache(lm.config, Retrieval(**{**SETTINGS, "select": select, **settings}))


@pytest.fixture(scope="module")
def books():
    lm = induction_model()
    lm.set_attn_implementation(OURS)
    return lm


@pytest.mark.parametrize(("name", "heads"), [*((name, "llama, 4 to 1") for name in NAMES), ("hip", "qwen2, 7 to 1")])
def test_all_rows_read_is_full_attention_whole_or_in_pieces_padded_or_not(name, heads):
    ours, full, ids = model(heads, OURS), model(heads, "sdpa"), text(90)
    expected = greedy(full, ids, 7)
    kept = cache(ours, name)
    with torch.inference_mode():
        ours(ids[:, :40], past_key_values=kept)
    for made in (greedy(ours, ids, 7, past_key_values=cache(ours, name)), greedy(ours, ids, 7, past_key_values=kept)):
        assert torch.equal(made[0], expected[0])
        torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)
    batch, mask = text(60, batch=2), torch.ones(2, 60, dtype=torch.long)
    mask[0, :31] = 0
    torch.testing.assert_close(
        greedy(ours, batch, 7, mask=mask, past_key_values=cache(ours, name))[1],
        greedy(full, batch, 7, mask=mask)[1],
        atol=5e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", ["block_bounds", "routing"])
def test_a_line_of_a_long_page_is_found(books, name):
    """A tenth of the rows is read, by 4 queries a head: each of them must find the line. Not by mean keys, as of
    `bilevel`, nor by a descent: lines of a page have nothing to do with each other."""
    page = lookup(1000, depth=0.3, seed=2)
    made = cache(books, name, 96)
    sequences, _ = greedy(books, torch.tensor([page.ids]), 2, past_key_values=made)
    assert int(sequences[0, len(page.ids)]) == page.answer
    row = made.layers[1].rows[0].cache
    assert isinstance(row.selected, RowsSelected)


@pytest.mark.parametrize(
    ("name", "estimate"), [("block_bounds", False), ("bilevel", True), ("hip", True), ("routing", True)]
)
def test_a_loaded_cache_and_a_copy_answer_alike(tmp_path, name, estimate):
    ours, ids = model("llama, 4 to 1", OURS), text(150)
    made = cache(ours, name, 64, select={"estimate": estimate})
    greedy(ours, ids, 3, past_key_values=made)
    made.save(tmp_path / "text.kv")
    loaded, copied = RetrievalCache.load(tmp_path / "text.kv"), copy.deepcopy(made)
    assert loaded.settings == made.settings
    longer = torch.cat([ids, text(12, seed=1)], dim=1)
    for each in (made, loaded, copied):
        each.crop(150 - each.get_seq_length())
    one, *others = (greedy(ours, longer, 8, past_key_values=each)[1] for each in (made, loaded, copied))
    for other in others:
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("evict", [None, {"use": "snapkv", "keep": 60, "window": 8}])
def test_what_stands_by_queries_has_those_of_the_prompt(evict):
    """Each at its own row, or, of rows of which some were dropped, at the last before it."""
    ours = model("llama, 4 to 1", OURS)
    made = cache(ours, "block_bounds", 32, select={"size": 4, "represent": "queries"}, evict=evict)
    greedy(ours, text(90), 2, past_key_values=made)
    row = made.layers[0].rows[0].cache
    for head in range(2):
        rows, asked = row.asked_at(head), row.queries(head)
        assert (len(rows), len(asked)) == (90, 90 * 4)
        kept = np.arange(90) if evict is None else row.evicted.positions(head, 90)
        assert len(kept) == (90 if evict is None else 60)
        assert (rows[kept] == np.arange(len(kept))).all()
        assert (np.diff(rows) >= 0).all()
    plain = cache(ours, "block_bounds", 32, select={"size": 4, "represent": "mean"}, evict=evict)
    greedy(ours, text(90), 2, past_key_values=plain)
    assert plain.layers[0].rows[0].cache.queries(0) is None
    keys, means = (each.layers[0].rows[0].cache.selected.blocks.parts["keys"] for each in (made, plain))
    assert keys.shape == means.shape
    assert not np.allclose(keys, means)


def test_watched_attention_is_that_to_the_rows_that_were_read():
    ours = model("llama, 4 to 1", OURS)
    made = cache(ours, "block_bounds", 32, watch=True, select={"size": 4})
    greedy(ours, text(120), 21, past_key_values=made)
    np.testing.assert_allclose(made.attention().sum(axis=1), 1, atol=1e-5)
    assert (made.attention() == 0).any(), "some rows were never read"
