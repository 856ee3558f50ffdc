"""The study as tables: trials and questions as flat rows for CSV, Parquet and JSON, and rows of measurements."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fovea.pipelines.evaluation.measurements import Row
from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.pareto import pareto
from fovea.pipelines.sweep.report.ranking import by_question, cached, first, metrics, ranked
from fovea.rag.errors import ConfigError, require
from fovea.rag.write_whole import write_whole

Flat = dict[str, Any]


def rows(record: Record) -> list[Row]:
    """Measurements, one a trial and metric; a trial that is not complete has one row, without a value."""
    made = []
    for trial in record.trials:
        names = [m for m in metrics(record) if m in trial.values and trial.state == "complete"] or [first(record)]
        made += [_row(record, trial, name) for name in names]
    return made


def _row(record: Record, trial: TrialRecord, metric: str) -> Row:
    settings = dict(trial.params)
    found = trial.values.get(metric) if trial.state == "complete" else None
    if found is None:
        settings |= {"state": trial.state, "reason": trial.reason}
    row = Row("sweep", record.questions.name, f"#{trial.number} {trial.id}", metric, None)
    if found is not None:
        row = replace(row, value=found.mean, low=found.ends[0], high=found.ends[1], n=found.n)
    return replace(row, seconds=trial.seconds, settings=settings)


def trials(record: Record) -> list[Flat]:
    """One row a trial, the ranked ones first, all with the same columns; None where there is nothing.

    A trial that is not complete has its state and its reason, and no value of a metric.
    """
    order = ranked(record)
    places = {trial.id: place for place, trial in enumerate(order, 1)}
    front = {trial.id for trial in pareto(record)}
    params = dict.fromkeys(name for trial in record.trials for name in trial.params)
    rest = [trial for trial in record.trials if trial.id not in places]
    made = []
    for trial in [*order, *rest]:
        found, all_ = cached(trial)
        made.append(
            {
                "trial": trial.number, "id": trial.id, "state": trial.state, "rank": places.get(trial.id),
                "on_front": trial.id in front, "baseline": trial.id == record.baseline,
                **{f"param.{name}": trial.params.get(name) for name in params},
                **_values(record, trial),
                "seconds_of_trial": trial.seconds, "stages_cached": found, "stages": all_, "reason": trial.reason,
            }
        )  # fmt: skip
    return made


def _values(record: Record, trial: TrialRecord) -> Flat:
    made: Flat = {}
    for metric in metrics(record):
        found = trial.values.get(metric) if trial.state == "complete" else None
        for key in ("mean", "low", "high", "n", "of"):
            made[metric if key == "mean" else f"{metric}.{key}"] = None if found is None else getattr(found, key)
    return made


def questions(record: Record, of: Sequence[TrialRecord] = ()) -> list[Flat]:
    """One row a complete trial (those of `of`, or all) and question: its scores, `seconds` and tokens, or why it
    failed."""
    names = metrics(record)
    made = []
    for trial in of or record.complete:
        scores = {name: by_question(trial, name) for name in names}
        for outcome in trial.outcomes:
            values = {name: scores[name].get(outcome.question) for name in names}
            head = {"trial": trial.number, "id": trial.id, "question": outcome.question}
            made.append({**head, **values, "answer": outcome.answer, "failed": outcome.failed})
    return made


def write(flat: Sequence[Flat], path: Path) -> None:
    """Write rows, whole, as `.csv`, `.parquet` or `.json`, by the ending of the name.

    Raises ConfigError for another ending, MissingExtra for Parquet without pyarrow.
    """
    writers = {".csv": _csv, ".parquet": _parquet, ".json": _json}
    write_one = writers.get(path.suffix.lower())
    if write_one is None:
        raise ConfigError("a table is written by its ending", where=str(path), allowed=writers, got=path.suffix)
    write_whole(path, lambda part: write_one(flat, part))


def _csv(flat: Sequence[Flat], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.DictWriter(file, list(flat[0]) if flat else [])
        writer.writeheader()
        writer.writerows(flat)


def _json(flat: Sequence[Flat], path: Path) -> None:
    path.write_text(json.dumps(list(flat), indent=1), encoding="utf-8")


def _parquet(flat: Sequence[Flat], path: Path) -> None:
    pyarrow = require("pyarrow", extra="tables", needed_by="a table in Parquet")
    parquet = require("pyarrow.parquet", extra="tables", needed_by="a table in Parquet")
    names = list(flat[0]) if flat else []
    table = pyarrow.table({name: pyarrow.array(_of_one_type([row[name] for row in flat])) for name in names})
    parquet.write_table(table, path)


def _of_one_type(column: list[Any]) -> list[Any]:
    """A column of Parquet has one type: numbers together are numbers, any other mixture is text."""
    kinds = {type(cell) for cell in column if cell is not None}
    if kinds == {int, float}:
        return [None if cell is None else float(cell) for cell in column]
    if len(kinds) > 1 or str in kinds:
        return [None if cell is None else str(cell).encode("utf-8", "replace").decode() for cell in column]
    return column
