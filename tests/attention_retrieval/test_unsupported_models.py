"""Models that `sdpa` does not compute are refused, with and without a RetrievalCache, and the error says that alone."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import transformers as T  # noqa: E402

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.rag.causal_lm import cache_argument, load  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import SMALL, model, text  # noqa: E402

OURS = "fovea_retrieval"
GQA = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
NO_SDPA = "transformers does not compute {} by sdpa"
NO_INTERFACE = "{} does not take its attention from transformers' interface"
REFUSED = {
    "GptOssForCausalLM": (
        T.GptOssConfig(**SMALL, **GQA, num_local_experts=4, num_experts_per_tok=2, sliding_window=32), NO_SDPA),
    "Gemma2ForCausalLM": (T.Gemma2Config(**SMALL, **GQA), NO_SDPA),
    "BloomForCausalLM": (T.BloomConfig(vocab_size=211, hidden_size=64, n_layer=2, n_head=4), NO_SDPA),
    "MptForCausalLM": (T.MptConfig(vocab_size=211, d_model=64, n_layers=2, n_heads=4), NO_SDPA),
    "FalconForCausalLM": (
        T.FalconConfig(vocab_size=211, hidden_size=64, num_hidden_layers=2, num_attention_heads=4), NO_INTERFACE),
    "GPTNeoForCausalLM": (
        T.GPTNeoConfig(vocab_size=211, hidden_size=64, num_layers=2, num_heads=4,
                       attention_types=[[["global", "local"], 1]]), NO_INTERFACE),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_attend_through_sdpa_is_refused_when_it_is_made(name, tmp_path):
    config, why = REFUSED[name]
    right = f'{why.format(name)}, so it cannot attend through fovea_retrieval\n  fix: attn_implementation="eager"'
    plain = T.AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager")
    plain.save_pretrained(tmp_path)
    for make in (
        lambda: T.AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=OURS),
        lambda: T.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=OURS),
        lambda: T.AutoModel.from_pretrained(tmp_path, attn_implementation=OURS),
        lambda: type(plain)(T.AutoConfig.from_pretrained(tmp_path, attn_implementation=OURS)),
    ):
        with pytest.raises(ModelError) as error:
            make()
        assert str(error.value) in (right, right.replace(name, name.replace("ForCausalLM", "Model")))


def test_a_config_that_was_changed_afterwards_is_refused_where_it_is_used():
    lm = T.AutoModelForCausalLM.from_config(copy.deepcopy(REFUSED["Gemma2ForCausalLM"][0]), attn_implementation="eager")
    lm.config._attn_implementation = OURS
    for use in (lambda: lm(text(50)), lambda: RetrievalCache(lm.config)):
        with pytest.raises(ModelError, match="does not compute Gemma2ForCausalLM by sdpa"):
            use()


SERVED = {
    "cohere": T.CohereConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2),
    "granite": T.GraniteConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2, attention_multiplier=0.3),
    "mixtral": T.MixtralConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2, num_local_experts=2),
    "olmo2": T.Olmo2Config(**SMALL, num_attention_heads=4, num_key_value_heads=2),
    "phi": T.PhiConfig(**SMALL, num_attention_heads=4),
    "gptj": T.GPTJConfig(vocab_size=211, n_embd=64, n_layer=2, n_head=4, rotary_dim=8, bos_token_id=1, eos_token_id=2),
    "stablelm": T.StableLmConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2),
    "gemma3": T.Gemma3TextConfig(**SMALL, **GQA, sliding_window=16),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVED)
def test_what_attends_through_sdpa_is_served(name):
    def made(implementation):
        torch.manual_seed(0)
        return T.AutoModelForCausalLM.from_config(
            copy.deepcopy(SERVED[name]), attn_implementation=implementation
        ).eval()

    ours, full = made(OURS), made("sdpa")
    settings = {"sinks": 4, "window": 8, "top_k": 5000, "dense_below": 5000, "dtype": "fp32"}
    cache, other = RetrievalCache(ours.config, Retrieval(**settings)), T.DynamicCache(config=full.config)
    with torch.inference_mode():
        for piece in (text(40), text(1, seed=1), text(5, seed=2)):
            one, two = (lm(piece, **cache_argument(lm, c)).logits for lm, c in ((ours, cache), (full, other)))
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours(text(30)).logits, full(text(30)).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (T.BertConfig(**SMALL, num_attention_heads=4), "serves causal attention: BertSelfAttention looks ahead"),
        (T.DiffLlamaConfig(**SMALL, **GQA), "does not attend with the values that it gave the cache"),
        (T.DogeConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2), "this mask is another"),
    ],
)
def test_what_a_retrieval_cache_cannot_hold_is_refused_and_right_without_one(config, why):
    def made(implementation):
        torch.manual_seed(0)
        return T.AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=implementation).eval()

    ours, ids = made(OURS), text(30)
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, made("sdpa")(ids).logits, atol=1e-4, rtol=1e-4)
        with pytest.raises(ModelError, match=why):
            ours(ids, use_cache=True, **cache_argument(ours, RetrievalCache(ours.config)))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (T.FalconConfig(vocab_size=211, hidden_size=64, num_hidden_layers=2, num_attention_heads=4),
         "FalconForCausalLM does not take its attention from transformers' interface"),
        (REFUSED["Gemma2ForCausalLM"][0], "transformers does not compute Gemma2ForCausalLM by sdpa"),
    ],
)  # fmt: skip
def test_loading_says_so_and_nothing_else(config, why, tmp_path):
    T.AutoModelForCausalLM.from_config(copy.deepcopy(config)).save_pretrained(tmp_path)
    with pytest.raises(ModelError) as error:
        load(str(tmp_path), attention=OURS)
    assert str(error.value) == (
        f'{why}, so it cannot attend through fovea_retrieval\n  fix: attn_implementation="eager"'
    )


MOMENTS = {
    "prefill": {"use": "sale", "tau": 0.01},
    "evict": {"use": "snapkv", "keep": 20, "window": 4},
    "heads": {"use": "duo", "scores": [[0.9, 0.1]] * 3, "window": 8},
    "select": {"use": "tokenselect"},
    "correct": {"use": "act", "heads": [[1, 2]]},
}
"""A policy of each kind, by what names it."""
MLA = T.DeepseekV3Config(
    **SMALL, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8,
    qk_nope_head_dim=16, v_head_dim=12, n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1,
    moe_intermediate_size=16, first_k_dense_replace=1,
)  # fmt: skip
UNFIT = {
    "latents": (MLA, r"deepseek_v3 has latent attention \(MLA\)"),
    "softcap": (REFUSED["Gemma2ForCausalLM"][0], "does not compute Gemma2ForCausalLM by sdpa"),
    "sinks of its own": (REFUSED["GptOssForCausalLM"][0], "does not compute GptOssForCausalLM by sdpa"),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", UNFIT)
def test_every_kind_of_policy_is_refused_by_name_when_it_is_attached(name, moment):
    config, why = copy.deepcopy(UNFIT[name][0]), UNFIT[name][1]
    config._attn_implementation = OURS
    with pytest.raises(ModelError, match=why):
        RetrievalCache(config, Retrieval(**{moment: MOMENTS[moment]}))


@pytest.mark.parametrize("moment", MOMENTS)
def test_layers_with_a_sliding_window_are_left_as_they_are(moment):
    """Only the layer between them has a policy, so the first one's keys are those of the model alone."""
    ours, full = model("qwen3, hybrid", OURS), model("qwen3, hybrid", "sdpa")
    settings = {"sinks": 4, "window": 8, "dense_below": 16, "dtype": "fp32", moment: MOMENTS[moment]}
    cache, other = RetrievalCache(ours.config, Retrieval(**settings)), T.DynamicCache(config=full.config)
    with torch.inference_mode():
        for piece in (text(90), text(1, seed=1), text(1, seed=2)):
            for lm, each in ((ours, cache), (full, other)):
                lm(piece, **cache_argument(lm, each))
    assert [type(layer).__name__ for layer in cache.layers[::2]] == [
        type(layer).__name__ for layer in other.layers[::2]
    ]
    torch.testing.assert_close(cache.layers[0].keys, other.layers[0].keys, atol=1e-5, rtol=1e-5)
    assert cache.layers[1].rows[0].cache.tokens == 92
