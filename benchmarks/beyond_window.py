"""Facts in a text of several times a model's window: looked up inside cached keys, and answered from what was found.

    python benchmarks/beyond_window.py [--text FOLDER] [--model smollm2] [--times 4] [--facts 20] [--recompute 0.15]
        [--json]

`--facts` numbers ("The special magic number of KEY is VALUE.") are hidden evenly in a text of `--times` the window,
made up or from the files of `--text`, and each is asked for; an answer is right that holds its number. The text is a
document of passages of 200 tokens; `kv` finds five of them by the model's own heads, and the model answers from these:
composed of what it had read of each, or read whole. `inside the window` is the model's full attention over one document
of the same text, as long as fits, with as many facts. BM25 and the default encoder find passages for the same prompt.

accuracy: right answers. found: the fact is in the passages. share: of the accuracy inside the window. seconds: of
processors, a question; reading the text once has a row of its own.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.bench.longcontext.haystacks import of
from fovea.pipelines.bench.longcontext.task import drawn_names
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.causal_lm import CausalLM, load
from fovea.rag.types import Document

FACT, ASKED = "The special magic number of {} is {}.", "What is the special magic number of {}?"
ROOM = 700
"""Tokens of the window that are left for the instruction, the question and the answer."""


def hidden(lm: CausalLM, text: str | None, tokens: int, facts: Sequence[tuple[str, str]], seed: int) -> str:
    """A text of about so many tokens with the facts in it, evenly, between sentences."""
    units, length = [], 0
    for unit in of(text)(seed):
        length += len(lm.tokenizer(unit, add_special_tokens=False)["input_ids"])
        if length > tokens:
            break
        units.append(unit)
    for n, fact in reversed(list(enumerate(facts))):
        units.insert(round((n + 0.5) / len(facts) * len(units)), FACT.format(*fact))
    return "\n\n".join(" ".join(units[at : at + 8]) for at in range(0, len(units), 8))


def ways(model: str, recompute: float) -> dict[str, dict[str, Any]]:
    """The stages of each way, by name."""
    answering = {"use": "transformers", "model": model, "max_new_tokens": 24}
    composed = {**answering, "read": "passages", "recompute": recompute}
    inside = [{"use": "kv", "model": model}]
    return {
        f"kv, composed, {recompute:g} anew": {"retrieve": inside, "generate": composed},
        "kv, read whole": {"retrieve": inside, "generate": answering},
        "bm25, read whole": {"retrieve": [{"use": "bm25"}], "generate": answering},
        "dense, read whole": {"retrieve": [{"use": "dense"}], "generate": answering},
    }


def asked(pipeline: Pipeline, facts: Sequence[tuple[str, str]], k: int) -> Iterator[tuple[bool, bool, float]]:
    """Whether each answer is right, whether its fact was in the passages, and seconds."""
    for key, value in facts:
        began = time.process_time()
        answer = pipeline.ask(ASKED.format(key), k=k)
        took = time.process_time() - began
        yield value in answer.text, any(FACT.format(key, value) in hit.chunk.text for hit in answer.hits), took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--times", type=float, default=4)
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--recompute", type=float, default=0.15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    text = "\n".join(path.read_text("utf-8") for path in sorted(args.text.glob("*.txt"))) if args.text else None
    lm, rng = load(args.model), random.Random(0)
    window = lm.window or 8192
    facts = [(key, str(rng.randrange(10**5, 10**6))) for key in drawn_names(rng, args.facts)]
    long = hidden(lm, text, int(args.times * window), facts, seed=1)
    short = hidden(lm, text, window - ROOM - 20 * len(facts), facts, seed=1)
    settings = {"model": args.model, "times": args.times, "facts": len(facts), "recompute": args.recompute}
    data, found = f"{args.model}, {args.times:g} windows", dict[str, list[tuple[bool, bool, float]]]()
    with tempfile.TemporaryDirectory() as folder:
        generate = {"use": "transformers", "model": args.model, "max_new_tokens": 24, "read": "documents"}
        with Pipeline(base=folder, store={"use": "embedded", "path": "inside"}, generate=generate) as pipeline:
            pipeline.add(Document("text", short))
            pipeline.read()
            found["inside the window"] = list(asked(pipeline, facts, 5))
        segment = [{"use": "recursive", "max_tokens": 200}]
        reading = 0.0
        for name, stages in ways(args.model, args.recompute).items():
            with Pipeline(
                base=folder, store={"use": "embedded", "path": "beyond"}, segment=segment, **stages
            ) as pipeline:
                pipeline.add(Document("text", long))
                began = time.process_time()
                if "retrieve" in stages and stages["retrieve"][0]["use"] == "kv" and not reading:
                    pipeline.retrieve("?")
                    reading = time.process_time() - began
                found[name] = list(asked(pipeline, facts, 5))
    base = np.mean([right for right, *_ in found["inside the window"]])
    rows = [Row("beyond_window", data, "reading for kv", "process s", reading, settings=settings)]
    for name, each in found.items():
        right, there, seconds = (np.array(column, float) for column in zip(*each))
        for metric, values in (("accuracy", right), ("found", there)):
            mean, low, high = interval(values, shares=True)
            rows.append(
                Row(
                    "beyond_window", data, name, metric, mean, low, high, len(each), float(np.median(seconds)), settings
                )
            )
        rows.append(
            Row("beyond_window", data, name, "share", float(right.mean() / base), n=len(each), settings=settings)
        )
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
