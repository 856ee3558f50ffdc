"""What becomes of a model's own answers when it searches its keys: agreement, needles, seconds a token.

    python -m benchmarks.attention_quality --model benchmarks/testbed --text FILE_OR_FOLDER [--engines flat,query_ivf]
        [--lengths 8192,32768] [--tasks needle,key_value] [--depths 0,0.25,0.5,0.75,1] [--samples 4] [--json]

Every engine answers with the same weights as full attention (`DynamicCache` and sdpa) in the same run; `streaming`
among the engines is sinks and window alone. The prompt is read with full attention, once for all engines; then the
text's own next tokens are given one by one (teacher forcing), the methods in turn at each token:

top-1         share of tokens at which the likeliest next token is that of full attention
KL            sum of p log(p / q) over the vocabulary, p of full attention, in nats, mean over tokens
s a token     median of a decoding step; beside it, how many times faster than full attention

Tasks are those of `benchmarks/testbed_tasks`: a prompt of exactly so many tokens, the asked fact at a depth in text
that the model has not seen, and an answer that is right or not, token for token.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from fovea import Retrieval, RetrievalCache
from fovea.attention_retrieval.corrections.correction import Correction
from fovea.attention_retrieval.index.engine import Engine
from fovea.pipelines.bench.attention_methods import label_of
from fovea.pipelines.bench.segmentation_methods import parsed
from fovea.pipelines.cli.capture import text_of
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag.causal_lm import cache_argument

FULL = "full attention"
ENTRIES = "names, or {use: NAME, setting: value, correct: NAME}, or streaming"


@dataclass(frozen=True)
class Method:
    """A model and the cache it reads with; no settings for full attention."""

    name: str
    model: Any
    settings: Retrieval | None

    def cache(self) -> Any:
        if self.settings is None:
            return DynamicCache(config=self.model.config)
        return RetrievalCache(self.model.config, self.settings)

    @property
    def learns(self) -> bool:
        """Whether it keeps some of the prompt's queries."""
        return bool(self.settings and self.settings.selection and self.settings.selection.needs_queries)

    def prefilled(self, ids: Sequence[int], chunk: int) -> Any:
        """A cache that has read `ids`."""
        cache = self.cache()
        for at in range(0, len(ids), chunk):
            self.read(ids[at : at + chunk], cache)
        return cache

    def own(self, cache: Any) -> Any:
        """A cache that another method of the same model has filled, from now on with these settings."""
        if self.settings is not None:
            cache.settings = self.settings
            for layer in cache.layers:
                layer.settings = self.settings
                for row in layer.rows:
                    row.cache.settings, row.cache.selection = self.settings, self.settings.selection
        return cache

    @torch.inference_mode()
    def read(self, ids: Sequence[int], cache: Any) -> torch.Tensor:
        """The logits of what follows."""
        cached = cache_argument(self.model, cache)
        made = self.model(torch.tensor([list(ids)]), **cached, use_cache=True, logits_to_keep=1)
        return made.logits[0, -1].float()

    def answer(self, cache: Any, last: int, tokens: int) -> list[int]:
        """The likeliest next tokens, the last token of the prompt and all of the answer decoded one at a time."""
        said = []
        for _ in range(tokens):
            last = int(self.read([last], cache).argmax())
            said.append(last)
        return said


def methods(args: argparse.Namespace) -> list[Method]:
    """Full attention first, then the engines."""
    settings = Retrieval(
        sinks=args.sinks, window=args.window, top_k=args.k, dtype=args.store, correct=args.correct, dense_below=0
    )
    entries = [e if isinstance(e, dict) else {"use": e} for e in parsed(f"[{args.engines}]", "--engines")]
    changes = [(label_of(entry), _change(entry)) for entry in entries]
    full, ours = (
        AutoModelForCausalLM.from_pretrained(args.model, attn_implementation=name, dtype=torch.float32).eval()
        for name in ("sdpa", settings.implementation())
    )
    return [Method(FULL, full, None), *(Method(n, ours, settings.model_copy(update=change)) for n, change in changes)]


def _change(entry: dict[str, Any]) -> dict[str, Any]:
    """What an entry of --engines means for the settings."""
    if entry["use"] == "streaming":
        return {"top_k": 0, "correct": None}
    own = {key: value for key, value in entry.items() if key != "correct"}
    change: dict[str, Any] = {"engine": "auto" if own["use"] == "auto" else Engine.model_validate(own)}
    if "correct" in entry:
        change["correct"] = entry["correct"] and Correction.model_validate({"use": entry["correct"]})
    return change


