"""How fast is a long prompt read by a policy, and what does that change?

    python benchmarks/prefill.py --model smollm2 --text FILE [--lengths 4096 16384 32768]
        [--policies "{use: anchor, anchor: sum, theta: 9.7, step: 2}" ...] [--json]
    python benchmarks/prefill.py --dump FILE [--policies ...]       # attention alone, on real queries and keys

The whole way: the text's first tokens are read in pieces of 1,024, each way in turn, by transformers' `sdpa` and a
DynamicCache, with no attention at all ("ceiling"), and by a RetrievalCache with each policy ("full" is none).
"seconds" is processor time, of which "attention s" is spent in the layers' attention and "choosing s" in the policy;
"speed" is sdpa's seconds over these. "pairs" is the share of pairs of a token and one not behind it whose score was
computed, by block of rows, means counted. "top-1" is how often the most likely token after each of the `--following`
ones is that of sdpa, and "kl" how far their distributions are apart, in nats; they are read with attention to every
key, so that both tell of the prompt's reading alone. A text that is too short is repeated.

Attention alone: the last 1,024 queries of a dump's text (`fovea capture --share 0 --last .1`), all layers in it, after
which "recall" is the share of the attention's mass on what was read, and "error" the relative L2 of the output.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml

from fovea.attention_retrieval.attend import attend, attend_columns, merge
from fovea.attention_retrieval.cache import device
from fovea.attention_retrieval.cache.prompt import blocks
from fovea.attention_retrieval.capture.dump import Dump, as_float
from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.methods.retrieval import Retrieval
from fovea.attention_retrieval.prefill.prefill import Block, Prefill
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.causal_lm import CausalLM, load

PIECE, ROWS, FULL = 1024, 1024, "full"
POLICIES = [FULL, "{use: wave}", "{use: anchor, anchor: sum, theta: 9.7, step: 2}"]


class Meter:
    """Processor seconds of attention and of choosing, and scores computed, of what runs within `on`."""

    def __init__(self) -> None:
        self.attention = self.choosing = self.pairs = 0.0

    @contextmanager
    def on(self, prefill: Prefill | None) -> Iterator[None]:
        """Count."""
        attend = device.DecodingRow.attend

        def attending(row: Any, query: torch.Tensor, *given: Any) -> torch.Tensor:
            began = time.process_time()
            out = attend(row, query, *given)
            self.attention += time.process_time() - began
            return out

        with ExitStack() as stack:
            stack.enter_context(patch.object(device.DecodingRow, "attend", attending))
            if prefill is not None:
                stack.enter_context(patch.object(type(prefill), "columns", self._counted(type(prefill).columns)))
            yield

    def _counted(self, columns: Any) -> Any:
        def choosing(prefill: Prefill, block: Block) -> Columns:
            began = time.process_time()
            chosen: Columns = columns(prefill, block)
            self.choosing += time.process_time() - began
            tokens = block.stop - block.start
            self.pairs += tokens * (read_by(chosen) + (tokens + 1) / 2)
            return chosen

        return choosing


def read_by(chosen: Columns) -> float:
    """Columns and means, the mean over heads."""
    means = np.mean([len(each.keys) for each in chosen.means]) if chosen.means else 0
    return float(np.mean([len(ids) for ids in chosen.ids]) + means)


@torch.inference_mode()
def whole_way(args: argparse.Namespace) -> Iterator[Row]:
    """Rows of each length and way."""
    from transformers import DynamicCache

    sdpa, ours = (load(args.model, attention=name) for name in ("sdpa", Retrieval().implementation()))
    text = sdpa.tokenizer(Path(args.text).read_text(encoding="utf-8")).input_ids
    for length in args.lengths:
        ids = (text * -(-(length + args.following) // len(text)))[: length + args.following]
        cache = DynamicCache(config=sdpa.model.config)
        full = seconds(sdpa, ids[:length], cache)
        logits = sdpa.model(torch.tensor([ids[length:]]), past_key_values=cache).logits[0]
        said = {"model": args.model, "tokens": length, "piece": PIECE, "threads": torch.get_num_threads()}
        yield Row("prefill", args.text, "sdpa", "seconds", full, n=1, settings=said)
        with patch.object(device.DecodingRow, "_read", lambda row, query, *given: query.transpose(0, 1)):
            ceiling = seconds(ours, ids[:length], Retrieval().cache(ours.model.config))
        yield Row("prefill", args.text, "ceiling", "speed", full / ceiling, n=1, settings=said)
        for policy in args.policies:
            found = measured(ours, ids, length, policy, logits)
            for metric, value in {"speed": full / found["seconds"], **found}.items():
                yield Row("prefill", args.text, policy, metric, value, n=1, settings=said)


def measured(lm: CausalLM, ids: Sequence[int], length: int, policy: str, wanted: torch.Tensor) -> dict[str, float]:
    """One way's figures."""
    prefill, meter = Prefill.model_validate(yaml.safe_load(policy)) if policy != FULL else None, Meter()
    cache = Retrieval(prefill=prefill).cache(lm.model.config)
    with meter.on(prefill):
        took = seconds(lm, ids[:length], cache)
    attention, layers = meter.attention, lm.model.config.num_hidden_layers
    for row in (row.cache for layer in cache.layers for row in layer.rows):
        row.settings = row.settings.model_copy(update={"prefill": None})
    logits = lm.model(torch.tensor([ids[length:]]), past_key_values=cache).logits[0]
    agreed, logs = logits.argmax(-1) == wanted.argmax(-1), wanted.log_softmax(-1)
    found = {
        "seconds": took,
        "attention s": attention,
        "choosing s": meter.choosing,
        "top-1": float(agreed.float().mean()),
        "kl": float((logs.exp() * (logs - logits.log_softmax(-1))).sum(-1).mean()),
    }
    return {**found, "pairs": meter.pairs / layers / (length * (length + 1) / 2)} if prefill else found


