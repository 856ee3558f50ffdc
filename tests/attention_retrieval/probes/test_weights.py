"""Weights of chosen rows and heads are eager's, on every family, and threads may look at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fovea.attention_retrieval.probes.through import through  # noqa: E402
from fovea.attention_retrieval.probes.weights import Neutral, Weights, evidence_weights, weights  # noqa: E402
from fovea.rag.causal_lm import CausalLM  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import CONFIGS, model, text  # noqa: E402

GROUPS = [[69], [40, 41, 55], list(range(60, 70))]


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "opt"])
def test_weights_are_eagers(name):
    lm, ids = CausalLM(name, model(name, "sdpa"), None), text(70)
    with torch.inference_mode():
        whole = model(name, "eager")(ids, output_attentions=True).attentions
    heads = whole[0].shape[1]
    expected = np.stack([[[row.numpy() for row in layer[0, h]] for h in range(heads)] for layer in whole])
    means = np.stack([expected[:, :, group].mean(axis=2) for group in GROUPS], axis=2)  # (layers, heads, groups, keys)
    found = weights(lm, ids[0].tolist(), GROUPS)
    np.testing.assert_allclose(found, means.reshape(-1, len(GROUPS), 70), atol=2e-6)
    some = [(2, heads - 1), (0, 0), (2, 0)]
    np.testing.assert_array_equal(
        weights(lm, ids[0].tolist(), GROUPS, some), found[[layer * heads + head for layer, head in some]]
    )
    assert lm.model.config._attn_implementation == "sdpa"


def test_rows_behind_a_cache_are_found_by_their_place():
    from transformers import DynamicCache

    lm, ids = model("qwen3", "sdpa"), text(50)
    cache, seen = DynamicCache(config=lm.config), Weights([[45], [48, 49]], start=40)
    with torch.inference_mode():
        lm(ids[:, :40], past_key_values=cache)
        with through(lm, seen):
            lm(ids[:, 40:], past_key_values=cache)
    whole = weights(CausalLM("", lm, None), ids[0].tolist(), [[45], [48, 49]])
    np.testing.assert_allclose(np.concatenate([seen.at[n] for n in range(3)]), whole, atol=2e-6)


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen3, hybrid", "mistral, all sliding"])
def test_what_is_looked_at_beyond_a_question_of_nothing(name):
    lm, ids = CausalLM(name, model(name, "sdpa"), None), text(60)[0].tolist()
    neutral, rows = Neutral(50, [7, 8, 9, *ids[56:]], [[50, 51, 52], [56]]), [[50, 54], [59]]
    whole, drawn = weights(lm, ids, rows), weights(lm, ids[:50] + list(neutral.ids), neutral.rows)
    expected = np.maximum(whole[:, :, :50] - drawn[:, :, :50], 0)
    np.testing.assert_allclose(evidence_weights(lm, ids, rows, neutral), expected, atol=2e-6)
    some = [(2, 1), (0, 0)]
    heads = lm.model.config.num_attention_heads
    np.testing.assert_allclose(evidence_weights(lm, ids, rows, neutral, some), expected[[2 * heads + 1, 0]], atol=2e-6)


def test_a_model_that_is_more_than_a_softmax_is_refused():
    from transformers import AutoModelForCausalLM, Gemma2Config

    small = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    config = Gemma2Config(**small, num_attention_heads=2, num_key_value_heads=1)
    lm = CausalLM("gemma2", AutoModelForCausalLM.from_config(config, attn_implementation="eager"), None)
    with pytest.raises(ModelError, match="softcap"):
        weights(lm, [3, 4, 5], [[2]])
    assert lm.model.config._attn_implementation == "eager"


def test_two_threads_look_at_one_model_and_it_is_put_back():
    lm, both = CausalLM("", model("qwen3", "sdpa"), None), Barrier(2)
    texts = [text(40, seed=n)[0].tolist() for n in (1, 2)]
    alone = [weights(lm, ids, [[39]]) for ids in texts]

    def look(n: int) -> np.ndarray:
        with through(lm.model, Weights([[39]])):
            both.wait(10)
        return weights(lm, texts[n], [[39]])

    with ThreadPoolExecutor(2) as pool:
        for found, expected in zip(pool.map(look, range(2)), alone):
            np.testing.assert_array_equal(found, expected)
    assert lm.model.config._attn_implementation == "sdpa"