def prefilled(found: Sequence[Method], ids: Sequence[int], chunk: int) -> dict[str, Any]:
    """A cache that has read `ids` for each method: read by one of a model that learns from queries, and copied."""
    read: dict[int, Any] = {}
    for method in sorted(found, key=lambda method: not method.learns):
        if id(method.model) not in read:
            read[id(method.model)] = method.prefilled(ids, chunk)
    return {method.name: method.own(deepcopy(read[id(method.model)])) for method in found}


def agreement(found: Sequence[Method], ids: Sequence[int], length: int, decode: int, chunk: int) -> Iterator[Row]:
    """Teacher-forced decoding behind `length` tokens, all methods in turn at each of `decode` tokens."""
    data = f"{length:,} tokens read, {decode} decoded"
    caches = prefilled(found, ids[:length], chunk)
    same: dict[str, list[float]] = {m.name: [] for m in found}
    apart: dict[str, list[float]] = {m.name: [] for m in found}
    seconds: dict[str, list[float]] = {m.name: [] for m in found}
    for n, token in enumerate(ids[length : length + decode]):
        logits = {}
        for method in [*found[n % len(found) :], *found[: n % len(found)]]:
            began = time.perf_counter()
            logits[method.name] = method.read([token], caches[method.name])
            seconds[method.name].append(time.perf_counter() - began)
        sure = logits[FULL].log_softmax(-1)
        for name, each in logits.items():
            same[name].append(float(each.argmax() == sure.argmax()))
            apart[name].append(float((sure.exp() * (sure - each.log_softmax(-1))).sum()))
    whole = float(np.median(seconds[FULL]))
    for name in same:
        yield Row("attention_quality", data, name, "top-1", *interval(same[name]), decode)
        yield Row("attention_quality", data, name, "KL", *interval(apart[name]), decode)
        median = float(np.median(seconds[name]))
        yield Row("attention_quality", data, name, "s a token", median, n=decode)
        yield Row("attention_quality", data, name, "times faster", whole / median, n=decode)


def answers(found: Sequence[Method], page: Any, args: argparse.Namespace) -> Iterator[Row]:
    """The share of right answers by task, length and depth, and over all depths."""
    from benchmarks.testbed_tasks.prompts import make

    for task in args.tasks.split(","):
        for length in args.lengths:
            right: dict[str, list[float]] = {m.name: [] for m in found}
            for depth in args.depths:
                here: dict[str, list[float]] = {m.name: [] for m in found}
                for seed in range(args.samples):
                    prompt = make(task, page, length, depth, seed)
                    caches = prefilled(found, prompt.prompt[:-1], args.chunk)
                    for method in found:
                        said = method.answer(caches.pop(method.name), prompt.prompt[-1], len(prompt.answer))
                        here[method.name].append(float(said == list(prompt.answer)))
                for name, each in here.items():
                    right[name] += each
                    data = f"{task}, {length:,} tokens"
                    yield Row("attention_quality", data, name, f"depth {depth:g}", float(np.mean(each)), n=len(each))
            for name, each in right.items():
                yield Row("attention_quality", f"{task}, {length:,} tokens", name, "right", *interval(each), len(each))


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer(text_of(args.text), add_special_tokens=False, verbose=False)["input_ids"]
    found, rows = methods(args), []
    for length in args.lengths:
        if args.decode and len(ids) < length + args.decode:
            raise SystemExit(
                f"the text has {len(ids):,} tokens; {length + args.decode:,} are wanted: --lengths, --decode"
            )
        if args.decode:
            rows += agreement(found, ids, length, args.decode, args.chunk)
    if args.tasks:
        from benchmarks.testbed_tasks.page import Page

        rows += answers(found, Page(tokenizer, np.array(ids)), args)
    settings = {"k": args.k, "sinks": args.sinks, "window": args.window, "threads": args.threads, "store": args.store}
    settings["correct"] = args.correct
    told = {m.name: {**settings, "engine": m.name} for m in found}
    print(show([replace(row, settings=told[row.method]) for row in rows], as_json=args.json))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "testbed")
    parser.add_argument("--text", type=Path, required=True, help="running text, new to the model")
    parser.add_argument("--engines", default="flat, auto", help=ENTRIES)
    parser.add_argument("--lengths", type=_numbers, default=[8192])
    parser.add_argument("--decode", type=int, default=128, help="teacher-forced tokens; 0 for none")
    parser.add_argument("--tasks", default="", help="needle,passkey,key_value,variable_tracking,...")
    parser.add_argument("--depths", type=_numbers, default=[0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--samples", type=int, default=4, help="prompts a task, length and depth")
    parser.add_argument("--correct", help="a correction: lift or tail; none if left out")
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--sinks", type=int, default=128)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--store", default="bf16", choices=["bf16", "fp32", "int8"])
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _numbers(text: str) -> list[Any]:
    return json.loads(f"[{text}]")


if __name__ == "__main__":
    main()
