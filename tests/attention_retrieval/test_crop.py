"""`crop` takes all layers back or none, also where some have a sliding window."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
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
