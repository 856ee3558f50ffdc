"""A study that goes on over other data shows nothing of what was measured on the old."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fovea.pipelines.sweep.data import StudyData
from fovea.pipelines.sweep.load import load_study
from tests.pipelines.sweep.test_sweep_run import swept, table
from tests.sweep_studies import PIPELINE, TEXTS, write_study

pytest.importorskip("optuna")
TWO: dict[str, Any] = {**PIPELINE, "segment": "sentence"}


def another_document(folder: Path) -> None:
    (folder / "docs" / "more.txt").write_text("Two queens fight. Green tea at 80 degrees is mild. The moon takes time.")


def fewer_questions(folder: Path) -> None:
    questions = folder / "questions.jsonl"
    questions.write_text("\n".join(questions.read_text().splitlines()[:3]))


def other_gold(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    for row in rows:
        (reference,) = row["references"]
        text = TEXTS[reference["source"].removeprefix("docs/")]
        start = text.rindex(". ", 0, len(text) - 1) + 2
        row["references"] = [{**reference, "start": start, "end": len(text), "text": text[start:]}]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def one_metric_more(folder: Path) -> None:
    study = yaml.safe_load((folder / "study.yaml").read_text())
    (folder / "study.yaml").write_text(yaml.safe_dump({**study, "metrics": ["MRR@2"]}, sort_keys=False))


@pytest.mark.parametrize("change", [another_document, fewer_questions, other_gold, one_metric_more])
def test_changed_data_are_measured_anew(tmp_path, change):
    path, fresh = write_study(tmp_path / "on", pipeline=TWO), write_study(tmp_path / "anew", pipeline=TWO)
    before = swept(path)
    change(path.parent)
    change(fresh.parent)
    after = swept(path)
    assert table(after) == table(swept(fresh))
    assert {t.id for t in after.trials}.isdisjoint(t.id for t in before.trials)


def test_half_a_study_and_the_rest_over_other_documents_are_not_mixed(tmp_path):
    path = write_study(tmp_path / "on", pipeline=TWO, search={"use": "grid", "trials": 1})
    swept(path)
    write_study(tmp_path / "on", pipeline=TWO)
    another_document(path.parent)
    fresh = write_study(tmp_path / "anew", pipeline=TWO)
    another_document(fresh.parent)
    assert table(swept(path)) == table(swept(fresh))


def test_back_on_the_old_data_nothing_is_run_again(tmp_path):
    path = write_study(tmp_path, pipeline=TWO)
    first = table(swept(path))
    another_document(tmp_path)
    swept(path)
    (tmp_path / "docs" / "more.txt").unlink()
    assert table(swept(path)) == first


def test_a_model_is_known_by_its_content(tmp_path):
    model = tmp_path / "lm"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    generate = {"use": "transformers", "model": str(model)}
    study = load_study(write_study(tmp_path, pipeline={**TWO, "generate": generate}))
    first = StudyData(study, tmp_path).fingerprint
    assert StudyData(study, tmp_path).fingerprint == first
    (model / "model.safetensors").write_bytes(b"two")
    assert StudyData(study, tmp_path).fingerprint != first
