"""Questions that are documents of their set: the document is left out of what came back."""

from __future__ import annotations

import json

import pytest

from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.questions import read_questions
from fovea.pipelines.evaluation.taken import take_in

FOR = "Cars should leave the old town because their noise spoils it."
AGAINST = "Cars bring buyers to the old town; without cars the shops close."


@pytest.fixture
def arguments(tmp_path):
    def folder(asked: str):
        made = tmp_path / "arguments"
        (made / "qrels").mkdir(parents=True)
        rows = [{"_id": "a", "title": "", "text": FOR}, {"_id": "b", "title": "", "text": AGAINST}]
        (made / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (made / "queries.jsonl").write_text(json.dumps({"_id": "a", "text": asked}) + "\n")
        (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\tb\t1\n")
        return read_questions(made)

    return folder


def found(pipeline, questions, k):
    take_in(pipeline, questions)
    (outcome,) = Evaluator(pipeline, questions, ["R@1"], k=k).evaluate().outcomes
    return [hit[0].rpartition("#")[2] for hit in outcome.hits], outcome.scores["R@1"]


def test_the_question_itself_is_left_out_and_its_place_is_filled(make, arguments):
    pipeline = make(retrieve=[{"use": "bm25"}], segment={"use": "fixed", "max_tokens": 200})
    assert found(pipeline, arguments(FOR), k=1) == (["b"], 1.0)


def test_a_document_that_has_only_the_id_of_a_question_stays(make, arguments):
    pipeline = make(retrieve=[{"use": "bm25"}], segment={"use": "fixed", "max_tokens": 200})
    assert found(pipeline, arguments("What spoils the town with noise?"), k=1) == (["a"], 0.0)
