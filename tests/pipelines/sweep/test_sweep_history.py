"""A study that goes on over other data shows nothing of what was measured on the old."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sweep.data import StudyData
from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.results import Claimed, Results
from fovea.pipelines.sweep.run import Sweep
from fovea.pipelines.sweep.trial import Trials, Unfit
from fovea.rag import registry
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.models import digest
from fovea.rag.settings import Settings
from tests.pipelines.sweep.test_sweep_run import table
from tests.sweep_studies import PIPELINE, TEXTS, Here, swept_here, write_study

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


def edited(folder: Path, **changes: Any) -> None:
    study = yaml.safe_load((folder / "study.yaml").read_text())
    (folder / "study.yaml").write_text(yaml.safe_dump({**study, **changes}, sort_keys=False))


def one_metric_more(folder: Path) -> None:
    edited(folder, metrics=["MRR@2"])


def another_cut(folder: Path) -> None:
    edited(folder, objectives=["R@1", "tokens_passages"])


def another_seed(folder: Path) -> None:
    edited(folder, search={"use": "grid", "seed": 1})


def one_byte(folder: Path) -> None:
    """Of a document, with its size and its time as they were."""
    path = folder / "docs" / "tea.txt"
    stat = path.stat()
    path.write_text(path.read_text().replace("80", "81"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    rows = (folder / "questions.jsonl").read_text()
    (folder / "questions.jsonl").write_text(rows.replace("80 degrees", "81 degrees"))


def one_letter_of_no_gold(folder: Path) -> None:
    path = folder / "docs" / "bees.txt"
    path.write_text(path.read_text().replace("Honey", "Money"))


def another_reference_answer(folder: Path) -> None:
    questions = folder / "questions.jsonl"
    questions.write_text(questions.read_text().replace('"answer": "Tea came', '"answer": "It came'))


def another_date(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    rows[0]["as_of"] = "2024-05-01"
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def a_name_of_a_document(folder: Path) -> None:
    (folder / "docs" / "bees.txt").rename(folder / "docs" / "hive.txt")
    questions = folder / "questions.jsonl"
    questions.write_text(questions.read_text().replace("bees.txt", "hive.txt"))


def a_limit(folder: Path) -> None:
    edited(folder, limits={"failures": 0.5})


def pruning(folder: Path) -> None:
    edited(folder, prune={"after": [2]})


CHANGES = [
    another_document, fewer_questions, other_gold, one_metric_more, another_cut, another_seed, one_byte,
    one_letter_of_no_gold, another_reference_answer, another_date, a_name_of_a_document, a_limit, pruning,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_are_measured_anew(tmp_path, change):
    path, fresh = write_study(tmp_path / "on", pipeline=TWO), write_study(tmp_path / "anew", pipeline=TWO)
    before = swept_here(path)
    change(path.parent)
    change(fresh.parent)
    after = swept_here(path)
    assert table(after) == table(swept_here(fresh))
    if change is not another_seed:  # Of a grid only the order of the questions.
        assert {t.id for t in after.trials}.isdisjoint(t.id for t in before.trials)


def test_half_a_study_and_the_rest_over_other_documents_are_not_mixed(tmp_path):
    path = write_study(tmp_path / "on", pipeline=TWO, search={"use": "grid", "trials": 1})
    swept_here(path)
    write_study(tmp_path / "on", pipeline=TWO)
    another_document(path.parent)
    fresh = write_study(tmp_path / "anew", pipeline=TWO)
    another_document(fresh.parent)
    assert table(swept_here(path)) == table(swept_here(fresh))


def test_back_on_the_old_data_nothing_is_run_again(tmp_path):
    path = write_study(tmp_path, pipeline=TWO)
    first = table(swept_here(path))
    another_document(tmp_path)
    swept_here(path)
    (tmp_path / "docs" / "more.txt").unlink()
    assert table(swept_here(path)) == first


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


def test_another_version_measures_anew_and_finds_nothing_of_the_old_in_the_cache(tmp_path, monkeypatch):
    path = write_study(tmp_path, pipeline=TWO)
    first = swept_here(path)
    for module in ("data", "libraries", "cache_file"):
        monkeypatch.setattr(f"fovea.pipelines.sweep.{module}.__version__", "999.0")
    again = swept_here(path)
    assert {t.id for t in again.trials}.isdisjoint(t.id for t in first.trials)
    assert {name for t in again.trials for name, (made, _) in t.stages.items() if made} >= {"ingest", "retrieve"}


def test_the_judge_and_what_it_is_told_are_a_part_of_it(tmp_path):
    def known(**judge: Any) -> str:
        changes = {"judge": {"use": "chat", "model": "openai:gpt-4o-mini", **judge}, "metrics": ["context_recall"]}
        return StudyData(load_study(write_study(tmp_path, pipeline=TWO, **changes)), tmp_path).fingerprint

    assert known() == known()
    assert len({known(), known(model="openai:gpt-4o"), known(temperature=0.5), known(instruction="Be strict.")}) == 4


class Turned(HashEncoder):
    """Vectors of questions that a file turns round. It is not registered, but for `turned`."""

    name: ClassVar[str] = "turned"
    file: str

    @property
    def fingerprint(self) -> str:
        return self.fingerprint_with(file=digest(Path(self.file)))

    def encode(self, texts, role="document"):
        sign = 1 if Path(self.file).read_text() == "one" else -1
        return super().encode(texts, role) * (sign if role == "query" else 1)


class Reader(Settings):
    """Holds another component."""

    encoder: Encoder


@pytest.fixture
def turned(monkeypatch):
    monkeypatch.setitem(registry._components, ("encoder", "turned"), Turned)


@pytest.mark.usefixtures("turned")
@pytest.mark.parametrize("shared", [False, True], ids=["its own cache", "a shared cache"])
def test_an_encoder_whose_file_changes_in_place_is_another(tmp_path, shared):
    """Of the same name, the same size and the same time."""
    file = tmp_path / "weights"
    file.write_text("one")
    pipeline = {**TWO, "encoder": {"use": "turned", "file": str(file)}, "retrieve": {"choice": ["dense"]}}
    path = write_study(tmp_path / "on", pipeline=pipeline)
    cache = tmp_path / "cache" if shared else None
    before = swept_here(path, cache=cache)
    stat = file.stat()
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = swept_here(path, out="other" if shared else "out", cache=cache)
    assert before.trials[0].values["R@2"].mean > after.trials[0].values["R@2"].mean
    assert before.trials[0].id != after.trials[0].id


def test_a_component_within_another_counts_by_its_content(tmp_path):
    (tmp_path / "w").write_text("one")

    def known() -> str:
        holder = Reader.model_construct(encoder=Turned(file=str(tmp_path / "w")))
        return str(holder.fingerprint)

    first = known()
    assert known() == first
    (tmp_path / "w").write_text("two")
    assert known() != first


def test_two_studies_in_one_folder_share_what_is_the_same_and_nothing_else(tmp_path):
    """The second gives trials up, and warns; the first shows none of it, and keeps its failed trials."""
    one = write_study(tmp_path, pipeline=TWO)
    two = tmp_path / "two.yaml"
    two.write_text(one.read_text().replace("study: small", "study: two") + "prune: {after: [1], level: 0.4}\n")
    first = swept_here(one)
    with Sweep(load_study(two), tmp_path / "out") as sweep:
        sweep.run(Here(sweep.data.task))
        sweep.results.warn(sweep.history, {"of the second": 2})
        assert sweep.results.warnings(sweep.history) == {"of the second": 2}
    with Sweep(load_study(one), tmp_path / "out") as sweep:
        assert sweep.results.warnings(sweep.history) == {}
    assert table(swept_here(one)) == table(first)
    assert {t.state for t in first.trials} == {"complete"}


def test_failed_trials_are_forgotten_of_one_history_alone(tmp_path):
    results = Results(tmp_path)
    try:
        for history in ("a", "b"):
            claimed = Claimed(f"trial {history}", {})
            assert results.claim(claimed, history, 0, {}) is None
            results.finish(claimed.id, "failed", values={}, reason="it fell", seconds=0.0, stages={})
        assert results.retry("a") == 1
        assert (results.trials("a"), [t.id for t in results.trials("b")]) == ([], ["trial b"])
    finally:
        results.close()


def test_documents_that_change_while_a_study_runs_are_not_taken_for_the_old(tmp_path, monkeypatch):
    path = write_study(tmp_path, pipeline=TWO)
    with Sweep(load_study(path), tmp_path / "out") as sweep:
        task = sweep.data.task
        another_document(tmp_path)
        with pytest.raises(Unfit, match="the documents have changed since the study began"):
            Trials(task)
    ingest = Pipeline.ingest

    def late(self, paths, **more):
        report = ingest(self, paths, **more)
        one_letter_of_no_gold(tmp_path)
        return report

    monkeypatch.setattr(Pipeline, "ingest", late)
    assert {t.state for t in swept_here(path).trials} == {"failed"}
    monkeypatch.undo()
    fresh = write_study(tmp_path / "anew", pipeline=TWO)
    another_document(fresh.parent)
    one_letter_of_no_gold(fresh.parent)
    assert table(swept_here(path)) == table(swept_here(fresh))


def test_answers_of_two_encoders_are_not_mixed(tmp_path):
    """What is retrieved by words is the same, and what is quoted of it is not."""
    sizes = [{"use": "hash", "size": size} for size in (1, 256)]
    pipeline = {**TWO, "retrieve": "bm25", "generate": {"use": "extractive", "floor": 0.0, "max_sentences": 1}}
    changes = {"objectives": ["answer_similarity"], "search": {"use": "grid"}, "baseline": {}}

    def answers(folder: Path, encoders: list[Any]) -> dict[str, list[str | None]]:
        path = write_study(folder, pipeline={**pipeline, "encoder": {"choice": encoders}}, **changes)
        return {str(t.params["encoder"]): [o.answer for o in t.outcomes] for t in swept_here(path).trials}

    together = answers(tmp_path / "both", sizes)
    assert len(together) == 2
    first, second = (answers(tmp_path / str(i), [one]) for i, one in enumerate(sizes))
    assert together == {**dict(zip(together, [*first.values(), *second.values()]))}
