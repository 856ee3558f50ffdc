"""Questions that are documents of their set: the document is left out of what came back, and its place is filled."""

from __future__ import annotations

import json

import pytest

from fovea.pipelines.bench import retrieval
from fovea.pipelines.bench.retrieval_methods import chosen
from fovea.pipelines.bench.situated import Corpora
from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.questions import read_questions
from fovea.pipelines.evaluation.taken import take_in
from fovea.pipelines.search import retrieve
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.trial import Job, Task, Trials
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Query
from fovea.retrievers.collections.beir import read_beir

FOR = "Cars should leave the old town because their noise spoils it."
AGAINST = "Cars bring buyers to the old town; without cars the shops close."
OTHERS = {"c": "The old town has a museum of cars.", "d": "Buyers like the noise of the market."}


@pytest.fixture
def arguments(tmp_path):
    def folder(asked: str):
        made = tmp_path / "arguments"
        (made / "qrels").mkdir(parents=True)
        texts = {"a": FOR, "b": AGAINST, **OTHERS}
        lines = [json.dumps({"_id": key, "title": "", "text": text}) + "\n" for key, text in texts.items()]
        (made / "corpus.jsonl").write_text("".join(lines))
        (made / "queries.jsonl").write_text(json.dumps({"_id": "a", "text": asked}) + "\n")
        (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\tb\t1\n")
        return made

    return folder


def records(outcome):
    return [hit[0].rpartition("#")[2] for hit in outcome.hits]


def found(pipeline, questions, k, metrics=("R@1",)):
    take_in(pipeline, questions)
    (outcome,) = Evaluator(pipeline, questions, list(metrics), k=k).evaluate().outcomes
    return records(outcome), outcome.scores["R@1"]


WHOLE = {"use": "fixed", "max_tokens": 200}


@pytest.mark.parametrize("metrics", [("R@1",), ("R@1", "faithfulness_lite")], ids=["passages", "answers"])
@pytest.mark.parametrize("k", [1, 2])
def test_the_question_itself_is_left_out_and_its_place_is_filled(make, arguments, metrics, k):
    pipeline = make(retrieve=[{"use": "bm25"}], segment=WHOLE)
    names, right = found(pipeline, read_questions(arguments(FOR)), k, metrics)
    assert (len(names), names[0], right) == (k, "b", 1.0)
    assert "a" not in names


def test_a_document_that_has_only_the_id_of_a_question_stays(make, arguments):
    pipeline = make(retrieve=[{"use": "bm25"}], segment=WHOLE)
    assert found(pipeline, read_questions(arguments("What spoils the town with noise?")), 1) == (["a"], 0.0)


@pytest.mark.parametrize("metrics", [("R@1",), ("R@1", "faithfulness_lite")], ids=["passages", "answers"])
def test_a_trial_of_a_sweep_leaves_it_out_as_well(tmp_path, arguments, metrics):
    task = Task(str(tmp_path / "cache"), str(tmp_path), (), read_questions(arguments(FOR)), metrics)
    settings = {"encoder": "hash", "retrieve": ["dense", "bm25"], "fuse": "calibrated", "segment": WHOLE, "k": 2}
    trials = Trials(task)
    for _ in range(2):  # The second is looked up.
        (outcome,), _ = trials.run(Job("t", settings, 0, 1))
        assert len(outcome.hits) == 2
        assert (records(outcome)[0], outcome.scores["R@1"]) == ("b", 1.0)
        assert "a" not in records(outcome)
    trials.close()


def test_a_bench_leaves_it_out_as_well(arguments, monkeypatch):
    monkeypatch.setattr(retrieval, "KEPT", 2)
    collection = read_beir(arguments(FOR))
    corpus = Corpora(collection, HashEncoder()).of(None)
    for method in chosen("bm25, [dense, bm25]"):
        [ranked], _ = retrieval.searched(method, collection, corpus)
        assert len(ranked) == 2
        assert not {chunk.id for chunk in collection.chunks if chunk.document_id == "a"} & {*ranked}


@pytest.mark.parametrize("size", [500, 40, 7, 1])
def test_however_many_chunks_it_has_k_others_are_found(size):
    """The document is found first by all of its chunks, which may be more than are asked for."""
    corpus = MemoryCorpus.of({"itself": FOR * 3, "other": AGAINST * 3}, HashEncoder(), size=size)
    spec = PipelineSpec.model_validate({"encoder": "hash", "retrieve": ["dense"], "candidates": 5})
    most = sum(chunk.document_id == "other" for chunk in corpus.chunks())
    for k in (1, 5, 30):
        hits = retrieve(spec, Query(FOR, itself="itself"), k, corpus, Trace())
        assert len(hits) == min(k, most)
        assert {hit.chunk.document_id for hit in hits} == {"other"}
