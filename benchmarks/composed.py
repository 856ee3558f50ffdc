"""Passages that were read alone, composed for a question: what is lost against a full read, and what is saved.

    python benchmarks/composed.py --data ../shared/data/qa/xquad_en [--model smollm2] [--n 40] [--half second]
        [--passages 6] [--shares 0,0.15,1] [--only WAY] [--timed 3] [--kept answers.jsonl] [--json]

`--data` holds a file in SQuAD's format. A prompt is this project's own: the paragraph that answers among others of its
article, in an order drawn by the seed, then the question. It is read whole, read whole with the paragraphs in another
order, and composed of paragraphs kept alone: behind the instruction or with nothing before them, with each of `shares`
computed anew, and that share at random instead of by deviation.

kl: of the next token, composed against the full read, mean over the tokens of the full read's own greedy answer.
top1: the share of these tokens whose likeliest next one is the same.
f1: token F1 of the greedy answer with the gold answer (SQuAD's words); the difference from the full read, paired.
said: token F1 of the answer with the full read's.
time_ratio: processor time to the first token, a full read's over a composed one's, median of `--timed` prompts of about
3,000 tokens, kept texts loaded from memory. The paragraphs were read before; what that took is not in it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from benchmarks.reader import Asked, load
from fovea.attention_retrieval.memory import composed
from fovea.attention_retrieval.memory.kept import KeptTexts
from fovea.attention_retrieval.memory.read_text import ReadText
from fovea.attention_retrieval.rotation import Rotation
from fovea.pipelines.answering.composing import Passages
from fovea.pipelines.answering.prompt import messages
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag.causal_lm import CausalLM, cache_argument
from fovea.rag.causal_lm import load as load_lm
from fovea.rag.types import Chunk, Hit, Query

TOKENS, TIMED = 32, 3000
"""Of an answer at most, and of the prompts that are timed."""


def hits_of(one: Asked, texts: dict[str, str], passages: int, seed: int, lm: CausalLM | None = None) -> list[Hit]:
    """The paragraph that answers, among others of its article and, where these do not suffice, of others."""
    article = one.document.split("/")[0]
    rng, others = random.Random(seed), [name for name in texts if name != one.document]
    rng.shuffle(others)
    others.sort(key=lambda name: name.split("/")[0] != article)
    names = [one.document, *others[: passages - 1]]
    rng.shuffle(names)
    return [Hit(Chunk(document_id=d, start=0, end=len(texts[d]), text=texts[d], source=d), 1.0) for d in names]


def words_of(text: str) -> list[str]:
    """As SQuAD's evaluation has them: no case, articles or punctuation."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def f1(said: str, gold: str) -> float:
    ours, theirs = words_of(re.sub(r"\[\d+\]", " ", said)), words_of(gold)
    same = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * same / (len(ours) + len(theirs)) if same else float(ours == theirs)


def behind(lm: CausalLM, cache: Any, ids: Sequence[int], first: int) -> torch.Tensor:
    """Log probabilities behind each of `ids`, of which the first stands at `first`."""
    where = torch.arange(first, first + len(ids))[None]
    with torch.inference_mode():
        out = lm.model(torch.tensor([list(ids)]), position_ids=where, use_cache=True, **cache_argument(lm.model, cache))
    return out.logits[0].float().log_softmax(-1)


def full(lm: CausalLM, ids: Sequence[int]) -> DynamicCache:
    cache = DynamicCache(config=lm.model.config)
    lm.read(list(ids[:-1]), cache)
    return cache


class InMemory(KeptTexts):
    """Kept texts without files."""

    def find(self, key: str) -> ReadText | None:
        return self.always.get(key)

    def keep(self, key: str, text: ReadText, about: Any) -> int:
        self.always[key] = text
        return 0


class Modes:
    """Ways to the cache of a prompt, by name; each takes a query and hits, and gives tokens and cache."""

    def __init__(self, lm: CausalLM, shares: Sequence[float]) -> None:
        self.lm, self.kept = lm, InMemory(None, "fp32")
        after = Passages(lm, Rotation.of(lm.model), self.kept, lm.name)
        alone = replace(after, behind=False)
        self.ways: dict[str, Callable[[Query, list[Hit]], Any]] = {"full read, other order": self.reordered}
        for name, passages in (("behind the instruction", after), ("alone", alone)):
            for share in shares:
                self.ways[f"{name}, {share:g} anew"] = self.composing(passages, share)
        if shares:
            self.ways[f"behind the instruction, {shares[-1]:g} anew at random"] = self.at_random(after, shares[-1])

    def ids(self, query: Query, hits: list[Hit]) -> list[int]:
        return self.lm.tokens(messages(query, hits))

    def reordered(self, query: Query, hits: list[Hit]) -> Any:
        ids = self.ids(query, hits[::-1])
        return ids, full(self.lm, ids)

    def composing(self, passages: Passages, share: float) -> Callable[[Query, list[Hit]], Any]:
        return lambda query, hits: (self.ids(query, hits), passages.compose(query, hits, None, share)[0].cache())

    def at_random(self, passages: Passages, share: float) -> Callable[[Query, list[Hit]], Any]:
        def way(query: Query, hits: list[Hit]) -> Any:
            first_layers, rng = composed._first_layers, np.random.default_rng(0)
            composed._first_layers = lambda *given: rng.random(len(first_layers(*given)))  # type: ignore[assignment]
            try:
                return self.composing(passages, share)(query, hits)
            finally:
                composed._first_layers = first_layers

        return way


