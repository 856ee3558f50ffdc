"""A study into MLflow, on request: one run a trial."""

from __future__ import annotations

import os
import re
from math import isfinite
from typing import Any

from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.ranking import show
from fovea.rag.errors import FoveaError, require

ENDS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
MOST = 100
"""How many parameters, tags or metrics MLflow takes at once."""
LONGEST = 500
"""How many characters of a text are kept; every version of MLflow takes as many."""
TAG = "fovea.trial"


def log_study(record: Record, uri: str, *, experiment: str = "") -> int:
    """Write every trial as a run of the experiment (the study's name by default); returns how many were new.

    A trial that is there already, by its id, is left as it is, so a study can be logged again when it has grown.
    Metrics go in with `.low` and `.high`; characters that MLflow refuses in a name become `_`, and `@` becomes `_at_`.
    Trials that failed or were pruned have their reason as a tag, and no metric. `uri` is where MLflow keeps its runs:
    `sqlite:///mlflow.db`, a server. Raises MissingExtra without mlflow, FoveaError where MLflow refuses.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = require("mlflow", extra="mlflow", needed_by="the log of a study in MLflow")
    try:
        return _log_all(mlflow, record, uri, experiment or record.name)
    except mlflow.exceptions.MlflowException as error:
        raise FoveaError(
            f"MLflow refused: {error}", where=uri, fix="a database that it can write, such as sqlite:///mlflow.db"
        ) from None


def _log_all(mlflow: Any, record: Record, uri: str, name: str) -> int:
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(name)
    place = found.experiment_id if found else client.create_experiment(name)
    new = [trial for trial in record.trials if not _logged(client, place, trial)]
    for trial in new:
        _log(mlflow, client, place, record, trial)
    return len(new)


def _logged(client: Any, place: str, trial: TrialRecord) -> bool:
    """A run that ended is whole; one that was cut off while it was written is not."""
    runs = client.search_runs([place], f"tags.`{TAG}` = '{trial.id}'", max_results=10)
    return any(run.info.status in ENDS.values() for run in runs)


def _log(mlflow: Any, client: Any, place: str, record: Record, trial: TrialRecord) -> None:
    run = client.create_run(place, run_name=f"#{trial.number}", tags={TAG: trial.id}).info.run_id
    entities = mlflow.entities
    params = [entities.Param(_name(key), show(choice)[:LONGEST]) for key, choice in trial.params.items()]
    metrics = [entities.Metric(_name(key), number, 0, 0) for key, number in _numbers(trial)]
    tags = [entities.RunTag(key, text[:LONGEST]) for key, text in _tags(record, trial).items() if text]
    for at in range(0, max(len(params), len(metrics), len(tags)), MOST):
        client.log_batch(run, metrics[at : at + MOST], params[at : at + MOST], tags[at : at + MOST])
    client.set_terminated(run, ENDS[trial.state])


def _numbers(trial: TrialRecord) -> list[tuple[str, float]]:
    if trial.state != "complete":
        return []
    found = [(f"{m}{part}", getattr(v, key)) for m, v in trial.values.items() for part, key in _PARTS]
    return [(name, number) for name, number in found if isfinite(number)]


_PARTS = (("", "mean"), (".low", "low"), (".high", "high"))


def _tags(record: Record, trial: TrialRecord) -> dict[str, str]:
    return {
        "fovea.state": trial.state,
        "fovea.reason": trial.reason,
        "fovea.baseline": "true" if trial.id == record.baseline else "",
        "fovea.questions": f"{record.questions.name} {record.questions.fingerprint}",
        "fovea.seconds": f"{trial.seconds:.3f}",
        "fovea.command": record.command,
        "fovea.machine": record.machine,
    }


def _name(text: str) -> str:
    return re.sub(r"[^\w./ -]", "_", text.replace("@", "_at_"))[:250]
