"""`fovea eval` and `fovea make-questions`, as a person uses them."""

import json

import pytest

from tests.command import fovea
from tests.conftest import TEXTS
from tests.pipelines.cli.test_cli import here

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")

__all__ = ["here"]


def reference(name, words):
    at = TEXTS[name].index(words)
    return {"document": name, "start": at, "end": at + len(words), "text": words}


ROWS = [
    {"id": "air", "question": "Has the Moon air?", "references": [reference("moon.txt", "It has no air.")]},
    {"id": "tea", "question": "How hot is green tea brewed?", "references": [reference("tea.md", "80 degrees")]},
    {"id": "long", "question": "Is the Nile longer?", "references": [reference("sub/rivers.txt", "longer than")]},
]


@pytest.fixture
def ready(here):
    fovea(here, "ingest", "p.yaml", "docs", "--quiet")
    (here / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return here


def test_eval_prints_a_table_and_writes_every_question(ready):
    out = fovea(ready, "eval", "p.yaml", "q.jsonl", "--out", "run", "--quiet").stdout
    for words in ("mine on q: 3 questions", "nDCG@5", "3 of 3", "precision_omega", "stage, ms", "retrieve dense",
                  "generate extractive", "failed: 0 of 3"):  # fmt: skip
        assert words in out
    lines = [json.loads(line) for line in (ready / "run/outcomes.jsonl").read_text().splitlines()]
    assert [(row["question"], row["text"]) for row in lines] == [(row["id"], row["question"]) for row in ROWS]
    assert all(row["scores"]["R@5"] == 1 and row["hits"] and row["answer"] for row in lines)
    rows = json.loads((ready / "run/rows.json").read_text())
    assert {row["method"] for row in rows} == {"mine"}


def test_eval_prints_rows_of_json(ready):
    rows = json.loads(
        fovea(ready, "eval", "p.yaml", "q.jsonl", "--json", "--metrics", "R@1,seconds", "--limit", "2").stdout
    )
    named = {row["metric"]: row for row in rows}
    assert (named["R@1"]["n"], named["R@1"]["bench"], named["R@1"]["data"]) == (2, "eval", "q")
    assert named["seconds"]["value"] > 0
    assert "generate extractive" not in " ".join(named)


def test_eval_compares_with_a_saved_run_and_with_another_pipeline(ready):
    other = (ready / "p.yaml").read_text() + "retrieve: {use: bm25}\n"
    (ready / "other.yaml").write_text(other.replace("name: mine", "name: other"))
    fovea(ready, "eval", "p.yaml", "q.jsonl", "--out", "run", "--metrics", "MRR,R@5", "--quiet")
    saved = fovea(ready, "eval", "p.yaml", "q.jsonl", "--against", "run", "--metrics", "MRR,R@5", "--quiet").stdout
    assert "against run" in saved
    table = saved.split("against run")[1]
    assert "+0 " in table
    assert "3 of 3" in table
    assert " to " not in table, "no interval around what does not vary"
    live = fovea(ready, "eval", "p.yaml", "q.jsonl", "--against", "other.yaml", "--metrics", "MRR", "--json").stdout
    [row] = [row for row in json.loads(live) if row["metric"] == "MRR difference"]
    assert set(row["settings"]) == {"before", "after", "p", "p_holm"}
    assert row["n"] == 3


def test_failures_beyond_the_limit_exit_not_0(ready):
    long = {"id": "long text", "question": "tea " * 6000, "references": ROWS[0]["references"]}
    (ready / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, long]))
    done = fovea(ready, "eval", "p.yaml", "q.jsonl", "--metrics", "R@5", "--quiet", code=1)
    assert "3 of 4" in done.stdout
    assert "1 x QueryError: the question has 24,000 characters; the most is 20,000" in done.stdout
    assert done.stderr.startswith("1 question failed, at most 0 may: 1 x QueryError")
    fovea(ready, "eval", "p.yaml", "q.jsonl", "--metrics", "R@5", "--quiet", "--max-failures", "1")


def test_errors_of_questions_come_before_anything_runs(ready):
    bad = {**ROWS[0], "references": [{"document": "moon.txt", "start": 0, "end": 999}]}
    (ready / "q.jsonl").write_text(json.dumps(bad) + "\n")
    done = fovea(ready, "eval", "p.yaml", "q.jsonl", code=2)
    assert done.stderr.startswith("q.jsonl:1: question 'air': the span [0, 999) ends outside 'docs/moon.txt'")
    assert "is not there" in fovea(ready, "eval", "p.yaml", "none.jsonl", code=2).stderr


def test_a_judge_that_is_none_is_refused(ready):
    done = fovea(ready, "eval", "p.yaml", "q.jsonl", "--metrics", "faithfulness", code=2)
    assert "asks a language model, and no judge is given" in done.stderr
    done = fovea(ready, "eval", "p.yaml", "q.jsonl", "--judge", "{use: extractive}", code=2)
    assert "is no model that could be asked" in done.stderr


def test_a_judge_that_cannot_be_reached_is_counted(ready):
    pytest.importorskip("langchain_openai", reason="needs langchain-openai")
    judge = '{use: chat, model: "openai:none", base_url: "http://127.0.0.1:9/v1", max_retries: 0}'
    done = fovea(ready, "eval", "p.yaml", "q.jsonl", "--metrics", "context_recall", "--judge", judge, "--quiet",
                 code=1, OPENAI_API_KEY="none", FOVEA_CACHE=str(ready / "cache"))  # fmt: skip
    assert "3 x context_recall: ModelError: the model openai:none" in done.stdout
    assert "0 of 3" in done.stdout


def test_eval_takes_in_the_documents_of_a_set(here):
    context = "The Danube flows through ten countries."
    asked = {"id": "q", "question": "What flows?", "answers": [{"answer_start": 4, "text": "Danube"}]}
    data = {"data": [{"title": "Rivers", "paragraphs": [{"context": context, "qas": [asked]}]}]}
    (here / "rivers.json").write_text(json.dumps(data))
    out = fovea(here, "eval", "p.yaml", "rivers.json", "--ingest", "--quiet").stdout
    assert "answer_correctness_lite" in out
    assert "failed: 0 of 1" in out


def test_make_questions_of_a_store_and_of_files(ready):
    done = fovea(ready, "make-questions", "p.yaml", "--out", "drafts.jsonl", "--count", "2", "--quiet")
    assert done.stdout.startswith("drafts.jsonl: 2 drafts; read each")
    assert "failed: 0 of 2" in fovea(ready, "eval", "p.yaml", "drafts.jsonl", "--metrics", "R@5", "--quiet").stdout
    again = fovea(ready, "make-questions", "p.yaml", "--out", "drafts.jsonl", code=2)
    assert again.stderr == "drafts.jsonl exists already\n  fix: name another file, or remove this one\n"
    fovea(ready, "make-questions", "docs", "--out", "files.jsonl", "--quiet")
    rows = [json.loads(line) for line in (ready / "files.jsonl").read_text().splitlines()]
    assert {row["references"][0]["document"] for row in rows} >= {"docs/moon.txt", "docs/sub/rivers.txt"}
    (ready / "empty.txt").write_text("No.\n")
    assert (
        fovea(ready, "make-questions", "empty.txt", "--out", "none.jsonl", code=1).stderr
        == "no question could be drafted\n"
    )
    assert not (ready / "none.jsonl").exists()
