"""Key-value lookup by a model made by formula, up to a million tokens, through a RetrievalCache.

    python benchmarks/attention_million.py [--lengths 16384,1048576] [--engines auto] [--depths 5] [--correct tail]

The page is lines of `key key value` and ends in a key; the right next token is that key's value, and one key in up to
350,000 must get nearly all of the attention (`fovea.attention_retrieval.testing.induction`). The page is read in a
band of 64 tokens, which is all that this model's first layer needs; the last two tokens are read one by one, by
retrieval alone. Each depth asks anew of the same page.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
import yaml

from fovea import Retrieval, RetrievalCache
from fovea.attention_retrieval.index.engine import Engine
from fovea.attention_retrieval.testing.induction import induction_model, lookup
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.causal_lm import cache_argument

PIECE = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="16384,131072,1048576")
    parser.add_argument("--engines", nargs="+", default=["auto"], help="names, or {use: NAME, setting: value}")
    parser.add_argument("--depths", type=int, default=5, help="how many places, evenly from the first line to the last")
    parser.add_argument("--top-k", type=int, default=100)
    parser.add_argument("--correct", help="a correction: lift or tail; none if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model: Any = induction_model(seed=args.seed)
    model.set_attn_implementation(Retrieval().implementation())
    found: list[Row] = []
    for length in map(int, args.lengths.split(",")):
        for engine in args.engines:
            found += rows(model, length, engine, args)
    print(show(found, as_json=args.json))


@torch.inference_mode()
def rows(model: Any, length: int, engine: str, args: argparse.Namespace) -> list[Row]:
    """One page, read once, asked at every depth."""
    settings = Retrieval(
        engine="auto" if engine == "auto" else Engine.model_validate(yaml.safe_load(engine)),
        correct=args.correct and {"use": args.correct},
        top_k=args.top_k, prefill={"use": "band", "window": 64}, exact_prompt=False, reuse=True,
    )  # fmt: skip
    cache, page = RetrievalCache(model.config, settings), lookup(length, seed=args.seed).ids[:-2]
    began = time.perf_counter()
    for first in range(0, len(page), PIECE):
        model(torch.tensor([page[first : first + PIECE]]), **cache_argument(model, cache), logits_to_keep=1)
    read, right, seconds = time.perf_counter() - began, 0, []
    for n in range(args.depths):
        asked = lookup(length, depth=n / max(args.depths - 1, 1), seed=args.seed)
        for token in asked.ids[-2:]:
            began = time.perf_counter()
            logits = model(torch.tensor([[token]]), **cache_argument(model, cache)).logits
            seconds.append(time.perf_counter() - began)
        right += int(logits[0, -1].argmax()) == asked.answer
        cache.crop(-2)
    heads = list(cache.report())
    values = {
        "right": right / args.depths,
        "scanned %": 100 * sum(head.scanned or 0 for head in heads) / len(heads),
        "read s": read,
        "build s a head": sum(head.build for head in heads) / len(heads),
        "ms/token": 1000 * sorted(seconds)[len(seconds) // 2],
    }
    name = cache.layers[-1].rows[0].cache.selected.engine
    label = f"{engine} ({name.name})" if engine == "auto" and name else engine
    return [
        Row("million", f"{length:,} tokens", label, metric, value, n=args.depths) for metric, value in values.items()
    ]


if __name__ == "__main__":
    main()
