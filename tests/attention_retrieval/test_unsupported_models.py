"""Models that `sdpa` does not compute are refused, with and without a RetrievalCache, and the error says that alone."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import transformers as T  # noqa: E402

from fovea.attention_retrieval import RetrievalCache  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import SMALL, text  # noqa: E402

OURS = "fovea_retrieval"
GQA = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
REFUSED = {
    "GptOssForCausalLM": T.GptOssConfig(**SMALL, **GQA, num_local_experts=4, num_experts_per_tok=2, sliding_window=32),
    "Gemma2ForCausalLM": T.Gemma2Config(**SMALL, **GQA),
    "BloomForCausalLM": T.BloomConfig(vocab_size=211, hidden_size=64, n_layer=2, n_head=4),
    "MptForCausalLM": T.MptConfig(vocab_size=211, d_model=64, n_layers=2, n_heads=4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_sdpa_does_not_compute_is_refused(name):
    config = copy.deepcopy(REFUSED[name])
    with pytest.raises(ValueError, match="scaled_dot_product_attention"):
        T.AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="sdpa")
    lm = T.AutoModelForCausalLM.from_config(config, attn_implementation=OURS).eval()
    right = (
        f"transformers does not compute {name} by sdpa, so it cannot attend through fovea_retrieval\n"
        '  fix: attn_implementation="eager"'
    )
    for use in (lambda: lm(text(50)), lambda: RetrievalCache(lm.config)):
        with pytest.raises(ModelError) as error:
            use()
        assert str(error.value) == right


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (T.FalconConfig(vocab_size=211, hidden_size=64, num_hidden_layers=2, num_attention_heads=4),
         "FalconForCausalLM does not take its attention from transformers' interface"),
        (REFUSED["Gemma2ForCausalLM"], "transformers does not compute Gemma2ForCausalLM by sdpa"),
    ],
)  # fmt: skip
def test_loading_says_so_and_nothing_else(config, why, tmp_path):
    T.AutoModelForCausalLM.from_config(copy.deepcopy(config)).save_pretrained(tmp_path)
    with pytest.raises(ModelError) as error:
        load(str(tmp_path), attention=OURS)
    assert str(error.value) == (
        f'{why}, so it cannot attend through fovea_retrieval\n  fix: attn_implementation="eager"'
    )