def compared(lm: CausalLM, modes: Modes, one: Asked, hits: list[Hit]) -> dict[str, dict[str, float]]:
    """The figures of each way for one question."""
    query, ids = Query(one.text), modes.ids(Query(one.text), hits)
    read = full(lm, ids)
    said = "".join(lm.stream(ids, TOKENS, cache=read))
    answer = list(lm.tokenizer(said, add_special_tokens=False)["input_ids"])
    read.crop(len(ids) - 1 - read.get_seq_length())
    true = behind(lm, read, [ids[-1], *answer], len(ids) - 1)
    found = {"full read": {"f1": f1(said, one.answer), "said": 1.0, "kl": 0.0, "top1": 1.0}}
    for name, way in modes.ways.items():
        theirs, cache = way(query, hits)
        text = "".join(lm.stream(theirs, TOKENS, cache=cache))
        cache.crop(len(theirs) - 1 - cache.get_seq_length())
        got = behind(lm, cache, [theirs[-1], *answer], len(theirs) - 1)
        kl = (true.exp() * (true - got)).sum(-1).mean()
        same = (true.argmax(-1) == got.argmax(-1)).float().mean()
        found[name] = {"f1": f1(text, one.answer), "said": f1(text, said), "kl": float(kl), "top1": float(same)}
    return found


def timed(lm: CausalLM, modes: Modes, asked: Sequence[Asked], texts: dict[str, str]) -> dict[str, list[float]]:
    """Processor seconds to the first token of prompts of about TIMED tokens, each way once before it counts."""
    found: dict[str, list[float]] = {}
    ways = {"full read": lambda q, h: (ids := modes.ids(q, h), full(lm, ids)), **modes.ways}
    for n, one in enumerate(asked):
        most = next(k for k in range(1, 99) if len(modes.ids(Query(one.text), hits_of(one, texts, k, n))) >= TIMED)
        hits = hits_of(one, texts, most, n)
        for name, way in ways.items():
            if name != "full read":
                way(Query(one.text), hits)  # the paragraphs are read now
            began = time.process_time()
            ids, cache = way(Query(one.text), hits)
            lm.read(ids[-1:], cache, position_ids=torch.tensor([[len(ids) - 1]]))
            found.setdefault(name, []).append(time.process_time() - began)
        modes.kept.always.clear()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--passages", type=int, default=6)
    parser.add_argument("--shares", default="0,0.15")
    parser.add_argument("--only", default="", help="the way of this name alone, beside the full read")
    parser.add_argument("--timed", type=int, default=3)
    parser.add_argument("--kept", type=Path, help="a file of figures a question, which a further run goes on from")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    texts, everything = load(args.data)
    middle = (max(a.article for a in everything) + 1) / 2
    half = [a for a in everything if (a.article < middle) == (args.half == "first")]
    random.Random(0).shuffle(half)
    lm = load_lm(args.model)
    modes = Modes(lm, [float(share) for share in args.shares.split(",")])
    modes.ways = {name: way for name, way in modes.ways.items() if args.only in ("", name)}
    lines = args.kept.read_text("utf-8").splitlines() if args.kept and args.kept.exists() else []
    found = [json.loads(line) for line in lines]
    try:
        for n, one in enumerate(half[len(found) : args.n], len(found)):
            found.append(compared(lm, modes, one, hits_of(one, texts, args.passages, n)))
            modes.kept.always.clear()
            if args.kept:
                with args.kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found[-1]) + "\n")
            print(f"\r{len(found)} of {args.n}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:  # what there is so far is printed
        print(file=sys.stderr)
    data = f"{args.data.name}, {args.half} half, {args.passages} paragraphs, {args.model}"
    rows = []
    for name in found[0] if found else ():
        for metric in ("f1", "said", "kl", "top1"):
            mean, low, high = interval([each[name][metric] for each in found])
            rows.append(Row("composed", data, name, metric, mean, low, high, len(found)))
        mean, low, high = interval([each[name]["f1"] - each["full read"]["f1"] for each in found])
        rows.append(Row("composed", data, name, "f1 over full", mean, low, high, len(found)))
    times = timed(lm, modes, half[args.n : args.n + args.timed], texts) if args.timed else {}
    for name, took in times.items():
        ratio = median(whole / mine for whole, mine in zip(times["full read"], took))
        rows.append(
            Row(
                "composed",
                f"{TIMED} tokens, {args.model}",
                name,
                "time_ratio",
                ratio,
                n=len(took),
                seconds=median(took),
            )
        )
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
