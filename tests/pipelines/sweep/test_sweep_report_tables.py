"""Tables, the best pipeline as YAML, and the log in MLflow."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.evaluation.measurements import show
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.report import tables
from fovea.pipelines.sweep.report.best import best_yaml, plain_yaml
from fovea.pipelines.sweep.report.mlflow_log import log_study
from fovea.rag.errors import ConfigError, FoveaError, MissingExtra
from tests.sweep_records import BOTH, large, record, trial

TRIALS = [
    trial(0, [0.5, 0.25], cost=1.0, params={"size": 200, "rerank": None}, seconds=3.0, stages={"segment": (1, 2)}),
    trial(1, [0.75, 0.5], params={"size": 0.5, "rerank": "minilm"}),
    trial(2, params={"size": "all"}, state="failed", reason="it hung,\nfor \"long\""),
]  # fmt: skip
STUDY = record(TRIALS, BOTH, baseline=TRIALS[0].id)


def test_one_row_a_trial():
    first, second, failed = tables.trials(STUDY)
    assert (first["trial"], first["rank"], first["on_front"], first["nDCG@10"], first["seconds"]) == (
        1,
        1,
        False,
        0.625,
        None,
    )
    assert (second["baseline"], second["nDCG@10.low"], second["nDCG@10.n"], second["nDCG@10.of"]) == (True, 0.25, 2, 2)
    assert (second["on_front"], second["seconds"], second["seconds_of_trial"]) == (True, 1.0, 3.0)
    assert (second["stages_cached"], second["stages"]) == (2, 3)
    assert (failed["state"], failed["rank"], failed["nDCG@10"], failed["param.rerank"]) == ("failed", None, None, None)
    assert failed["reason"] == 'it hung,\nfor "long"'
    assert list(first) == list(second) == list(failed)


def test_rows_of_measurements():
    made = tables.rows(STUDY)
    assert [(r.method.split()[0], r.metric, r.value, r.n) for r in made] == [
        ("#0", "nDCG@10", 0.375, 2), ("#0", "seconds", 1.0, 10), ("#1", "nDCG@10", 0.625, 2),
        ("#2", "nDCG@10", None, None),
    ]  # fmt: skip
    assert made[0].settings == {"size": 200, "rerank": None}
    assert made[-1].settings["state"] == "failed"
    assert json.loads(show(made, as_json=True))[1]["seconds"] == 3.0
    assert "missing" in show(made)


def test_a_complete_trial_without_any_metric_has_its_row():
    (row,) = tables.rows(record([trial(0, values={})]))
    assert (row.metric, row.value, row.settings["state"]) == ("nDCG@10", None, "complete")


def test_one_row_a_question():
    made = tables.questions(STUDY)
    assert [(r["trial"], r["question"], r["nDCG@10"]) for r in made] == [
        (0, "q0", 0.5),
        (0, "q1", 0.25),
        (1, "q0", 0.75),
        (1, "q1", 0.5),
    ]
    broken = replace(TRIALS[1], outcomes=(replace(TRIALS[1].outcomes[0], failed="no vector"),))
    (row,) = tables.questions(STUDY, [broken])
    assert (row["nDCG@10"], row["failed"]) == (None, "no vector"), "a failure carries no number"


@pytest.mark.parametrize("make", [tables.trials, tables.questions])
def test_the_same_in_every_form(tmp_path, make):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    flat = make(STUDY)
    for ending in ("csv", "json", "parquet"):
        tables.write(flat, tmp_path / f"t.{ending}")
    assert json.loads((tmp_path / "t.json").read_text()) == flat
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [{k: "" if v is None else str(v) for k, v in row.items()} for row in flat]
    back = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    text = {"param.size"}  # 200, 0.5 and "all" are of no one type, and become text
    assert back == [{k: str(v) if k in text and v is not None else v for k, v in row.items()} for row in flat]
    tables.write([], tmp_path / "none.csv")
    tables.write([], tmp_path / "none.parquet")


def test_another_ending(tmp_path):
    with pytest.raises(ConfigError) as caught:
        tables.write([], tmp_path / "t.parquett")
    assert str(caught.value) == (
        f"{tmp_path / 't.parquett'}: a table is written by its ending\n"
        "  allowed: .csv, .parquet, .json\n  did you mean '.parquet'?"
    )


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as caught:
        tables.write(tables.trials(STUDY), tmp_path / "t.parquet")
    assert str(caught.value) == (
        "a table in Parquet needs the package 'pyarrow', which is not installed\n"
        '  fix: pip install "fovea-rag[tables]"'
    )
    assert list(tmp_path.iterdir()) == []


def test_the_best_pipeline_loads():
    settings = PipelineSpec.model_validate({"encoder": "hash", "k": 7, "refine": ["cross_encoder"]}).settings()
    trials = [trial(4, [0.75, 0.5], settings=settings), trial(5, 0.25, settings={})]
    written = best_yaml(replace(record(trials), name="a\nstudy: \u2028 x"))
    assert written.startswith(
        "# Written by fovea sweep: trial 4 (0000000000000004) of a study:   x, the best of 2 that are complete\n"
        f"# nDCG@10 0.625 [0.500, 0.750] on 2 questions of numbers ({record([]).questions.fingerprint})\nname: fovea\n"
    )
    found = check(yaml_source.parse(written)).settings()
    assert found.pop("store") == settings["store"] | {"path": ".fovea/store-00000004"}, "no other winner has it"
    assert found == {key: value for key, value in settings.items() if key != "store"}


def test_the_best_of_a_large_study_loads():
    assert check(yaml_source.parse(best_yaml(large(48, 10)))).k == 5


TRAPS = [
    "1e5",
    "5.",
    ".5",
    "0x1f",
    "1_000",
    "no",
    "~",
    "2020-01-01",
    "012",
    "+1",
    "null",
    "!env X",
    "= ",
    "<<",
    "a: b",
    "\x85",
]
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TRAPS)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)  # fmt: skip
NAMES = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1)
PLAIN = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@given(PLAIN)
def test_yaml_gives_back_what_was_written(plain):
    back = yaml_source.parse(plain_yaml({"x": plain})).data["x"]
    assert back == plain
    assert repr(back) == repr(plain), "1 and True and 1.0 are three"


def test_shared_parts_are_written_out():
    shared = {"use": "hash"}
    assert plain_yaml({"a": shared, "b": [shared, shared]}).count("use: hash") == 3


def test_no_best_pipeline():
    study = record([trial(0, state="failed"), trial(1, state="pruned"), trial(2, state="failed")])
    with pytest.raises(FoveaError) as caught:
        best_yaml(study)
    assert str(caught.value) == (
        "a study: no trial is complete and has nDCG@10, so there is no best one: 1 pruned, 2 failed\n"
        "  fix: see the reasons in the report, mend the study and run it again"
    )


class FakeClient:
    """What MLflow keeps, in memory, with its rules: names without @, and a hundred entries a call."""

    def __init__(self, tracking_uri):
        self.uri, self.experiments, self.runs = tracking_uri, {}, []

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name):
        self.experiments[name] = True
        return name

    def search_runs(self, places, query, max_results):
        return [
            r for r in self.runs if r.place in places and query == f"tags.`fovea.trial` = '{r.tags['fovea.trial']}'"
        ]

    def create_run(self, place, run_name, tags):
        info = SimpleNamespace(run_id=len(self.runs), status="RUNNING")
        run = SimpleNamespace(place=place, name=run_name, tags=dict(tags), params={}, metrics={}, info=info)
        self.runs.append(run)
        return run

    def log_batch(self, run_id, metrics, params, tags):
        for kept, entries in zip(
            (self.runs[run_id].metrics, self.runs[run_id].params, self.runs[run_id].tags), (metrics, params, tags)
        ):
            assert len(entries) <= 100
            assert not [e.key for e in entries if "@" in e.key]
            kept.update((e.key, e.value) for e in entries)

    def set_terminated(self, run_id, status):
        self.runs[run_id].info.status = status


class Refusal:
    MlflowException = type("MlflowException", (Exception,), {})


@pytest.fixture
def mlflow(monkeypatch):
    def entity(*names):
        return lambda *given: SimpleNamespace(**dict(zip(names, given)))

    client = FakeClient("")
    entities = SimpleNamespace(
        Param=entity("key", "value"), Metric=entity("key", "value", "timestamp", "step"), RunTag=entity("key", "value")
    )
    fake = SimpleNamespace(MlflowClient=lambda tracking_uri: client, entities=entities, exceptions=Refusal)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return client


def test_a_run_a_trial_in_mlflow(mlflow):
    wide = replace(TRIALS[0], params={f"p{i}": i for i in range(250)})
    study = record([wide, *TRIALS[1:]], BOTH, baseline=wide.id, command="fovea sweep x.yaml")
    assert log_study(study, "somewhere") == 3
    first, second, failed = mlflow.runs
    assert len(first.params) == 250
    assert first.metrics == pytest.approx({
        "nDCG_at_10": 0.375, "nDCG_at_10.low": 0.25, "nDCG_at_10.high": 0.5,
        "seconds": 1.0, "seconds.low": 0.98, "seconds.high": 1.02,
    })  # fmt: skip
    assert (first.tags["fovea.baseline"], first.tags["fovea.command"], first.name) == (
        "true",
        "fovea sweep x.yaml",
        "#0",
    )
    assert second.params == {"size": "0.5", "rerank": "minilm"}
    assert (failed.info.status, failed.metrics, failed.tags["fovea.reason"]) == ("FAILED", {}, 'it hung,\nfor "long"')


def test_a_study_that_has_grown_is_logged_again(mlflow):
    assert log_study(record(TRIALS[:2]), "somewhere") == 2
    mlflow.runs[1].info.status = "RUNNING"  # as a kill leaves it
    assert log_study(record(TRIALS), "somewhere") == 2
    assert [run.name for run in mlflow.runs] == ["#0", "#1", "#1", "#2"]
    assert log_study(record(TRIALS), "somewhere") == 0
    assert log_study(record(TRIALS), "somewhere", experiment="another") == 3


def test_what_mlflow_refuses(mlflow, monkeypatch):
    def refuse(name):
        raise Refusal.MlflowException("the disk is full")

    monkeypatch.setattr(mlflow, "create_experiment", refuse)
    with pytest.raises(FoveaError) as caught:
        log_study(STUDY, "sqlite:///x.db")
    assert str(caught.value) == (
        "sqlite:///x.db: MLflow refused: the disk is full\n"
        "  fix: a database that it can write, such as sqlite:///mlflow.db"
    )


def test_without_mlflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtra) as caught:
        log_study(STUDY, "somewhere")
    assert str(caught.value).endswith('fix: pip install "fovea-rag[mlflow]"')
