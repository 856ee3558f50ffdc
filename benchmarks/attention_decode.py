"""Seconds a token and memory of decoding over a long context, with a RetrievalCache and with full attention.

    python benchmarks/attention_decode.py --shape small --context 32768
    python benchmarks/attention_decode.py --shape 8b --context 131072 --device cuda --peers none    # on a GPU

The model has the shape of a known one and random weights; its cache is filled with vectors drawn in topics around a
shared mean, as heads have them, instead of being read: what is measured is time and memory, not what is found. The ways
take turns, token by token, so that a busy machine slows all of them alike. `full` keeps a DynamicCache, which copies
itself at each token, and attends by SDPA. Recall on a model's own vectors: `fovea bench attention`.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import yaml
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from fovea import Retrieval, RetrievalCache
from fovea.attention_retrieval.index.engine import Engine
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.causal_lm import cache_argument

SHAPES = {
    "tiny": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
             "num_key_value_heads": 2, "head_dim": 32},
    "small": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 4, "num_attention_heads": 16,
              "num_key_value_heads": 4, "head_dim": 128},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 128},
}  # fmt: skip
VOCABULARY = 32_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--context", type=int, default=32_768, metavar="TOKENS")
    parser.add_argument("--engines", nargs="+", default=["auto"], help="names, or {use: NAME, setting: value}")
    parser.add_argument("--peers", choices=["full", "none"], default="full")
    parser.add_argument("--tokens", type=int, default=20, help="decoded by each way, after two that are not counted")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(show(rows(args), as_json=args.json))


def rows(args: argparse.Namespace) -> list[Row]:
    """Fill, decode in turns, and report."""
    model = made(args.shape, args.device)
    ways: dict[str, Any] = {}
    data = f"{args.shape}, {args.context:,} tokens, {args.device}, {args.threads} threads"
    found: list[Row] = []
    for name in args.engines:
        engine = name if name == "auto" else Engine.model_validate(yaml.safe_load(name))
        began = time.perf_counter()
        cache = RetrievalCache(model.config, Retrieval(engine=engine, threads=args.threads, reuse=True))
        fill(cache, model, args.context)
        for row in (layer.rows[0].cache for layer in cache.layers):
            row.advance()
        found.append(Row("decode", data, f"retrieval, {name}", "build s", time.perf_counter() - began))
        ways[f"retrieval, {name}"] = cache
    if args.peers == "full":
        ways["full"] = whole(model, args.context)
    device = torch.cuda.max_memory_allocated() / 2**30 if args.device.startswith("cuda") else None
    times = decoded(model, ways, args.tokens)
    for name, seconds in times.items():
        values = {"s/token": float(np.median(seconds)), "p95": float(np.quantile(seconds, 0.95))}
        if "full" in times:
            values["times faster than full"] = float(np.median(times["full"]) / np.median(seconds))
        found += [Row("decode", data, name, metric, value, n=len(seconds)) for metric, value in values.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found.append(Row("decode", data, "process", "peak GiB", peak))
    if device is not None:
        found.append(Row("decode", data, "device", "peak GiB", device))
    return found


def made(shape: str, device: str) -> LlamaForCausalLM:
    """A Llama of this shape with random weights, in bf16."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=2**21, rope_theta=1e6, **SHAPES[shape])
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = LlamaForCausalLM._from_config(config, attn_implementation="fovea_retrieval")
        finally:
            torch.set_default_dtype(torch.float32)
    return model.eval()


def vectors(heads: int, tokens: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Float32 (heads, tokens, d): 64 topics a head, all of them shifted by one mean."""
    topics = rng.normal(size=(heads, 64, d)).astype(np.float32)
    of = rng.integers(0, 64, (heads, tokens))
    noise = rng.standard_normal((heads, tokens, d), dtype=np.float32)
    return (
        np.take_along_axis(topics, of[..., None], axis=1)
        + 0.7 * noise
        + rng.normal(size=(heads, 1, d)).astype(np.float32)
    )


def fill(cache: RetrievalCache, model: Any, tokens: int) -> None:
    """As if the model had read `tokens` tokens: keys, values and some queries in every layer."""
    config, rng = model.config, np.random.default_rng(0)
    heads, d = config.num_key_value_heads, config.head_dim
    group = config.num_attention_heads // heads
    like = torch.empty(1, heads, 0, d, dtype=model.dtype)
    for layer in cache.layers:
        layer.lazy_initialization(like, like)
        layer.seen = tokens
        row = layer.rows[0].cache
        for first in range(0, tokens, 8192):
            keys = vectors(heads, min(8192, tokens - first), d, rng)
            row.append(keys, keys[..., ::-1])
            asked = np.repeat(keys[:, ::8], group, axis=0)
            asked = asked + 0.5 * rng.standard_normal(asked.shape, dtype=np.float32)
            row.learn(asked / np.float32(np.sqrt(d)), first)


def whole(model: Any, tokens: int) -> DynamicCache:
    """transformers' own cache, as full."""
    config, rng, cache = model.config, np.random.default_rng(0), DynamicCache(config=model.config)
    for n in range(config.num_hidden_layers):
        keys = torch.from_numpy(vectors(config.num_key_value_heads, tokens, config.head_dim, rng)[None])
        keys = keys.to(model.device, model.dtype)
        cache.update(keys, keys.flip(-1), n)
    return cache


@torch.inference_mode()
def decoded(model: Any, ways: dict[str, Any], tokens: int) -> dict[str, list[float]]:
    """Seconds of each token by each way, in turns."""
    step: Callable[[Any], Any] = lambda cache: model(  # noqa: E731
        torch.full((1, 1), 7, device=model.device), **cache_argument(model, cache), logits_to_keep=1
    )
    times: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(tokens + 2):
        for name, cache in ways.items():
            began = time.perf_counter()
            step(cache)
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            if n >= 2:
                times[name].append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main()
