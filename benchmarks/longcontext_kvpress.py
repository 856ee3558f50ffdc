"""Peer rows for `fovea bench longcontext`: what kvpress leaves of a prompt, on the same prompts and judged the same.

    python -m venv KV && KV/bin/pip install kvpress torch pyyaml pydantic rich
    PYTHONPATH=. KV/bin/python -m benchmarks.longcontext_kvpress --model smollm2 [--lengths 2048]
        [--tasks needle,multi_key] [--depths 0.25 0.5] [--keep 0.5 0.25] [--decode 32] [--samples 1] [--text PATH]
        [--json]

kvpress 0.5 wants transformers < 5.3 and Fovea a later one, so it runs in an environment of its own, with the parts of
this project that need neither. A peer drops what it scores lowest when the text is read, by layer and kv head. Texts,
positions, seeds, answers' tokens and judging are `fovea bench longcontext`'s; a prompt is read once, whole, since a
press looks at its first call alone, and each press takes its own from that reading. What it drops before a question is
read is gone: the texts of `needle` end in their question, those of `multi_key` are asked about afterwards. kvpress's
DuoAttention is not among them: it fetches a table for six models by name, or BookSum to score another model's heads by.

"prefill s": processor seconds of reading, with the press's own; "decode ms": the median of steps that all methods take
in turn. Both are beside `full`, measured in the same run: set against Fovea's as ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kvpress import BasePress, ExpectedAttentionPress, KnormPress, SnapKVPress, StreamingLLMPress
from transformers import DynamicCache

from fovea.pipelines.bench.longcontext import files, haystacks
from fovea.pipelines.bench.longcontext.prompts import Prompt, fit
from fovea.pipelines.bench.longcontext.task import Haystack, Task
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.evaluation.value import means
from fovea.rag.causal_lm import CausalLM, load

PRESSES = (SnapKVPress, StreamingLLMPress, ExpectedAttentionPress, KnormPress)
FULL, WARM = "full (kvpress's environment)", 2


@dataclass
class Pressing(BasePress):
    """Presses that each take their own of one reading, which stays whole."""

    presses: Mapping[str, BasePress]
    caches: dict[str, DynamicCache] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def compress(
        self, module: Any, hidden_states: Any, keys: Any, values: Any, attentions: Any, kwargs: Any
    ) -> tuple[Any, Any]:
        """kvpress calls it in each layer, once its attention is computed."""
        for name, press in self.presses.items():
            began = time.process_time()
            kept = press.compress(module, hidden_states, keys, values, attentions, kwargs)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began
            self.caches.setdefault(name, DynamicCache()).update(*kept, module.layer_idx)
        return keys, values


@torch.inference_mode()
def prefill(lm: CausalLM, ids: Sequence[int], presses: Mapping[str, BasePress]) -> Pressing:
    """Every press's cache and seconds, and those of `full`."""
    pressing, whole = Pressing(presses), DynamicCache()
    began = time.process_time()
    with pressing(lm.model):
        lm.model.model(input_ids=torch.tensor([list(ids)]), past_key_values=whole)
    took = time.process_time() - began - sum(pressing.seconds.values())
    pressing.seconds = {FULL: took, **{name: took + own for name, own in pressing.seconds.items()}}
    pressing.caches = {FULL: whole, **pressing.caches}
    return pressing


@torch.inference_mode()
def step(lm: CausalLM, cache: DynamicCache, ids: Sequence[int], position: int) -> torch.Tensor:
    """The logits behind `ids`, which stand at their positions of the text, whatever was dropped before them."""
    where = torch.arange(position, position + len(ids))[None]
    given = {"past_key_values": cache, "position_ids": where, "logits_to_keep": 1}
    return lm.model(torch.tensor([list(ids)]), **given).logits[0, -1]


def answers(
    lm: CausalLM, task: Task, prompt: Prompt, caches: Mapping[str, DynamicCache]
) -> Iterator[tuple[str, float]]:
    """Each method's score of each question; what was read for it is cropped away again, as kvpress's pipeline does."""
    for question, tail in prompt.questions:
        for name, cache in caches.items():
            held = cache.get_seq_length()
            at, ids, said = len(prompt.prefix), list(tail), list[int]()
            while len(said) < task.answer_tokens:
                token = int(step(lm, cache, ids, at).argmax())
                if token in lm.ends:
                    break
                at, ids = at + len(ids), [token]
                said.append(token)
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[:, :, :held], layer.values[:, :, :held]
            text = question.lead + lm.tokenizer.decode(said, skip_special_tokens=True)
            yield name, task.judge(text, question.answers)


def answered(lm: CausalLM, task: Task, length: int, haystack: Haystack, args: argparse.Namespace) -> Iterator[Row]:
    scores: dict[str, list[float]] = {}
    for sample in range(args.samples):
        for case in task.cases(haystack, f"{args.seed} {task.name} {sample}"):
            prompt = fit(task, case, lm, length)
            pressing = prefill(lm, prompt.prefix, pressed(args.keep))
            for name, score in answers(lm, task, prompt, pressing.caches):
                scores.setdefault(name, []).append(score)
    data = f"{lm.name}, {task.name} (version {task.version}), {length:,} tokens"
    settings = {"task": task.name, "version": task.version, "samples": args.samples, "seed": args.seed}
    for name, mine in scores.items():
        value = means({name: mine}, {name: len(mine)})[name]
        yield Row("longcontext", data, name, task.metric, value.mean, *value.ends, value.n, None, settings)


def timed(lm: CausalLM, length: int, haystack: Haystack, args: argparse.Namespace) -> Iterator[Row]:
    ids = lm.tokenizer(" ".join(islice(haystack(args.seed), length)), verbose=False)["input_ids"]
    pressing = prefill(lm, ids[:length], pressed(args.keep))
    took: dict[str, list[float]] = {name: [] for name in pressing.caches}
    for n, token in enumerate(ids[length : length + args.decode + WARM]):
        names = list(took)
        for name in (*names[n % len(names) :], *names[: n % len(names)]):
            began = time.process_time()
            step(lm, pressing.caches[name], [token], length + n)
            took[name].append(time.process_time() - began)
    data = f"{lm.name}, {length:,} tokens, read once for all, 1 thread"
    for name, each in took.items():
        settings = {"rows kept": pressing.caches[name].get_seq_length() - args.decode - WARM}
        decode = 1e3 * float(np.median(each[WARM:]))
        yield Row("longcontext", data, name, "prefill s", pressing.seconds[name], n=1, settings=settings)
        yield Row("longcontext", data, name, "decode ms", decode, n=len(each) - WARM, settings=settings)


def pressed(keep: Sequence[float]) -> dict[str, BasePress]:
    return {
        f"kvpress {press.__name__.removesuffix('Press')}, {share:.0%} kept": press(compression_ratio=1 - share)
        for press in PRESSES
        for share in keep
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048])
    parser.add_argument("--tasks", default="needle,multi_key")
    parser.add_argument("--depths", type=float, nargs="+", help="where facts are hidden (each task's own)")
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--decode", type=int, default=32, help="timed steps; 0 times nothing")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--text", type=Path, help="what facts are hidden in (made-up prose)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lm, haystack = load(args.model), haystacks.of(args.text and args.text.read_text("utf-8"))
    rows: list[Row] = []
    for length in args.lengths:
        rows += timed(lm, length, haystack, args) if args.decode else []
        for task in files.chosen(args.tasks, None, args.depths):
            rows += answered(lm, task, length, haystack, args)
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
