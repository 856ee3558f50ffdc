"""Fusion fitted to questions: what is printed holds on questions left out, and can be put into the YAML."""

import json

import pytest

from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.tuning import tune
from fovea.rag.errors import ConfigError
from tests.command import fovea

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")

PLACES = (
    *("Aswan", "Basel", "Cairo", "Delft", "Essen", "Fargo", "Genoa", "Hanoi", "Izmir", "Jaffa", "Kyoto", "Lagos"),
    *("Milan", "Nancy", "Osaka", "Padua", "Quito", "Riyadh", "Siena", "Turin", "Utica", "Vaduz", "Wuhan", "York"),
)
LINES = [f"The mill of {place} was built by weavers in the year {1500 + i}." for i, place in enumerate(PLACES)]


@pytest.fixture
def folder(tmp_path):
    for place, line in zip(PLACES, LINES):
        (tmp_path / f"{place}.txt").write_text(line)
    return tmp_path


def questions():
    for place, line in zip(PLACES, LINES):
        yield Question(place, f"Who was building the mill at {place}?", (Gold(f"{place}.txt", 0, 13, line[:13]),))


def test_every_rule_is_measured_on_the_same_questions(make, folder):
    pipeline = make(encoder={"use": "hash"})
    pipeline.ingest(folder)
    tuned = tune(pipeline, QuestionSet("mills", (*questions(), Question("x", "Nothing?", answers=("none",)))))
    assert tuned.skipped == 1
    assert tuned.present == pipeline.spec.fuser.name
    assert {len(each) for each in tuned.values.values()} == {len(PLACES)}
    assert set(tuned.values) == {"rrf", "convex", "calibrated", "adaptive", "fitted"}
    assert tuned.values["adaptive"].mean() > 0.9, "names stand in both"
    fuse = make(encoder={"use": "hash"}, fuse={"use": "adaptive", **tuned.weights}).spec.fuser
    assert {name: getattr(fuse, name) for name in tuned.weights} == tuned.weights
    assert {row.method for row in tuned.rows("mills")} == set(tuned.values)


def test_what_cannot_be_fitted_is_said(make, folder):
    alone = make(encoder={"use": "hash"}, retrieve="bm25")
    with pytest.raises(ConfigError, match="one retriever"):
        tune(alone, QuestionSet("mills", tuple(questions())))
    both = make(encoder={"use": "hash"})
    both.ingest(folder)
    with pytest.raises(ConfigError, match="19 of 19 questions have an answer in the store: too few"):
        tune(both, QuestionSet("mills", tuple(questions())[:19]))


def test_the_command_prints_a_line_of_yaml(folder):
    (folder / "docs").mkdir()
    for place in PLACES:
        (folder / f"{place}.txt").rename(folder / "docs" / f"{place}.txt")
    (folder / "p.yaml").write_text("name: mine\nencoder: hash\nstore: {use: embedded, path: store}\n")
    mill = {"start": 0, "end": 9, "text": "The mill "}
    rows = [{"question": q.text, "references": [{"document": q.spans[0].document, **mill}]} for q in questions()]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fovea(folder, "ingest", "p.yaml", "docs", "--quiet")
    before = (folder / "p.yaml").read_text()
    said = fovea(folder, "tune", "fusion", "p.yaml", "q.jsonl", "--quiet").stdout
    line = said.strip().splitlines()[-1]
    assert line.startswith("fuse: {use: adaptive, meaning: ")
    assert (folder / "p.yaml").read_text() == before
    (folder / "p.yaml").write_text(before + line + "\n")
    fovea(folder, "check", "p.yaml")
    again = json.loads(fovea(folder, "tune", "fusion", "p.yaml", "q.jsonl", "--quiet", "--json").stdout)
    assert {row["method"] for row in again} == {"rrf", "convex", "calibrated", "adaptive", "present", "fitted"}
