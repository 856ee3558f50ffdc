"""Running studies: shared stages, resuming after kill -9, limits, failures, several processes, searches, pruning."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sweep.cache_file import CacheFile
from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.pool import LocalPool
from fovea.pipelines.sweep.record import Record
from fovea.pipelines.sweep.run import Sweep
from fovea.pipelines.sweep.suggest import Suggestions
from fovea.rag.errors import ConfigError, StoreError
from fovea.rag.trace import Trace
from tests.sweep_studies import PIPELINE, QUESTIONS, swept_here, write_study

pytest.importorskip("optuna")


def swept(path: Path, *, workers: int = 1, out: str = "out", cache: Path | None = None) -> Record:
    study = load_study(path)
    with Sweep(study, path.parent / out, cache=cache) as sweep:
        sweep.run(LocalPool(sweep.data.task, workers, study.spec.limits.memory_mb))
        record = sweep.record()
        return replace(record, trials=[replace(t, outcomes=list(t.outcomes)) for t in record.trials])


def table(record: Record) -> list[Any]:
    """What must not differ between two runs: all but times."""
    return [
        (t.number, t.id, t.state, dict(t.params), {k: v for k, v in t.values.items() if k != "seconds"}, t.reason)
        for t in record.trials
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, list[Any]]:
    path = write_study(tmp_path_factory.mktemp("whole"))
    study = load_study(path)
    with Sweep(study, path.parent / "out") as sweep:
        sweep.run(LocalPool(sweep.data.task, 1, None))
        record = sweep.record("fovea sweep study.yaml")
        return path, record, [list(t.outcomes) for t in record.trials]


def test_every_configuration_is_tried_once_and_measured(whole: tuple[Path, Record, list[Any]]) -> None:
    _, record, outcomes = whole
    assert [t.number for t in record.trials] == list(range(6))
    assert {t.state for t in record.trials} == {"complete"}
    assert record.baseline == record.trials[0].id
    assert len({t.id for t in record.trials}) == 6
    for trial, found in zip(record.trials, outcomes):
        assert [o.question for o in found] == [q.id for q in record.questions.questions]
        assert trial.values["R@2"].n == len(QUESTIONS)
        assert 0 < trial.values["R@2"].mean <= 1
        assert {"R@2", "tokens_passages", "seconds"} == set(trial.values)


def test_a_trial_gives_what_the_pipeline_gives_by_itself(whole: tuple[Path, Record, list[Any]], tmp_path: Path) -> None:
    path, record, outcomes = whole
    for trial, found in zip(record.trials, outcomes):
        settings = dict(trial.settings) | {"store": {"use": "embedded", "path": str(tmp_path / trial.id)}}
        with Pipeline(base=path.parent, **{k: v for k, v in settings.items() if v is not None}) as pipeline:
            pipeline.ingest(path.parent / "docs")
            for question, outcome in zip(record.questions.questions, found):
                hits = pipeline.retrieve(question.query)
                assert [(h.chunk.document_id, h.chunk.start, h.chunk.end, h.score) for h in hits] == list(outcome.hits)


def test_nothing_is_computed_twice(whole: tuple[Path, Record, list[Any]]) -> None:
    path, record, _ = whole
    made = Counter[str]()
    for trial in record.trials:
        made.update({kind: pair[0] for kind, pair in trial.stages.items()})
    assert made["ingest"] == made["index"] == 3
    assert made["retrieve"] == 6 * len(QUESTIONS)
    more = write_study(path.parent, pipeline=PIPELINE | {"refine": {"choice": [[], "mmr"]}})
    again = swept_here(more, out="again", cache=path.parent / "out" / "cache")
    made = Counter()
    for trial in again.trials:
        made.update({kind: pair[0] for kind, pair in trial.stages.items()})
    write_study(path.parent)
    assert len(again.trials) == 12
    assert {kind: n for kind, n in made.items() if n} == {"refine": 6 * len(QUESTIONS)}


def test_a_study_run_again_runs_nothing(whole: tuple[Path, Record, list[Any]]) -> None:
    path, record, _ = whole
    again = swept(path)
    assert table(again) == table(record)
    assert [t.seconds for t in again.trials] == [t.seconds for t in record.trials]


def _fovea(*args: str | Path, path: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | ({"PYTHONPATH": f"{path}{os.pathsep}{Path.cwd()}"} if path else {})
    command = [sys.executable, "-m", "fovea.pipelines.cli.main", "sweep", *map(str, args), "--quiet"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def _finished(folder: Path) -> int:
    try:
        with sqlite3.connect(folder / "results.sqlite") as db:
            return int(db.execute("SELECT COUNT(*) FROM trials WHERE state != 'running'").fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize("search", [{"use": "grid"}, {"use": "tpe", "trials": 5, "seed": 3}], ids=["grid", "tpe"])
def test_killed_at_any_time_it_goes_on(tmp_path: Path, search: dict[str, Any]) -> None:
    plain = swept_here(write_study(tmp_path / "plain", search=search))
    path = write_study(tmp_path / "killed", search=search)
    for stop in range(2):
        process = _fovea(path, start_new_session=True)
        began = time.monotonic()
        while process.poll() is None and _finished(path.parent / "small.sweep") <= stop:
            assert time.monotonic() - began < 300
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    record = swept_here(path, out="small.sweep")
    assert [(n, p, v) for n, _, _, p, v, _ in table(record)] == [(n, p, v) for n, _, _, p, v, _ in table(plain)]
    with sqlite3.connect(path.parent / "small.sweep" / "results.sqlite") as db:
        assert db.execute("SELECT COUNT(*) FROM outcomes").fetchone()[0] == len(record.trials) * len(QUESTIONS)
    states = [t.state for t in _optuna_trials(path.parent / "small.sweep")]
    assert {s.name for s in states} <= {"COMPLETE"}


def _optuna_trials(folder: Path) -> list[Any]:
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal")))
    (study,) = optuna.get_all_study_names(storage)
    return list(optuna.load_study(study_name=study, storage=storage).trials)


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    processes = [_fovea(path) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    plain = swept_here(write_study(tmp_path / "plain"))
    record = swept_here(path, out="small.sweep")
    assert [(p, v) for _, _, _, p, v, _ in table(record)] == [(p, v) for _, _, _, p, v, _ in table(plain)]
    made = sum(trial.stages["ingest"][0] for trial in record.trials)
    assert made == 3


MISBEHAVE = '''
import os, time
from typing import Literal
from fovea.rag import trace
from fovea.rag.retrieval import Refiner

class Misbehaving(Refiner, name="misbehaving"):
    """Does what it is told."""

    how: Literal["fine", "hang", "eat", "die", "raise", "sometimes"] = "fine"

    def refine(self, query, hits, corpus):
        if self.how == "hang":
            time.sleep(1000)
        if self.how == "eat":
            self.__dict__["kept"] = [bytearray(50_000_000) for _ in range(40)]
            time.sleep(1000)
        trace.warn("the refiner is watched", 2)
        if self.how == "die":
            os._exit(3)
        if self.how == "raise" or (self.how == "sometimes" and "tea" in query.text.lower()):
            raise ValueError("the refiner misbehaves")
        return list(hits)
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A distribution of another author, on a path of its own."""
    folder = tmp_path / "site"
    (folder / "misbehaving-1.0.dist-info").mkdir(parents=True)
    (folder / "misbehaving.py").write_text(MISBEHAVE)
    (folder / "misbehaving-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n"
    )
    (folder / "misbehaving-1.0.dist-info" / "entry_points.txt").write_text("[fovea.components]\nx = misbehaving\n")
    return folder


