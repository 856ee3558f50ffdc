"""StreamingLLM against full attention behind a mask."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from transformers import DynamicCache  # noqa: E402

from fovea.attention_retrieval import RetrievalCache  # noqa: E402
from fovea.attention_retrieval.attention import Attention  # noqa: E402
from fovea.attention_retrieval.selection.streaming import Streaming  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

SETTINGS = {"sinks": 3, "window": 20, "dtype": "fp32"}


@torch.inference_mode()
def masked(lm, ids, prompt):
    """Logits behind each token from `prompt` on, which sees the first 3 and the last 20 tokens, itself included."""
    cache, out = DynamicCache(config=lm.config), []
    lm(ids[:, :prompt], past_key_values=cache)
    for n in range(prompt, ids.shape[1]):
        seen = torch.zeros(1, 1, 1, n + 1, dtype=torch.bool)
        seen[..., :3] = seen[..., n + 1 - 20 :] = True
        out.append(lm(ids[:, n : n + 1], past_key_values=cache, attention_mask=seen).logits[0, -1])
    return torch.stack(out)


@torch.inference_mode()
def streamed(lm, ids, prompt, cache):
    """The same by a cache."""
    lm(ids[:, :prompt], past_key_values=cache)
    steps = range(prompt, ids.shape[1])
    return torch.stack([lm(ids[:, n : n + 1], past_key_values=cache).logits[0, -1] for n in steps])


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen3"])
def test_sinks_and_window_are_what_a_decoded_token_sees(name):
    ours, full, ids = model(name, "fovea_retrieval"), model(name, "sdpa"), text(120)
    made = streamed(ours, ids, 90, Streaming(**SETTINGS).cache(ours.config))
    torch.testing.assert_close(made, masked(full, ids, 90), atol=3e-5, rtol=1e-5)


def test_what_left_the_window_is_not_read_and_what_fits_is_all_read():
    ours, ids = model("llama, 4 to 1", "fovea_retrieval"), text(120)
    narrow, wide = Streaming(**SETTINGS), Streaming(sinks=3, window=500, dtype="fp32")
    whole = greedy(model("llama, 4 to 1", "sdpa"), ids)
    torch.testing.assert_close(greedy(ours, ids, past_key_values=wide.cache(ours.config))[1], whole[1])
    assert (greedy(ours, ids, past_key_values=narrow.cache(ours.config))[1] - whole[1]).abs().max() > 0.1


def test_it_is_saved_and_reported(tmp_path):
    ours, ids = model("llama, 4 to 1", "fovea_retrieval"), text(120)
    cache = Streaming(**SETTINGS).cache(ours.config)
    before = streamed(ours, ids[:, :110], 90, cache)
    cache.save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    with torch.inference_mode():
        one, other = (ours(ids[:, 110:111], past_key_values=each).logits for each in (cache, loaded))
    assert torch.equal(one, other)
    assert before.isfinite().all()
    assert all(head.engine == "none" and head.searches == 0 for head in cache.report())
    assert "only sinks and window are read" in str(cache.report())


def test_settings_from_yaml():
    made = Attention.model_validate({"use": "streaming", "window": 7})
    assert isinstance(made, Streaming)
    assert (made.sinks, made.window, made.summary(None)) == (4, 7, "4 sinks and a window of 7 tokens")
    assert made.implementation() == "fovea_retrieval"
