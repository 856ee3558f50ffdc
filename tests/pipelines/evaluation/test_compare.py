"""Two evaluations are paired by what their questions ask and what is right."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.cli.main import main
from fovea.pipelines.evaluation.compare import compare, pair
from fovea.pipelines.evaluation.evaluation import values_of
from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.rag.errors import ConfigError

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")


def outcome(key, content, score=0.0):
    return Outcome(key, {"MRR": score}, content=content)


def ids(paired):
    return [(a.question, b.question) for a, b in paired.pairs]


def test_order_and_ids_do_not_matter():
    before = [outcome("1", "moon-x"), outcome("2", "tea-y"), outcome("3", "nile-z")]
    after = [outcome("1", "nile-z"), outcome("2", "moon-x"), outcome("3", "tea-y")]
    assert ids(pair(before, after)) == [("3", "1"), ("1", "2"), ("2", "3")]


def test_the_same_id_with_another_question_is_no_pair():
    paired = pair([outcome("1", "moon-x"), outcome("2", "tea-y")], [outcome("1", "sun-x"), outcome("2", "tea-y")])
    assert ids(paired) == [("2", "2")]
    assert ([o.question for o in paired.before], [o.question for o in paired.after]) == (["1"], ["1"])
    assert str(paired) == "1 question paired by content; without a partner 1 of this run and 1 of that"


def test_the_same_question_with_other_gold_is_no_pair_and_is_said():
    paired = pair([outcome("1", "moon-old"), outcome("2", "tea-y")], [outcome("1", "moon-new"), outcome("2", "tea-y")])
    assert str(paired).endswith("without a partner 1 of this run and 1 of that, 1 of them for other gold")
    with pytest.raises(ConfigError, match="no question in common; 1 are asked in both, with other gold"):
        pair([outcome("1", "moon-old")], [outcome("1", "moon-new")])


def test_questions_that_stand_twice_are_paired_by_id_and_then_in_turn():
    before = [outcome("a", "tea-y", 0.1), outcome("b", "tea-y", 0.2), outcome("c", "tea-y", 0.3)]
    after = [outcome("x", "tea-y"), outcome("c", "tea-y")]
    paired = pair(before, after)
    assert ids(paired) == [("a", "x"), ("c", "c")]
    assert [o.question for o in paired.before] == ["b"]
    assert compare(paired, ["MRR"])[0].before == pytest.approx(0.2)


def test_of_counts_what_a_metric_applies_to_as_the_table_of_one_run_does():
    span = (Gold("a", 0, 4),)
    asked = QuestionSet("x", (Question("1", "Moon?", span), Question("2", "Tea?", answers=("None.",))))
    paired = pair(
        [outcome("1", "m", 0.5), Outcome("2", content="t")], [outcome("1", "m", 1.0), Outcome("2", content="t")]
    )
    (found,) = compare(paired, ["MRR"], asked)
    assert (found.difference.n, found.difference.of) == (
        1,
        values_of([b for _, b in paired.pairs], asked, ["MRR"])["MRR"].of,
    )
    assert found.difference.of == 1


contents = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123")), max_size=8)


@given(contents, contents)
def test_no_outcome_is_lost_and_none_is_taken_twice(first, second):
    before = [outcome(key, f"{what}-{key}") for what, key in first]
    after = [outcome(key, f"{what}-{key}") for what, key in second]
    common = sum(min(first.count(one), second.count(one)) for one in {*first, *second})
    if not common:
        with pytest.raises(ConfigError):
            pair(before, after)
        return
    paired = pair(before, after)
    assert len(paired.pairs) == common
    assert all(a.content == b.content for a, b in paired.pairs)
    assert sorted(o.content for o in (*paired.before, *(a for a, _ in paired.pairs))) == sorted(
        o.content for o in before
    )
    assert sorted(o.content for o in (*paired.after, *(b for _, b in paired.pairs))) == sorted(o.content for o in after)


QUESTION = Question("q", "Air?", (Gold("docs/moon.txt", 38, 52, "It has no air."),), {"docs/tea.md": 2}, ("No",))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"id": "other", "where": "q.jsonl:9"}, True),
        ({"spans": (Gold("/elsewhere/moon.txt", 99, 113, "It has no air."),), "relevant": {"/x/tea.md": 2}}, True),
        ({"relevant": {"store/sets/all.jsonl#tea": 2}}, True),
        ({"text": "Air"}, False),
        ({"as_of": datetime(2024, 5, 1, tzinfo=UTC)}, False),
        ({"spans": (Gold("docs/moon.txt", 0, 8, "The Moon"),)}, False),
        ({"spans": ()}, False),
        ({"relevant": {"docs/tea.md": 1}}, False),
        ({"relevant": {"docs/coffee.md": 2}}, False),
        ({"answers": ("No", "None")}, False),
    ],
)
def test_what_a_question_is(change, same):
    assert (replace(QUESTION, **change).content == QUESTION.content) == same
    assert (replace(QUESTION, **change).content.split("-")[0] == QUESTION.content.split("-")[0]) == (
        not {"text", "as_of"} & change.keys()
    )


# The command

ROWS = [
    {"question": "Has the Moon air?", "references": [{"document": "moon.txt", "text": "It has no air."}]},
    {"question": "How hot is green tea brewed?", "references": [{"document": "tea.md", "text": "80 degrees"}]},
    {"question": "Is the Nile longer?", "references": [{"document": "rivers.txt", "text": "longer than"}]},
    {"question": "How many days does the Moon take?", "references": [{"document": "moon.txt", "text": "27 days"}]},
]  # fmt: skip
"""Without ids: a question's id is its line, which is another one once the lines are moved."""