def test_what_hangs_eats_memory_dies_or_raises_is_counted_and_the_study_goes_on(tmp_path: Path, plugin: Path) -> None:
    ways = ["fine", "hang", "eat", "die", "raise", "sometimes"]
    pipeline = PIPELINE | {
        "segment": "sentence", "retrieve": "bm25", "refine": [{"use": "misbehaving", "how": {"choice": ways}}]
    }  # fmt: skip
    path = write_study(
        tmp_path, pipeline=pipeline, limits={"seconds": 10, "memory_mb": 700, "failures": 0.4}, baseline={}
    )
    process = _fovea(path, "--json", path=plugin)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 1, out + err
    with sqlite3.connect(path.parent / "small.sweep" / "results.sqlite") as db:
        rows = db.execute(
            "SELECT params, state, reason FROM trials JOIN asked ON trial = id ORDER BY number"
        ).fetchall()
    found = {json.loads(params)["refine[0].how"]: (state, reason) for params, state, reason in rows}
    assert found["fine"] == ("complete", "")
    assert found["sometimes"] == ("complete", "")
    assert found["hang"] == ("failed", "stopped: over the limit of 10 seconds")
    assert found["eat"][0] == "failed"
    assert "MB of memory, over the limit of 700" in found["eat"][1]
    assert found["die"] == ("failed", "the process died with exit code 3")
    assert found["raise"][0] == "failed"
    assert "ValueError: the refiner misbehaves" in found["raise"][1]
    process = _fovea(path, "--max-failures", "4", "--report", path=plugin)
    assert (process.communicate(timeout=300), process.returncode)[1] == 0


