"""Small studies for tests: a handful of documents, questions with spans, and a pipeline without models."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.record import Record
from fovea.pipelines.sweep.run import Sweep
from fovea.pipelines.sweep.trial import Done, Job, Task, Trials, Unfit

TEXTS = {
    "moon.txt": "The moon orbits the earth. It takes about 27 days. Tides follow the moon.",
    "tea.txt": "Green tea is brewed at 80 degrees. Black tea is brewed at 95 degrees. Tea came from China.",
    "rivers.txt": "Rivers flow to the sea. The Amazon carries the most water. The Nile is long.",
    "bees.txt": "Bees gather pollen. A hive has one queen. Honey keeps for years.",
}
QUESTIONS = {
    "How long does the moon take?": ("moon.txt", "It takes about 27 days."),
    "At how many degrees is green tea brewed?": ("tea.txt", "Green tea is brewed at 80 degrees."),
    "Which river carries the most water?": ("rivers.txt", "The Amazon carries the most water."),
    "How many queens has a hive?": ("bees.txt", "A hive has one queen."),
    "Where did tea come from?": ("tea.txt", "Tea came from China."),
    "What do rivers flow to?": ("rivers.txt", "Rivers flow to the sea."),
}
PIPELINE: dict[str, Any] = {
    "encoder": "hash",
    "segment": {"choice": [{"use": "fixed", "max_tokens": {"choice": [8, 16]}}, {"use": "sentence"}]},
    "retrieve": {"choice": ["dense", "bm25"]},
    "k": 2,
}


def write_study(folder: Path, **changes: Any) -> Path:
    """A study file with its documents and questions in `folder`; `changes` are set at the top level."""
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text)
    rows = []
    for i, (question, (name, said)) in enumerate(QUESTIONS.items()):
        at = TEXTS[name].index(said)
        span = {"source": f"docs/{name}", "start": at, "end": at + len(said), "text": said}
        rows.append(json.dumps({"id": f"q{i}", "question": question, "references": [span], "answer": said}))
    (folder / "questions.jsonl").write_text("\n".join(rows))
    study = {
        "study": "small", "documents": "docs/", "questions": "questions.jsonl",
        "objectives": ["R@2", "tokens_passages"], "pipeline": PIPELINE,
    } | changes  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in study.items() if v is not None}, sort_keys=False))
    return path


class Here:
    """A pool of this process alone: no process is started, so studies of tests are fast."""

    size = 1

    def __init__(self, task: Task) -> None:
        self.trials = Trials(task)

    def submit(self, job: Job, seconds: float | None) -> Future[Done]:
        """Run a job, now."""
        done: Future[Done] = Future()
        try:
            done.set_result(Done(job.trial, *self.trials.run(job)))
        except Exception as error:
            done.set_result(Done(job.trial, failed=str(error), fatal=isinstance(error, Unfit)))
        return done

    def close(self) -> None:
        """Let go of the store."""
        self.trials.close()


def swept_here(path: Path, *, out: str = "out", cache: Path | None = None) -> Record:
    """What a study comes to, run in this process."""
    study = load_study(path)
    with Sweep(study, path.parent / out, cache=cache) as sweep:
        sweep.run(Here(sweep.data.task))
        record = sweep.record()
        return replace(record, trials=[replace(t, outcomes=list(t.outcomes)) for t in record.trials])
