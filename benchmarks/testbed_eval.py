"""How well the testbed reads: perplexity by length, and answers by task, length and depth, with full attention.

    python -m benchmarks.testbed_eval --data ../shared/data [--model benchmarks/testbed] [--lengths 512 2048]
        [--json] [--card] [--with MEASURED.json ...]

Prompts are filled with the essays, which the testbed was not trained on. An answer counts when greedy decoding gives
all of its tokens: when each has the highest logit under teacher forcing, which takes one forward pass a prompt.
`--card` writes the model's card with the table in it. `--with` adds rows that `--json` printed earlier, so that lengths
can be measured in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.testbed_tasks import texts
from benchmarks.testbed_tasks.card import write_card
from benchmarks.testbed_tasks.page import Page, Prompt
from benchmarks.testbed_tasks.prompts import make
from benchmarks.testbed_tasks.tasks import TASKS
from fovea.pipelines.evaluation.measurements import Row, interval, show

MODEL = Path(__file__).parent / "testbed"
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH = 16384
"""Tokens of one forward pass over several prompts."""
WINDOWS = 32768
"""Tokens of held-out text read for one perplexity, at least two windows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data folder, or a folder of .txt files")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--lengths", nargs="*", type=int, default=list(LENGTHS))
    parser.add_argument("--depths", nargs="*", type=float, default=list(DEPTHS))
    parser.add_argument(
        "--prompts", type=int, default=4, help="prompts of each task, length and depth; fewer over 4,096"
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16", help="of the forward pass")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--card", action="store_true", help="write the table into the model's README.md")
    parser.add_argument("--with", nargs="*", type=Path, default=[], dest="before", help="files of rows to add")
    args = parser.parse_args()
    rows = [Row(**row) for path in args.before for row in json.loads(path.read_text("utf-8"))]
    rows += measure(args) if args.lengths else ()
    if args.card:
        write_card(args.model, rows)
    print(show(rows, as_json=args.json))


def measure(args: argparse.Namespace) -> Iterator[Row]:
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype)).eval()
    _, held_out = texts.split(texts.documents(args.data))
    yield from perplexity(model, texts.encode(held_out, tokenizer), args)
    page = texts.page(tokenizer, haystack(args.data, held_out))
    for task in args.tasks:
        for length in args.lengths:
            yield from accuracy(model, page, task, length, args)


def haystack(data: Path, otherwise: list[str]) -> list[str]:
    """The essays, where they are: text that is in no training set of the testbed."""
    essays = data / "long_context" / "essays"
    return [p.read_text("utf-8") for p in sorted(essays.glob("*.txt"))] if essays.is_dir() else otherwise


def perplexity(model: Any, ids: np.ndarray, args: argparse.Namespace) -> Iterator[Row]:
    """Perplexity of the last 256 tokens of windows of each length, spread over the held-out text."""
    for length in (n for n in args.lengths if n <= len(ids)):
        began, tail = time.perf_counter(), min(256, length // 2)
        starts = np.linspace(0, len(ids) - length, max(2, min(4 * args.prompts, WINDOWS // length))).astype(int)
        windows = [ids[s : s + length].astype(np.int64).tolist() for s in starts]
        prompts = [Prompt(w[:-tail], w[-tail:], []) for w in windows]
        losses = [float(-scores[torch.arange(tail), answer].mean()) for scores, answer in _scored(model, prompts)]
        mean, low, high = np.exp(interval(losses))
        yield _row("held-out text", length, "perplexity", mean, low, high, len(losses), began, args)


def accuracy(model: Any, page: Page, task: str, length: int, args: argparse.Namespace) -> Iterator[Row]:
    """The share of exact answers at each depth, and over all of them."""
    everything: list[float] = []
    for depth in args.depths:
        began = time.perf_counter()
        prompts = [make(task, page, length, depth, args.seed * 1000 + i) for i in range(_affordable(args, length))]
        right = [float((scores.argmax(1) == answer).all()) for scores, answer in _scored(model, prompts)]
        everything += right
        yield _row(task, length, f"depth {depth:g}", float(np.mean(right)), None, None, len(right), began, args)
    yield _row(task, length, "all", *interval(everything), len(everything), time.perf_counter(), args)


def _affordable(args: argparse.Namespace, length: int) -> int:
    """The prompts asked for, or as many as make `BATCH` tokens, and one at least."""
    return max(1, min(args.prompts, BATCH // length))


def _scored(model: Any, prompts: list[Prompt]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each prompt the log-probabilities `(answer tokens, vocabulary)` and the answer; prompts of one length."""
    size = max(1, BATCH // (len(prompts[0].prompt) + len(prompts[0].answer)))
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        ids = torch.tensor([[*p.prompt, *p.answer] for p in batch])
        keep = len(batch[0].answer) + 1
        with torch.inference_mode():
            scores = model(ids, use_cache=False, logits_to_keep=keep).logits[:, :-1].float().log_softmax(-1)
        for one, prompt in zip(scores, batch):
            yield one, torch.tensor(prompt.answer)


def _row(data: str, length: int, metric: str, *found: Any) -> Row:
    value, low, high, n, began, args = found
    settings = {"model": args.model.name, "dtype": args.dtype, "seed": args.seed, "length": length}
    seconds = time.perf_counter() - began
    return Row("testbed", data, f"{length} tokens", metric, value, low, high, n, seconds, settings)


if __name__ == "__main__":
    main()