@pytest.fixture
def run(tmp_path, docs, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("name: mine\nencoder: hash\nretrieve: bm25\nstore: {use: embedded, path: store}\n")
    other = "name: other\nencoder: hash\nretrieve: dense\nk: 1\nstore: {use: embedded, path: store}\n"
    (tmp_path / "other.yaml").write_text(other)
    assert main(["ingest", "p.yaml", str(docs), "--quiet"]) == 0
    capsys.readouterr()

    def evaluated(rows, *args, code=0):
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["eval", "p.yaml", "q.jsonl", "--metrics", "MRR", "--quiet", *args]) == code
        return capsys.readouterr()

    return evaluated


def pairs(said):
    return [line for line in said.out.splitlines() if "paired by content" in line]


def test_a_file_whose_rows_were_moved_is_compared_row_by_row(run):
    run(ROWS, "--out", "run")
    moved = random.Random(1).sample(ROWS, len(ROWS))
    assert moved != ROWS
    said = run(moved, "--against", "run")
    assert pairs(said) == ["4 questions paired by content"]
    [line] = [line for line in said.out.split("against run")[1].splitlines() if line.startswith("MRR")]
    assert "+0 " in line, "the same pipeline on the same questions differs by nothing"


def test_what_was_not_paired_is_said(run):
    run(ROWS[:3], "--out", "run")
    gold = {**ROWS[1], "references": [{"document": "tea.md", "text": "green tea"}]}
    said = run([ROWS[3], gold, ROWS[0]], "--against", "run")
    assert pairs(said) == [
        "1 question paired by content; without a partner 2 of this run and 2 of that, 1 of them for other gold"
    ]
    rows = json.loads(run([ROWS[3], gold, ROWS[0]], "--against", "run", "--json").out)
    [count] = [row for row in rows if row["metric"] == "paired questions"]
    assert (count["value"], count["method"]) == (1.0, "mine against run")
    assert count["settings"] == {"only before": ["2", "3"], "only after": ["1", "2"], "other gold": 1}


def test_another_pipeline_is_asked_the_same(run):
    assert pairs(run(ROWS, "--against", "other.yaml")) == ["4 questions paired by content"]


@pytest.mark.parametrize("against", ["none", "none.yaml", "torn", "others"])
def test_what_cannot_be_compared_with_is_said_before_the_work(run, tmp_path, against, monkeypatch):
    run([ROWS[0]], "--out", "others")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "outcomes.jsonl").write_text("{")
    monkeypatch.setattr("fovea.pipelines.evaluation.evaluate.Evaluator.evaluate", pytest.fail)
    said = run(ROWS[1:], "--against", against, "--out", "new", code=2 if against in ("none.yaml", "others") else 1)
    assert against in said.err or "--against" in said.err


def test_what_cannot_be_written_or_read_is_said_before_documents_are_taken_in(run, tmp_path, monkeypatch):
    monkeypatch.setattr("fovea.pipelines.evaluation.taken.take_in", pytest.fail)
    (tmp_path / "file").write_text("mine")
    assert "cannot write a folder of results there" in run(ROWS, "--out", "file", "--ingest", code=2).err
    assert (tmp_path / "file").read_text() == "mine"
    assert "none: there is no such file\n  fix: fovea eval" in run(ROWS, "--against", "none", "--ingest", code=1).err
    assert "none.yaml" in run(ROWS, "--against", "none.yaml", "--ingest", code=2).err


def test_a_run_may_be_compared_with_itself_and_written_in_its_place(run):
    run(ROWS, "--out", "run")
    assert pairs(run(ROWS[:2], "--out", "run", "--against", "run")) == [
        "2 questions paired by content; without a partner 0 of this run and 2 of that"
    ]