def test_failed_questions_count_nothing_for_what_is_to_be_high_and_are_in_no_other_mean(
    tmp_path: Path, plugin: Path
) -> None:
    pipeline = PIPELINE | {
        "segment": "sentence", "retrieve": "bm25", "refine": [{"use": "misbehaving", "how": {"choice": ["sometimes"]}}]
    }  # fmt: skip
    path = write_study(tmp_path, pipeline=pipeline, limits={"failures": 0.5})
    process = _fovea(path, path=plugin)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, out + err
    with sqlite3.connect(path.parent / "small.sweep" / "results.sqlite") as db:
        (values,) = db.execute('SELECT "values" FROM trials').fetchone()
        warned = db.execute("SELECT message, times FROM warned").fetchall()
    recall, tokens = json.loads(values)["R@2"], json.loads(values)["tokens_passages"]
    assert (recall["n"], recall["of"], tokens["n"], tokens["of"]) == (6, 6, 4, 6)
    assert recall["mean"] == pytest.approx(4 / 6), "the two that failed are no reason to rank it first"
    assert warned == [("the refiner is watched", 12)]
    assert err == "", "it was to be quiet"


def test_stages_that_do_not_fit_are_a_failed_trial(tmp_path: Path) -> None:
    pipeline = PIPELINE | {"segment": "sentence", "k": {"choice": [2, 60]}}
    record = swept_here(write_study(tmp_path, pipeline=pipeline))
    states = {(t.params["k"], t.state) for t in record.trials}
    assert states == {(2, "complete"), (60, "failed")}
    assert "60 chunks cannot be kept of 50 candidates" in next(t.reason for t in record.trials if t.state == "failed")


def test_gold_that_does_not_fit_stops_the_study(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    row = {"id": "q9", "question": "x?", "references": [{"source": "docs/moon.txt", "start": 5, "end": 5000}]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row))
    with pytest.raises(ConfigError, match="moon"):
        swept_here(path)


@pytest.mark.parametrize("use", ["random", "tpe", "nsga2"])
def test_searches_are_the_same_for_the_same_seed_and_begin_with_the_baseline(tmp_path: Path, use: str) -> None:
    pipeline = PIPELINE | {"candidates": {"range": [2, 40]}, "segment": "sentence"}
    search = {"use": use, "trials": 4, "seed": 5} | ({"population": 2} if use == "nsga2" else {})
    found = [
        swept_here(write_study(tmp_path / str(i), pipeline=pipeline, search=search, baseline={"candidates": 7}))
        for i in range(2)
    ]
    assert [dict(t.params) for t in found[0].trials] == [dict(t.params) for t in found[1].trials]
    assert found[0].trials[0].params["candidates"] == 7
    assert len({t.id for t in found[0].trials}) == len(found[0].trials) == 4


def test_a_space_that_is_exhausted_ends_the_search(tmp_path: Path) -> None:
    pipeline = {"encoder": "hash", "segment": "sentence", "retrieve": {"choice": ["dense", "bm25"]}, "k": 2}
    record = swept_here(write_study(tmp_path, pipeline=pipeline, search={"use": "random", "trials": 30}))
    assert {t.params["retrieve"] for t in record.trials} == {"dense", "bm25"}
    assert len(record.trials) == 2


def test_hopeless_trials_are_given_up(tmp_path: Path) -> None:
    pipeline = PIPELINE | {"segment": "sentence", "retrieve": "bm25", "k": {"choice": [2, 1]}}
    changes = {"pipeline": pipeline, "objectives": ["R@1"], "prune": {"after": [3], "level": 0.4}}
    first = swept_here(write_study(tmp_path, **changes))
    assert [t.state for t in first.trials] == ["complete", "complete"]
    pipeline["retrieve"] = {"choice": ["bm25", {"use": "dense"}]}
    pipeline["encoder"] = {"use": "hash", "size": 2}
    record = swept_here(write_study(tmp_path, **changes | {"pipeline": pipeline}), out="more")
    pruned = [t for t in record.trials if t.state == "pruned"]
    assert pruned
    assert all(t.params["retrieve"] == "dense" and len(t.outcomes) == 3 for t in pruned)
    assert "after 3 questions, trial 0 is better in every objective" in pruned[0].reason


