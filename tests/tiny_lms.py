"""Tiny causal language models with random weights, one of each family, and how a test reads and asks them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)

SMALL: dict[str, Any] = {
    "vocab_size": 211, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "max_position_embeddings": 4096,
    "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None,
}  # fmt: skip
CONFIGS = {
    "llama, 4 to 1": LlamaConfig(**SMALL, num_attention_heads=8, num_key_value_heads=2, head_dim=16),
    "llama, own scaling": LlamaConfig(**SMALL, num_attention_heads=4, num_key_value_heads=4, head_dim=8),
    "qwen2, 7 to 1": Qwen2Config(**SMALL, num_attention_heads=7, num_key_value_heads=1, head_dim=8),
    "qwen3": Qwen3Config(**SMALL, num_attention_heads=4, num_key_value_heads=2, head_dim=32),
    "gemma": GemmaConfig(**SMALL, num_attention_heads=4, num_key_value_heads=1, head_dim=16),
    "mistral, all sliding": MistralConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2, sliding_window=32),
    "gpt2": GPT2Config(**SMALL, num_attention_heads=4),
    "opt": OPTConfig(**SMALL, num_attention_heads=4, ffn_dim=96, word_embed_proj_dim=64),
    "gpt-neox": GPTNeoXConfig(**SMALL, num_attention_heads=4),
}


def hybrid() -> Any:
    """A model with two sliding-window layers and one of full attention."""
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 32}
    return Qwen3Config(**SMALL, **sizes, use_sliding_window=True, layer_types=types)


CONFIGS["qwen3, hybrid"] = hybrid()


def model(name: str, implementation: str, seed: int = 0) -> Any:
    """The model of CONFIGS[name], in eval mode; the same weights whatever the implementation."""
    torch.manual_seed(seed)
    config = copy.deepcopy(CONFIGS[name])
    return AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()


def text(tokens: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Token ids (batch, tokens), none of them a special one."""
    return torch.randint(2, 211, (batch, tokens), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def greedy(lm: Any, ids: torch.Tensor, tokens: int = 12, mask: torch.Tensor | None = None, **settings: Any) -> Any:
    """What `generate` makes, with the logits of every step as (steps, batch, vocabulary)."""
    mask = torch.ones_like(ids) if mask is None else mask
    made = lm.generate(
        ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0,
        output_logits=True, return_dict_in_generate=True, **settings,
    )  # fmt: skip
    return made.sequences, torch.stack(made.logits)
