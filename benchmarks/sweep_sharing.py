"""A sweep of 48 trials against 48 separate runs: the time, and whether both find the same.

    python -m benchmarks.sweep_sharing [--documents PATH --questions FILE] [--limit N] [--workers 1] [--json]

4 segmenters x 3 sizes x 2 stores x 2 re-rankers. A separate run ingests the documents into a store of its own, asks the
questions and measures, as `fovea ingest` and `fovea eval` do; all of them run in one process with the encoder's model
loaded once, so the starts of 48 processes do not count. The sweep's time is all of it: its processes, its caches,
results and report. Every value but times must be equal, trial by trial.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.pool import LocalPool
from fovea.pipelines.sweep.record import Record
from fovea.pipelines.sweep.report.html import write_html
from fovea.pipelines.sweep.report.ranking import ranked
from fovea.pipelines.sweep.run import Sweep
from fovea.pipelines.sweep.study import Study

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZES = {"choice": [100, 200, 400], "as": "size"}
PIPELINE: dict[str, Any] = {
    "encoder": "sentence_transformer",
    "segment": {
        "choice": [
            {"use": "fixed", "max_tokens": SIZES}, {"use": "recursive", "max_tokens": SIZES},
            {"use": "sentence", "max_tokens": SIZES}, {"use": "hnet_rule", "max_tokens": SIZES},
        ]
    },
    "store": {"choice": [{"use": "embedded", "index": "flat"}, {"use": "chroma"}]},
    "retrieve": "dense",
    "refine": {"choice": [[], {"use": "reranker"}]},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, default=EXAMPLES / "library")
    parser.add_argument("--questions", type=Path, default=EXAMPLES / "questions.jsonl")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = load_study(written(Path(folder), args))
        began = time.perf_counter()
        record = swept(study, Path(folder) / "out", args.workers)
        sweep = time.perf_counter() - began
        began = time.perf_counter()
        alone = separate(study, record, Path(folder) / "alone")
        runs = time.perf_counter() - began
    data, n = args.documents.name, len(record.trials)
    found = {"seconds": sweep, "share of the runs' time": sweep / runs, "same values": same(record, alone)}
    rows = [Row("sweep_sharing", data, f"sweep, {args.workers} workers", k, v, n=n) for k, v in found.items()]
    rows += [Row("sweep_sharing", data, "separate runs", "seconds", runs, n=n)]
    rows += [
        Row("sweep_sharing", data, f"best of the sweep: {best(record)}", "R@5", ranked(record)[0].values["R@5"].mean)
    ]
    print(show(rows, as_json=args.json))


def written(folder: Path, args: argparse.Namespace) -> Path:
    study = {
        "study": "sharing", "documents": [str(args.documents.resolve())], "questions": str(args.questions.resolve()),
        "objectives": ["R@5", "tokens_passages"], "metrics": ["span_iou", "MRR@5"], "pipeline": PIPELINE,
        **({"limit": args.limit} if args.limit else {}),
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def swept(study: Study, folder: Path, workers: int) -> Record:
    with Sweep(study, folder) as sweep:
        sweep.run(LocalPool(sweep.data.task, workers, None))
        record = sweep.record()
        write_html(record, folder / "report.html")
        return record


def separate(study: Study, record: Record, folder: Path) -> dict[str, dict[str, float]]:
    """By trial, the means of its metrics as a run of its own gives them."""
    encoder = study.pipeline(study.baseline).encoder
    found = {}
    for trial, resolved in zip(record.trials, study.grid):
        spec = study.pipeline(resolved)
        store = spec.store.model_copy(update={"path": folder / trial.id})
        spec = spec.model_copy(update={"store": store, "encoder": encoder})
        with Pipeline(spec=spec, base=study.base) as pipeline:
            pipeline.ingest(study.spec.documents)
            values = Evaluator(pipeline, record.questions, study.metrics).evaluate().values()
        found[trial.id] = {name: value.mean for name, value in values.items()}
    return found


def same(record: Record, alone: dict[str, dict[str, float]]) -> float:
    """The share of trials of which every value but times is equal in both."""
    equal = [
        all(abs(v.mean - alone[t.id][name]) < 1e-12 for name, v in t.values.items() if not name.startswith("seconds"))
        for t in record.trials
    ]
    return sum(equal) / len(equal)


def best(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in ranked(record)[0].params.items())


if __name__ == "__main__":
    main()
