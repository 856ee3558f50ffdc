"""`crop` takes all layers back or none, also where some have a sliding window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache.queries import QuerySample  # noqa: E402
from fovea.rag.causal_lm import cache_argument  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

EXACT = {"sinks": 4, "window": 16, "top_k": 5000, "dense_below": 0, "dtype": "fp32", "insert_every": 8}
HYBRIDS = {
    "sliding first": ["sliding_attention", "full_attention", "sliding_attention"],
    "full first": ["full_attention", "sliding_attention", "full_attention"],
}


def hybrid(kinds: str, implementation: str):
    lm = model("qwen3, hybrid", implementation)
    config = lm.config
    config.layer_types = HYBRIDS[kinds]
    torch.manual_seed(0)
    return type(lm)._from_config(config, attn_implementation=implementation).eval()


@torch.inference_mode()
def read(lm, tokens: int, record: bool = False) -> RetrievalCache:
    cache = RetrievalCache(lm.config, Retrieval(**EXACT))
    if record:
        cache.activate_past_recording()
    lm(text(tokens), **cache_argument(lm, cache))
    return cache


def lengths(cache) -> list[int]:
    return [layer.get_seq_length() for layer in cache.layers]


@pytest.mark.parametrize("kinds", HYBRIDS)
def test_a_window_that_has_moved_on_keeps_every_layer_as_it_was(kinds):
    cache = read(hybrid(kinds, "fovea_retrieval"), 100)
    with pytest.raises(ModelError) as error:
        cache.crop(-10)
    n = HYBRIDS[kinds].index("sliding_attention")
    assert str(error.value) == (
        f"layer {n}, a DynamicSlidingWindowLayer, does not keep what it held 10 tokens ago, so no layer was cropped\n"
        "  fix: read the text anew, with cache.activate_past_recording() before"
    )
    assert lengths(cache) == [100] * 3
    cache.crop(0)
    assert lengths(cache) == [100] * 3


@pytest.mark.parametrize("kinds", HYBRIDS)
@pytest.mark.parametrize("saved", [False, True])
def test_a_recorded_past_is_cropped_and_asked_again(kinds, saved, tmp_path):
    ours, full = hybrid(kinds, "fovea_retrieval"), hybrid(kinds, "sdpa")
    cache = read(ours, 100, record=True)
    for question in (1, 2):
        ids = torch.cat([text(100), text(9, seed=question)], dim=1)
        made, expected = greedy(ours, ids, 12, **cache_argument(ours, cache)), greedy(full, ids, 12)
        assert torch.equal(made[0], expected[0])
        torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)
        if saved:
            cache.save(tmp_path / "text.kv")
            cache = RetrievalCache.load(tmp_path / "text.kv")
        cache.crop(100 - cache.get_seq_length())
        assert lengths(cache) == [100] * 3
    with pytest.raises(ModelError, match="does not keep what it held 5 tokens ago"):
        cache.crop(-5)  # the past was given back by the crop before


def test_a_window_that_is_not_full_is_cropped():
    ours, full = hybrid("full first", "fovea_retrieval"), hybrid("full first", "sdpa")
    cache = read(ours, 20)
    cache.crop(-8)
    ids = torch.cat([text(20)[:, :12], text(30, seed=1)], dim=1)
    made, expected = greedy(ours, ids, 12, **cache_argument(ours, cache)), greedy(full, ids, 12)
    torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen3, hybrid", "mistral, all sliding"])
def test_a_positive_number_is_refused(name):
    cache = read(model(name, "fovea_retrieval"), 20)
    with pytest.raises(ModelError, match=r"crop\(5\): give the number of tokens to remove as a negative one"):
        cache.crop(5)
    assert lengths(cache) == [20] * 3


def test_more_than_all_is_all():
    cache = read(model("llama, 4 to 1", "fovea_retrieval"), 20)
    cache.crop(-50)
    assert lengths(cache) == [0] * 3
    RetrievalCache(model("qwen3, hybrid", "fovea_retrieval").config).crop(0)


@pytest.mark.parametrize("record", [False, True])
def test_a_step_interrupted_behind_a_sliding_layer_is_noticed(record, monkeypatch):
    ours, full = hybrid("sliding first", "fovea_retrieval"), hybrid("sliding first", "sdpa")
    cache, more = read(ours, 100, record), text(3, seed=1)
    monkeypatch.setattr("fovea.attention_retrieval.cache.device.DecodingRow.attend", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError), torch.inference_mode():
        ours(more, **cache_argument(ours, cache))
    monkeypatch.undo()
    fix = r"cache.crop\(0\)" if record else "read the text anew, with cache.activate_past_recording"
    with pytest.raises(ModelError, match=f"interrupted between two layers(.|\n)*{fix}"), torch.inference_mode():
        ours(more, **cache_argument(ours, cache))
    if record:
        cache.crop(0)
        with torch.inference_mode():
            made = ours(more, **cache_argument(ours, cache)).logits
            expected = full(torch.cat([text(100), more], dim=1)).logits[:, 100:]
        torch.testing.assert_close(made, expected, atol=3e-5, rtol=1e-5)


def sampled(cache) -> list[np.ndarray]:
    return [row.cache.sample for layer in cache.layers for row in layer.rows]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_crop_takes_the_queries_of_cropped_tokens_back(indexed):
    """A text asked twice learns from the text and the second question, as one that was asked that alone."""
    ours = model("llama, 4 to 1", "fovea_retrieval")
    cache, once = (RetrievalCache(ours.config, Retrieval(**EXACT, queries=200)) for _ in range(2))
    with torch.inference_mode():
        for question in (text(9, seed=1), text(12, seed=2)):
            cache.crop(min(100 - cache.get_seq_length(), 0))
            ours(
                question if cache.get_seq_length() else torch.cat([text(100), question], dim=1),
                **cache_argument(ours, cache),
            )
            if indexed:
                ours(text(1), **cache_argument(ours, cache))
        ours(torch.cat([text(100), text(12, seed=2)], dim=1), **cache_argument(ours, once))
    for made, expected in zip(sampled(cache), sampled(once)):
        assert np.array_equal(made.positions, np.unique(made.positions)), "no position twice"
        late = expected.positions >= 100
        assert np.array_equal(made.positions[made.positions >= 100], expected.positions[late])
        mine = made.queries[:, made.positions >= 100]
        np.testing.assert_allclose(mine, expected.queries[:, late], atol=1e-4)


def test_a_read_that_fails_leaves_no_query(monkeypatch):
    ours = model("llama, 4 to 1", "fovea_retrieval")
    cache = read(ours, 50)
    before = [sample.positions.tolist() for sample in sampled(cache)]
    monkeypatch.setattr("fovea.attention_retrieval.cache.device.DecodingRow._read", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError), torch.inference_mode():
        ours(text(20, seed=1), **cache_argument(ours, cache))
    assert [sample.positions.tolist() for sample in sampled(cache)] == before


PLACES = st.integers(0, 60)
STEPS = st.tuples(st.just("add"), st.integers(1, 60)) | st.tuples(st.sampled_from(["crop", "hide"]), PLACES)


@given(st.integers(4, 40), st.lists(STEPS, max_size=8))
def test_a_sample_holds_each_position_of_the_text_at_most_once(size, steps):
    """Each query is its token's own number; what is taken back is gone and what is hidden lets the rest close up."""
    sample, tokens, named = QuerySample(size), [], 0
    for kind, at in steps:
        if kind == "add":
            new = list(range(named, named + at))
            sample.add(np.array(new, np.float32).reshape(1, -1, 1), len(tokens))
            tokens, named = tokens + new, named + at
            assert len(sample.positions) <= size + 2 + sample.last, "about the size"
        else:
            kept = np.ones(len(tokens), bool)
            kept[at:] = kind == "hide"
            if kind == "hide":
                kept[at : at + 5] = False
            sample.keep(kept)
            tokens = [token for token, mine in zip(tokens, kept) if mine]
        positions = sample.positions.tolist()
        assert positions == sorted(set(positions))
        assert all(place < len(tokens) for place in positions)
        if sample.queries is not None:
            assert sample.queries[0, :, 0].tolist() == [tokens[place] for place in positions]
