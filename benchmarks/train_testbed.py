"""Train the testbed: a small Llama that looks up what it read, from short pages to long ones.

    python -m benchmarks.train_testbed --data ../shared/data --work WORK [--out benchmarks/testbed] [--minutes 90]
    torchrun --nproc-per-node 2 -m benchmarks.train_testbed ...      # the same, a process and a thread for each core

Natural text, and tasks with answers hidden in it (`benchmarks/testbed_tasks`). Pages grow along `STAGES`, a share of
the training time each. In half of the rows positions jump (PoSE, arXiv 2309.10400), so that distances up to the whole
window of 131,072 are learnt on short rows. Stopped at any time, the same command goes on from the last checkpoint in
WORK.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from transformers import AutoTokenizer

from benchmarks.testbed_tasks import texts
from benchmarks.testbed_tasks.learner import WINDOW, Batch, Learner, new_model
from benchmarks.testbed_tasks.page import Page
from benchmarks.testbed_tasks.prompts import FIRST, episode
from benchmarks.testbed_tasks.tasks import TASKS

OUT = Path(__file__).parent / "testbed"
VOCABULARY = 2048


@dataclass(frozen=True)
class Stage:
    """Rows of `length`, `rows` of them a step on each process, until this `share` of the training time is over."""

    length: int
    rows: int
    until: float


STAGES = (
    Stage(128, 16, 0.31),
    Stage(256, 8, 0.36),
    Stage(512, 4, 0.40),
    Stage(1024, 2, 0.47),
    Stage(2048, 1, 0.58),
    Stage(4096, 1, 0.75),
    Stage(8192, 1, 1.0),
)
CHUNK = 2048
"""Tokens of one forward pass, unless a single row is longer: activations then stay in the cache."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data folder, or a folder of .txt files")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints are kept")
    parser.add_argument("--out", type=Path, default=OUT, help="where the model, its tokenizer and the log are written")
    parser.add_argument("--minutes", type=float, default=90, help="training time, over all runs")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    torch.set_num_threads(1 if dist.is_initialized() else torch.get_num_threads())
    keep_memory()
    train(args)


def keep_memory() -> None:
    """Let glibc keep freed memory: handing back and faulting in activations took half of the time."""
    trim, mmap_max = -1, -4
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim, 2**31 - 1)
    except (OSError, AttributeError):
        return


def train(args: argparse.Namespace, stages: tuple[Stage, ...] = STAGES, every: float = 180, **shape: int) -> Learner:
    """Train for `args.minutes` in all, a checkpoint every `every` seconds; returns what was learnt."""
    rank, tokenizer, filler = _texts(args)
    page, first = Page(tokenizer, filler), Page(tokenizer, filler, most_words=64)
    learner = Learner(new_model(len(tokenizer), tokenizer.eos_token_id, args.seed, **shape), args.rate)
    learner.load(args.work)
    if rank == 0:
        _forget(args.out, learner.done["step"])
    last, logged, seen = time.monotonic(), time.monotonic(), []
    budget = args.minutes * 60
    clock = learner.done["seconds"]
    while (progress := clock / budget) < 1:
        began = time.monotonic()
        stage = next(s for s in stages if progress < s.until)
        batches = list(_batches(page, first, stage, [args.seed, learner.done["step"], rank]))
        share = _share(learner.done["step"], progress)
        seen.append(learner.step(batches, share, learner.done["seconds"] if rank == 0 else 0))
        clock = seen[-1]["seconds"]
        learner.done["step"] += 1
        learner.done["tokens"] += stage.rows * stage.length * _processes()
        learner.done["seconds"] += time.monotonic() - began
        if rank == 0 and time.monotonic() - logged > min(every, 20):
            _log(args.out, learner.done, stage, seen)
            logged, seen = time.monotonic(), []
        if rank == 0 and time.monotonic() - last > every:
            learner.save(args.work)
            learner.publish(args.out, tokenizer)
            last = time.monotonic()
    if rank == 0:
        _log(args.out, learner.done, stages[-1], seen)
        learner.save(args.work)
        learner.publish(args.out, tokenizer)
    return learner


def _texts(args: argparse.Namespace) -> tuple[int, Any, np.ndarray]:
    """This process's rank, the tokenizer (made by the first run) and the training text in its tokens."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    kept, made = args.work / "text.npy", args.work / "tokenizer"
    if rank == 0 and not kept.exists():
        training, _ = texts.split(texts.documents(args.data))
        tokenizer = texts.train_tokenizer(training, VOCABULARY)
        tokenizer.save_pretrained(made)
        args.out.mkdir(parents=True, exist_ok=True)
        np.save(args.work / "part.npy", texts.encode(training, tokenizer))
        os.replace(args.work / "part.npy", kept)
    if dist.is_initialized():
        dist.barrier()
    return rank, AutoTokenizer.from_pretrained(made), np.load(kept)


def _batches(page: Page, first: Page, stage: Stage, seed: list[int]) -> Iterator[Batch]:
    """The rows of one step in chunks of `CHUNK` tokens, the same for the same seed."""
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK // stage.length)
    for start in range(0, stage.rows, rows):
        drawn = [
            episode(rng, first if stage.length <= FIRST else page, stage.length)
            for _ in range(min(rows, stage.rows - start))
        ]
        where = np.stack([positions(rng, stage.length) for _ in drawn])
        ids, kinds = np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn])
        yield torch.from_numpy(ids), torch.from_numpy(kinds), torch.from_numpy(where)


def positions(rng: np.random.Generator, length: int) -> np.ndarray:
    """0, 1, 2, ...; in half of the rows with one or two jumps, as far as the window allows, short ones as often."""
    found = np.arange(length)
    if rng.random() < 0.5:
        for cut in rng.integers(1, length, int(rng.integers(1, 3))):
            found[cut:] += int(np.exp(rng.uniform(0, np.log((WINDOW - length) / 2))))
    return found


def _share(step: int, progress: float) -> float:
    """Warm up over 100 steps, hold, and from 60 % of the time on fall linearly to a twentieth."""
    return min(1, (step + 1) / 100) * min(1.0, 1 - 0.95 * (progress - 0.6) / 0.4)


def _processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _forget(out: Path, step: int) -> None:
    """Drop log lines later than the checkpoint that training goes on from."""
    path = out / "training.jsonl"
    if path.exists():
        lines = [x for x in path.read_text("utf-8").splitlines() if json.loads(x)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _log(out: Path, done: dict[str, Any], stage: Stage, seen: list[dict[str, Any]]) -> None:
    """One line of the training log: the means since the line before."""
    if not seen:
        return
    means = {key: round(float(np.mean([s[key] for s in seen])), 4) for key in ("text", "answer", "norm")}
    right, asked = (sum(s[key] for s in seen) for key in ("right", "asked"))
    rates = {task: round(float(r / n), 3) for task, r, n in zip(TASKS, right, asked) if n}
    line = {**done, "seconds": round(done["seconds"], 1), "length": stage.length, **means, "right": rates}
    out.mkdir(parents=True, exist_ok=True)
    with (out / "training.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    main()
