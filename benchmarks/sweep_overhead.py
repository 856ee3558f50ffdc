"""What the sweep engine itself costs: trials that do nothing, then opening, resuming and reporting a study of them.

    python -m benchmarks.sweep_overhead [--trials 5000] [--questions 20] [--search grid|random|tpe] [--json]

Trials give made-up outcomes at once, so what is measured is asking, claiming, keeping, telling, and the page. A second
process opens the finished study, finds nothing to run, and writes the report; its peak memory is measured too.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import yaml

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.report.html import write_html
from fovea.pipelines.sweep.report.text import summary
from fovea.pipelines.sweep.run import Sweep
from fovea.pipelines.sweep.trial import Done, Job


class StubPool:
    """Outcomes by chance, at once."""

    size = 1

    def __init__(self, ids: list[str]) -> None:
        self.ids, self.jobs = ids, 0

    def submit(self, job: Job, seconds: float | None) -> Future[Done]:
        rng = random.Random(job.trial)
        self.jobs += 1
        done: Future[Done] = Future()
        outcomes = tuple(_outcome(rng, id_) for id_ in self.ids[job.first : job.last])
        done.set_result(Done(job.trial, outcomes, {"retrieve": (1, 1)}, 0.001))
        return done

    def close(self) -> None:
        pass


def _outcome(rng: random.Random, id_: str) -> Outcome:
    scores = {"R@5": rng.random(), "seconds": rng.random() / 10, "tokens_passages": float(rng.randrange(1000))}
    hits = tuple(("doc.txt", 10 * i, 10 * i + 9, 1.0 - i / 10) for i in range(5))
    return Outcome(id_, scores, {"retrieve dense": 0.01, "total": 0.02}, {"passages": 300}, hits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--search", default="grid", choices=["grid", "random", "tpe"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--reopen", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reopen:
        print(json.dumps(reopened(args.reopen)))
        return
    with tempfile.TemporaryDirectory() as folder:
        study = written(Path(folder), args.trials, args.questions, args.search)
        began = time.perf_counter()
        jobs = run(study)
        spent = time.perf_counter() - began
        command = [sys.executable, "-m", "benchmarks.sweep_overhead", "--reopen", str(study)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    data, name = f"{args.trials} trials of {args.questions} questions", f"fovea sweep, {args.search}"
    measured = [("ms a trial", 1000 * spent / max(1, jobs)), *found.items()]
    print(show([Row("sweep_overhead", data, name, m, v, n=jobs) for m, v in measured], as_json=args.json))


def written(folder: Path, trials: int, questions: int, search: str) -> Path:
    """A study of so many configurations, over documents that nobody reads."""
    (folder / "doc.txt").write_text("A sentence. " * 100)
    spans = [{"document": "doc.txt", "start": 12 * i, "end": 12 * i + 11} for i in range(questions)]
    rows = [json.dumps({"id": f"q{i}", "question": f"What is {i}?", "references": [s]}) for i, s in enumerate(spans)]
    (folder / "questions.jsonl").write_text("\n".join(rows))
    # A sampler that meets what it has tried before asks again: it is given room, as real spaces do.
    room = trials if search == "grid" else 100 * trials
    side = round(room**0.5 + 0.499)
    pipeline: dict[str, Any] = {
        "encoder": "hash", "candidates": {"range": [1000, 999 + side]},
        "segment": {"choice": ["fixed", "sentence"]}, "k": {"range": [1, -(-room // side // 2)]},
    }  # fmt: skip
    study = {
        "study": "stub", "documents": ["doc.txt"], "questions": "questions.jsonl", "objectives": ["R@5", "seconds"],
        "search": {"use": search, "trials": trials}, "pipeline": pipeline,
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def run(path: Path) -> int:
    """Run it; how many trials there were to run."""
    with Sweep(load_study(path), path.parent / "stub.sweep") as sweep:
        pool = StubPool([q.id for q in sweep.data.questions.questions])
        sweep.run(pool)
    return pool.jobs


def reopened(path: Path) -> dict[str, float]:
    """Seconds and MB of opening a finished study, finding nothing to run, and reporting it."""
    began = time.perf_counter()
    if run(path):
        raise RuntimeError("trials were run twice")
    resumed = time.perf_counter()
    with Sweep(load_study(path), path.parent / "stub.sweep") as sweep:
        record = sweep.record()
        write_html(record, path.parent / "report.html")
        summary(record)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    page = (path.parent / "report.html").stat().st_size / 1000
    now = time.perf_counter()
    return {"s to open and resume": resumed - began, "s to report": now - resumed, "peak MB": peak, "page kB": page}


if __name__ == "__main__":
    main()
