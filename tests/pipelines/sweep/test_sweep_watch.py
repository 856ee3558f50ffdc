"""Watching a study from its folder: what runs, what is over, and whose process is dead."""

from __future__ import annotations

import json

import pytest

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Value
from fovea.pipelines.sweep.results import FILE, Claimed, Results
from fovea.pipelines.sweep.watch import watch
from fovea.rag.errors import StoreError
from tests.sweep_records import PLAN, running


def test_a_study_while_it_runs(tmp_path):
    with running(tmp_path / "s.sweep") as results:
        told = watch(tmp_path / "s.sweep")
        assert {key: told[key] for key in PLAN} == PLAN
        assert (told["running"], told["report"]) == (True, False)
        rows = [(row["number"], row["state"], row["done"]) for row in told["rows"]]
        assert rows == [(0, "complete", 3), (1, "failed", 0), (2, "running", 2)]
        assert told["rows"][0]["values"]["R@2"] == {"mean": 0.5, "low": None, "high": None}
        assert told["rows"][1]["reason"] == "<b>no</b> room"
        json.dumps(told, allow_nan=False)
        owners = {path.name.removesuffix("-journal") for path in (tmp_path / "s.sweep" / "owners").iterdir()}
        assert owners == {results.me}, "who watches leaves no trace"
    told = watch(tmp_path / "s.sweep")
    assert (told["running"], told["rows"][2]["state"]) == (False, "interrupted")


def test_of_a_folder_without_a_plan_the_newest_history_is_shown(tmp_path):
    results = Results(tmp_path)
    for history in ("old", "new"):
        results.claim(Claimed(history, {}), history, 0, {"k": 1})
    results.add("new", 0, [Outcome("q0")])
    results.finish("new", "complete", values={"a": Value(1, 0, 2, 1, 1)}, reason="", seconds=1, stages={})
    told = watch(tmp_path)
    assert [row["id"] for row in told["rows"]] == ["new"]
    assert told["trials"] is None
    results.close()


def test_what_is_no_study_is_said(tmp_path):
    with pytest.raises(StoreError, match="no study in this folder"):
        watch(tmp_path)
    (tmp_path / FILE).write_text("not a database, but long enough to be looked at as one")
    with pytest.raises(StoreError, match="cannot read the results"):
        watch(tmp_path)
