"""`fovea sweep`: the forecast, the tables, the best pipeline, the page, Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fovea.pipelines.cli.main import main
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sweep.data import StudyData
from fovea.pipelines.sweep.forecast import counts
from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.space import Resolved, Space
from fovea.pipelines.sweep.study import Study
from fovea.rag.errors import ConfigError, MissingExtra
from tests.conftest import ROOT
from tests.sweep_studies import PIPELINE, QUESTIONS, write_study

EXAMPLES = ROOT / "examples"


def test_a_forecast_counts_what_is_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = PIPELINE | {"refine": {"choice": [[], "mmr"]}, "k": {"choice": [2, 60]}}
    path = write_study(tmp_path, pipeline=pipeline, metrics=["faithfulness_lite"])
    assert main(["sweep", str(path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:8] == [
        "small: 24 trials (grid) of 6 questions each",
        "  12 of them are no pipelines, and will be counted as failed",
        "shared by all trials, and computed once:",
        "  segmentations with their vectors  3",
        "  indexes                           3",
        "  retrieved lists                   6 x 6 questions",
        "  refined lists                     6 x 6",
        "  answers                           12 x 6",
    ]
    assert lines[8].startswith("tokens to encode: about ")
    assert not (tmp_path / "small.sweep" / "results.sqlite").exists()


@pytest.mark.parametrize("constraints", [[], ["candidates >= 30"]], ids=["", "constrained"])
def test_a_forecast_of_a_huge_grid_counts_no_more_than_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, constraints: list[str]
) -> None:
    """Two billion configurations: what is resolved is what is looked at, each option once, and little besides."""
    many = {"range": [1000, 2000], "step": 1}
    segment = {"use": "fixed", "max_tokens": many, "overlap": {"range": [0, 999], "step": 1}}
    pipeline = PIPELINE | {"segment": segment, "candidates": {"range": [20, 1019], "step": 1}}
    path = write_study(tmp_path, pipeline=pipeline, constraints=constraints)
    resolved, checked, resolve, pipeline_of = [], [], Space.resolve, Study.pipeline

    def counted(self: Space, suggest: Any) -> Resolved:
        resolved.append(1)
        return resolve(self, suggest)

    def told(self: Study, one: Resolved) -> Any:
        checked.append(1)
        return pipeline_of(self, one)

    monkeypatch.setattr(Space, "resolve", counted)
    monkeypatch.setattr(Study, "pipeline", told)
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "up to 2,002,000,000 trials of 6 questions each; what follows is of 500 drawn by chance:",
        "a grid of more than 100,000 is not run; set search: {use: tpe, trials: 100}",
    ]
    assert sum(resolved) < 600
    assert sum(checked) < 520


def test_constraints_that_leave_little_of_a_large_grid_are_found_out(tmp_path: Path) -> None:
    """What neither the beginning of the grid nor chance finds is looked for."""
    pipeline = {**PIPELINE, "segment": "sentence", "candidates": {"range": [1000, 9000], "step": 1}}
    load_study(write_study(tmp_path, pipeline=pipeline, constraints=["candidates == 8999"]))
    with pytest.raises(ConfigError, match="no configuration is left: the constraints contradict each other"):
        load_study(write_study(tmp_path, pipeline=pipeline, constraints=["candidates == 8999", "candidates < 8999"]))


def test_the_seed_study_has_240_configurations_and_ten_segmentations(tmp_path: Path) -> None:
    data = yaml.safe_load((EXAMPLES / "study_hyperparameters.yaml").read_text())
    data["pipeline"]["encoder"] = "hash"
    data["pipeline"]["refine"] = {"choice": [[], "mmr"]}
    data["baseline"]["refine"] = "none"
    data["pipeline"]["generate"] = {
        "use": "chat", "model": "openai:gpt-4o-mini", "temperature": {"choice": [0, 0.2, 0.4, 0.6, 0.8, 1]}
    }  # fmt: skip
    data |= {"documents": str(EXAMPLES / "library"), "questions": str(EXAMPLES / "questions.jsonl")}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(data))
    study = load_study(path)
    found = counts(study, StudyData(study, tmp_path / "cache"), tmp_path / "cache")
    assert (found.trials, found.invalid, found.libraries, found.indexes) == (240, 0, 10, 20)
    assert (found.lists, found.refined, found.answers, found.written) == (20, 20, 240, 240)


def test_a_sweep_writes_what_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path)
    wanted = {"--best": "best.yaml", "--table": "trials.csv", "--questions-table": "questions.json"}
    arguments = [part for flag, name in wanted.items() for part in (flag, str(tmp_path / name))]
    assert main(["sweep", str(path), "--quiet", *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith("small: 6 trials, 6 complete, 0 pruned, 0 failed; ")
    page = tmp_path / "small.sweep" / "report.html"
    assert said.endswith(f"report: {page}\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "trials.csv").read_text().count("\n") == 7
    assert len(json.loads((tmp_path / "questions.json").read_text())) == 6 * len(QUESTIONS)
    with Pipeline.from_yaml(tmp_path / "best.yaml") as pipeline:
        pipeline.ingest(tmp_path / "docs")
        assert len(pipeline.retrieve("Which river carries the most water?")) == 2
    assert main(["sweep", str(path), "--quiet", "--report", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["bench"] for row in rows} == {"sweep"}


def test_questions_and_documents_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path / "a")
    write_study(tmp_path / "b")
    given = ["--documents", str(tmp_path / "b" / "docs"), "--questions", str(tmp_path / "b" / "questions.jsonl")]
    assert main(["sweep", str(path), "--dry-run", "--limit", "2", *given]) == 0
    assert "6 trials (grid) of 2 questions each" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["0", "many", "ray:x"])
def test_workers_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    assert main(["sweep", str(write_study(tmp_path)), "--quiet", "--workers", workers]) == 2
    assert f"--workers takes a number, ray, or ray:N, got {workers!r}" in capsys.readouterr().err


def test_without_optuna_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fovea.pipelines.sweep.run import Sweep

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"fovea sweep needs the package 'optuna'") as error:
        Sweep(load_study(write_study(tmp_path)), tmp_path / "out")
    assert 'pip install "fovea-rag[sweep]"' in str(error.value)


def test_workers_of_a_ray_cluster_find_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    path = write_study(tmp_path)
    command = [sys.executable, "-m", "fovea.pipelines.cli.main", "sweep", str(path), "--quiet", "--json"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    found = []
    for more in (["--workers", "ray:2", "--out", str(tmp_path / "ray")], ["--out", str(tmp_path / "plain")]):
        done = subprocess.run([*command, *more], capture_output=True, text=True, env=environment, timeout=240)
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout[done.stdout.index("[") :])
        found.append(sorted((r["method"], r["metric"], r["value"]) for r in rows if "seconds" not in r["metric"]))
    assert found[0] == found[1]
