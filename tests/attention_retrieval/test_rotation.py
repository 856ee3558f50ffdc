"""Keys read at one position are the keys of another: against the model's own reading."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    DeepseekV3Config,
    FalconConfig,
    GlmConfig,
    LlamaConfig,
    PhiConfig,
    SmolLM3Config,
)

from fovea.attention_retrieval.rotation import Rotation  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import SMALL, model, text  # noqa: E402

HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
INTERLEAVED = {
    "cohere": CohereConfig(**SMALL, **HEADS),
    "glm, half of the numbers": GlmConfig(**SMALL, **HEADS, head_dim=16, partial_rotary_factor=0.5),
}
SCALED = {
    f"llama, {kind['rope_type']}": LlamaConfig(**SMALL, **HEADS, rope_scaling={"rope_theta": 10000.0, **kind})
    for kind in (
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
        {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 1024,
        },
    )
}  # fmt: skip
PARTLY = {
    "phi": PhiConfig(**SMALL, **HEADS),
    "falcon": FalconConfig(**{n: SMALL[n] for n in ("vocab_size", "hidden_size", "num_hidden_layers")}, **HEADS),
}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16}
ODD = {
    "some layers do not turn": (SmolLM3Config(**SMALL, **HEADS, no_rope_layer_interval=3), r"not of 2\)"),
    "full layers do not turn": (Cohere2Config(**SMALL, **HEADS, sliding_window_pattern=3), r"not of 2\)"),
    "the last numbers turn": (
        DeepseekV3Config(**SMALL, num_attention_heads=4, num_key_value_heads=4, **LATENT, first_k_dense_replace=3),
        "in a way of its own",
    ),
}
TURNING = ["llama, 4 to 1", "qwen2, 7 to 1", "qwen3", "gemma", "gpt-neox"]


def keys_of(lm, ids, start: int) -> list[np.ndarray]:
    """The keys of every layer, of a text whose first token stands at `start`."""
    places = torch.arange(start, start + ids.shape[1])[None]
    with torch.inference_mode():
        cache = lm(ids, position_ids=places, use_cache=True).past_key_values
    return [layer.keys[0].float().numpy() for layer in cache.layers]


def made(name: str):
    if name in TURNING:
        return model(name, "sdpa")
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        {**INTERLEAVED, **SCALED, **PARTLY}[name], attn_implementation="sdpa"
    ).eval()


@pytest.mark.parametrize("name", [*TURNING, *INTERLEAVED, *SCALED, *PARTLY])
def test_moved_keys_are_those_of_the_text_read_elsewhere(name):
    lm, ids = made(name), text(40)
    rotation = Rotation.of(lm)
    assert rotation.interleaved == (name in INTERLEAVED)
    for here, there in zip(keys_of(lm, ids, 7), keys_of(lm, ids, 2000)):
        np.testing.assert_allclose(rotation.moved(here, np.full(40, 1993)), there, atol=2e-3)
        np.testing.assert_allclose(rotation.moved(rotation.moved(here, np.arange(40)), -np.arange(40)), here, atol=1e-5)


def test_each_token_may_move_by_its_own():
    rotation, rng = Rotation(np.array([1.0, 0.1, 0.01]), False), np.random.default_rng(0)
    keys = rng.normal(size=(2, 5, 8)).astype(np.float32)
    by = np.array([0, 3, -4, 100, 7])
    together = rotation.moved(keys, by)
    for n in range(5):
        np.testing.assert_allclose(together[:, n : n + 1], rotation.moved(keys[:, n : n + 1], by[n : n + 1]), atol=1e-6)
    np.testing.assert_array_equal(together[..., 6:], keys[..., 6:], "what does not turn stays")
    np.testing.assert_array_equal(together[:, 0], keys[:, 0])


def test_scores_depend_on_distance_alone():
    rotation, rng = Rotation(1 / 10000 ** (np.arange(4) / 4), True), np.random.default_rng(1)
    q, k = rng.normal(size=(2, 1, 1, 8)).astype(np.float32)
    near = rotation.moved(q, np.array([12])) @ rotation.moved(k, np.array([5])).transpose(0, 2, 1)
    far = rotation.moved(q, np.array([5007])) @ rotation.moved(k, np.array([5000])).transpose(0, 2, 1)
    np.testing.assert_allclose(near, far, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_models_without_rotary_positions_are_refused(name):
    with pytest.raises(ModelError, match="has no rotary positions"):
        Rotation.of(model(name, "sdpa"))


def test_frequencies_that_change_with_the_text_are_refused():
    config = LlamaConfig(**SMALL, **HEADS, rope_scaling={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0})
    with pytest.raises(ModelError, match="depend on the text's length"):
        Rotation.of(AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize("name", ODD)
def test_models_whose_layers_turn_otherwise_are_refused(name):
    config, what = ODD[name]
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=what):
        Rotation.of(AutoModelForCausalLM.from_config(config).eval())