def test_an_edited_study_uses_what_is_known(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    first = swept_here(path)
    more = PIPELINE | {"retrieve": {"choice": ["dense", "bm25", ["dense", "bm25"]]}}
    second = swept_here(write_study(tmp_path, pipeline=more))
    assert len(second.trials) == 9
    known = {t.id: t.seconds for t in first.trials}
    assert [t.seconds for t in second.trials if t.id in known] == [known[t.id] for t in second.trials if t.id in known]
    assert len(known.keys() & {t.id for t in second.trials}) == 6
    assert table(swept_here(write_study(tmp_path))) == table(first)


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    swept_here(path)
    with sqlite3.connect(tmp_path / "out" / "results.sqlite") as db:
        db.execute("UPDATE facts SET value = '99' WHERE key = 'format'")
    with pytest.raises(StoreError, match="this study is of format 99; this version reads format 1"):
        swept_here(path)


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot read or write the results"):
        swept_here(path)


def test_documents_may_come_with_the_questions(tmp_path: Path) -> None:
    squad = {"data": [{"title": "T", "paragraphs": [
        {"context": "The moon orbits the earth.", "qas": [
            {"id": "1", "question": "What orbits?", "answers": [{"text": "The moon", "answer_start": 0}]}]},
        {"context": "Tea came from China.", "qas": [
            {"id": "2", "question": "Where is tea from?", "answers": [{"text": "China", "answer_start": 14}]}]},
    ]}]}  # fmt: skip
    path = write_study(tmp_path, documents=None, questions="squad.json")
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    record = swept_here(path)
    assert len(record.complete) == 6
    assert {name for t in record.complete for o in t.outcomes for name, *_ in o.hits} == {"squad/0"}


def test_a_full_disk_stops_the_study_which_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    study = load_study(path)
    with Sweep(study, tmp_path / "out") as sweep:
        assert sweep.results._db.execute("PRAGMA synchronous").fetchone() == (2,), "a power cut loses no result"
        pages = sweep.results._db.execute("PRAGMA page_count").fetchone()[0]
        sweep.results._db.execute(f"PRAGMA max_page_count = {pages + 1}")
        long = [Outcome("q", answer=os.urandom(3000).hex()) for _ in range(100)]
        with pytest.raises(StoreError, match="disk is full") as error:
            sweep.results.add("trial", 0, long)
        assert "make room, and run the same command again" in str(error.value)
        sweep.results._db.execute("PRAGMA max_page_count = 1000000")
    assert table(swept_here(path)) == table(swept_here(write_study(tmp_path / "plain")))


def test_a_cache_without_room_computes_and_says_so(tmp_path: Path) -> None:
    file = CacheFile(tmp_path / "c.sqlite")
    file._db.execute("PRAGMA max_page_count = 3")
    with (run := Trace()).stage("work"):
        for i in range(5):
            key = bytes([i]) * 16
            assert file.value("kind", key, lambda: os.urandom(10_000), time.perf_counter)[0]
    assert any("not kept, and so computed again: database or disk is full" in warning for warning in run.warnings)


def test_a_judge_that_nobody_can_read_is_a_counted_failure(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama

    judge = {"use": "transformers", "model": save_llama(tmp_path / "lm", template=TEMPLATE), "max_new_tokens": 4}
    pipeline = PIPELINE | {"segment": "sentence", "retrieve": {"choice": ["bm25"]}}
    changes = {"pipeline": pipeline, "metrics": ["context_recall"], "judge": judge, "limit": 2}
    strict = swept_here(write_study(tmp_path, **changes))
    assert [t.state for t in strict.trials] == ["failed"]
    assert "the judge's reply cannot be read" in strict.trials[0].reason
    loose = swept_here(write_study(tmp_path, **changes, limits={"failures": 1.0}), out="loose")
    assert [t.state for t in loose.trials] == ["complete"]
    assert "context_recall" not in loose.trials[0].values
    assert all("cannot be read" in o.missing["context_recall"] for o in loose.trials[0].outcomes)


@pytest.mark.parametrize("use", ["random", "tpe"])
def test_a_suggestion_broken_off_half_way_goes_on_alike(tmp_path: Path, use: str) -> None:
    pipeline = PIPELINE | {"segment": "sentence", "k": {"range": [1, 40]}, "candidates": {"range": [40, 400]}}
    study = load_study(write_study(tmp_path, pipeline=pipeline, search={"use": use, "trials": 9}))
    found = []
    for broken in (False, True):
        (tmp_path / str(broken)).mkdir()
        history = Suggestions(tmp_path / str(broken), study)
        for number in range(8):
            if broken and number == 6:
                history.history.sampler = history._sampler(number)
                trial = history.history.ask()
                history.history.sampler = history._sampler(number, "retrieve")
                trial.suggest_categorical("retrieve", ["dense", "bm25"])
                resolved = Suggestions(tmp_path / str(broken), study).again(number)
            else:
                asked = history.ask()
                assert asked is not None
                resolved = asked[1]
            history.tell(number, {"R@2": float(resolved.params["k"]), "tokens_passages": 1.0})
        found.append(resolved.params)
        states = history.history.get_trials(deepcopy=False)
        found.append(states[6].params)
    assert found[0] == found[2]
    assert found[1] == found[3]