def seconds(lm: CausalLM, ids: Sequence[int], cache: Any) -> float:
    """Processor seconds of reading."""
    began = time.process_time()
    for start in range(0, len(ids), PIECE):
        lm.read(ids[start : start + PIECE], cache)
    return time.process_time() - began


def alone(args: argparse.Namespace) -> Iterator[Row]:
    """Rows of each policy on a dump."""
    dump = Dump.open(args.dump)
    layers = [tensors(dump, n) for n in dump.facts.layers]
    said = {"tokens": dump.facts.tokens, "layers": len(layers), "threads": torch.get_num_threads()}
    full = sum(best_of(by_sdpa, *each) for each in layers)
    yield Row("prefill", str(args.dump), "sdpa", "seconds", full, n=1, settings=said)
    for policy in (each for each in args.policies if each != FULL):
        prefill, found = Prefill.model_validate(yaml.safe_load(policy)), {}
        earlier = [made_before(prefill, *each) for each in layers]
        took = sum(best_of(by_policy, prefill, *each, kept) for each, kept in zip(layers, earlier))
        parts = [(by_policy(prefill, *each, kept), exact(*each)) for each, kept in zip(layers, earlier)]
        found["speed"] = full / took
        found["recall"] = float(np.mean([(lse - whole).exp().mean() for (_, lse, _), (_, whole) in parts]))
        found["error"] = float(np.mean([((a - b).norm(dim=-1) / b.norm(dim=-1)).mean() for (a, *_), (b, _) in parts]))
        found["columns"] = float(np.mean([columns for (*_, columns), _ in parts])) / dump.facts.tokens
        for metric, value in found.items():
            yield Row("prefill", str(args.dump), policy, metric, value, n=len(layers), settings=said)


Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries (heads, last rows, d) times the scaling, keys and values (kv heads, tokens, d)."""


def tensors(dump: Dump, layer: int) -> Tensors:
    """Of the last rows of a dump's text."""
    rows, tokens = dump.query_rows, dump.facts.tokens
    at = np.flatnonzero((rows >= tokens - ROWS) & (rows < tokens))
    if len(at) < ROWS:
        raise SystemExit(f"the dump lacks the last {ROWS:,} queries of its text: fovea capture --share 0 --last .1")
    found = dump.layer(layer)
    keys, values = (torch.from_numpy(as_float(each[:, :tokens]).copy()) for each in (found.keys, found.values))
    return torch.from_numpy(found.query(slice(None), at)), keys, values


def by_sdpa(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What transformers would call."""
    mask = torch.ones(query.shape[1], keys.shape[1], dtype=torch.bool).tril(keys.shape[1] - query.shape[1])
    call, given = torch.nn.functional.scaled_dot_product_attention, (query[None], keys[None], values[None], mask)
    return call(*given, scale=1.0, enable_gqa=True)[0]


def made_before(prefill: Prefill, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> dict[Any, Any]:
    """What a policy has made of the text when these queries come: lists that it only adds to."""
    kept: dict[Any, Any] = {}
    asked = query[:, : prefill.rows].unflatten(0, (len(keys), -1))
    prefill.columns(Block(asked, keys.shape[1] - query.shape[1], keys, values, 16, 0, {}, kept))
    return {name: made for name, made in kept.items() if name == "wave tree"}


def by_policy(
    prefill: Prefill, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, kept: dict[Any, Any]
) -> tuple[Any, Any, float]:
    """Output, log-sum-exp, and columns read, the mean over blocks."""
    before, parts, columns, memo = keys.shape[1] - query.shape[1], [], [], {}
    kept = dict(kept)
    for first, last in blocks(before, query.shape[1], prefill.rows):
        asked = query[:, first - before : last - before]
        chosen = prefill.columns(Block(asked.unflatten(0, (len(keys), -1)), first, keys, values, 16, 0, memo, kept))
        own = attend(asked, keys[:, first:last], values[:, first:last], 1.0, causal=True, seen=chosen.own)
        parts.append(merge(*own, *attend_columns(asked, chosen, keys, values, 1.0)))
        columns.append(read_by(chosen))
    return torch.cat([out for out, _ in parts], 1), torch.cat([lse for _, lse in parts], 1), float(np.mean(columns))


def exact(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Any:
    """Full attention and its log-sum-exp."""
    first = keys.shape[1] - query.shape[1]
    own = attend(query, keys[:, first:], values[:, first:], 1.0, causal=True)
    return merge(*own, *attend(query, keys[:, :first], values[:, :first], 1.0))


def best_of(call: Any, *given: Any, times: int = 3) -> float:
    """The least processor seconds."""
    took = []
    for _ in range(times):
        began = time.process_time()
        call(*given)
        took.append(time.process_time() - began)
    return min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", help="a file")
    parser.add_argument("--dump", type=Path, help="attention alone, on this file of fovea capture")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16384, 32768])
    parser.add_argument("--following", type=int, default=128)
    parser.add_argument("--policies", nargs="+", default=POLICIES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if bool(args.dump) == bool(args.text):
        parser.error("give --text FILE, or --dump FILE")
    torch.set_num_threads(args.threads)
    print(show(list(alone(args) if args.dump else whole_way(args)), as_json=args.json))


if __name__ == "__main__":
    main()
