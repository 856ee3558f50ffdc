"""A question's way through the pipeline, in Python: sync, async, streamed, explained."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from fovea.pipelines.answering.explain import fates, stage_lines
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.questions import LONGEST_QUESTION
from fovea.rag.errors import ConfigError, QueryError
from fovea.rag.trace import Trace
from fovea.rag.types import Answer


@pytest.fixture
def pipeline(make, docs):
    made = make()
    made.ingest(docs)
    return made


def test_an_answer_rests_on_exact_spans(pipeline):
    answer = pipeline.ask("Who walked on the Moon in 1969?")
    assert "Armstrong" in answer.text
    assert answer.citations
    for citation in answer.citations:
        document = pipeline.corpus.document(citation.document_id)
        assert document.text[citation.start : citation.end] == citation.quote
    assert answer.citations[0].source == "docs/moon.txt"
    assert [s.name for s in answer.trace.stages][:2] == ["retrieve dense", "retrieve bm25"]


def test_what_is_streamed_is_the_answer(pipeline):
    *pieces, answer = pipeline.stream("How is green tea brewed?")
    assert isinstance(answer, Answer)
    assert "".join(pieces) == answer.text


def test_the_async_twins_agree_with_the_sync_ones(pipeline):
    async def both():
        hits, answer = await asyncio.gather(pipeline.aretrieve("Nile"), pipeline.aask("Nile"))
        pieces = [p async for p in pipeline.astream("Nile")]
        return hits, answer, pieces

    hits, answer, pieces = asyncio.run(both())
    assert hits == pipeline.retrieve("Nile")
    assert answer.text == pipeline.ask("Nile").text
    assert pieces[-1].text == answer.text


def test_many_threads_may_ask_at_once(pipeline):
    questions = ["Who walked on the Moon?", "How is green tea brewed?", "Which river is longer?"] * 8
    expected = [pipeline.retrieve(q)[0].chunk.id for q in questions]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda q: pipeline.retrieve(q)[0].chunk.id, questions)) == expected


def test_k_says_how_many_and_one_is_enough(pipeline):
    assert len(pipeline.retrieve("the Danube", k=1)) == 1
    assert len(pipeline.retrieve("the Danube", k=3)) == 3
    assert pipeline.retrieve("the Danube", k=1) == pipeline.retrieve("the Danube", k=3)[:1]


@pytest.mark.parametrize("question", ["", "   \n"])
def test_an_empty_question_is_refused(pipeline, question):
    with pytest.raises(QueryError, match="the question is empty"):
        pipeline.ask(question)


def test_a_question_of_100k_characters_is_refused_with_the_limit(pipeline):
    with pytest.raises(QueryError, match=r"100,000 characters; the most is 20,000"):
        pipeline.ask("x" * 100_000)
    assert pipeline.retrieve("moon " * (LONGEST_QUESTION // 5))


def test_a_question_in_hostile_letters_is_only_text(pipeline):
    for question in (
        '"',
        "AND OR NOT",
        "moon*",
        "NEAR(a b)",
        "col:moon",
        "'; DROP TABLE chunks; --",
        "\x00",
        "{}[]()^~",
    ):
        pipeline.retrieve(question)
    assert pipeline.verify() == []


def test_a_filter_keeps_what_matches(make, docs):
    (docs / "log.jsonl").write_text(
        "".join(f'{{"text": "The river rose in year {y}.", "year": {y}}}\n' for y in (1999, 2005, 2011))
    )
    pipeline = make(load=[{"use": "jsonl", "metadata": ["year"]}])
    pipeline.ingest(docs)
    hits = pipeline.retrieve("When did the river rise?", k=10, where="year > 2000")
    assert {h.chunk.metadata["year"] for h in hits} == {2005, 2011}
    with pytest.raises(QueryError, match="cannot read the filter"):
        pipeline.retrieve("river", where="year >")


def test_explain_gives_every_chunk_a_fate(make, docs):
    pipeline = make(refine=[{"use": "top_k", "keep": 2}])
    pipeline.ingest(docs)
    trace = Trace()
    hits = pipeline.retrieve("the Danube and the Nile", k=1, trace=trace)
    found = fates(trace)
    kept = [f for f in found if not f.dropped_by]
    assert [f.id for f in kept] == [h.chunk.id for h in hits]
    lost = [f for f in found if f.dropped_by]
    assert lost
    assert all(f.reason for f in lost)
    assert any(f.dropped_by == "keep" and f.reason == "below the first 1" for f in lost)
    assert any("refine[0] top_k" in f.dropped_by for f in lost)
    lines = list(stage_lines(trace))
    assert any(line.startswith("retrieve dense") and " ms " in line for line in lines)


def test_two_retrievers_of_one_kind_are_told_apart(make, docs):
    pipeline = make(retrieve=["bm25", "bm25"], fuse="rrf")
    pipeline.ingest(docs)
    trace = Trace()
    assert pipeline.retrieve("Nile", trace=trace)
    assert {"retrieve bm25", "retrieve bm25#2"} <= {s.name for s in trace.stages}


def test_mistakes_in_python_are_named_like_those_in_yaml():
    with pytest.raises(ConfigError, match=r"segment\[0\]\.max_token: unknown setting 'max_token'"):
        Pipeline(encoder="hash", segment={"use": "fixed", "max_token": 3})
    with pytest.raises(ConfigError, match="did you mean 'segment'"):
        Pipeline(segmnt=[])


def test_from_yaml_finds_its_store_from_anywhere(tmp_path, docs, monkeypatch):
    (tmp_path / "p.yaml").write_text("encoder: hash\nstore: {use: embedded, path: .fovea/here}\n")
    with Pipeline.from_yaml(tmp_path / "p.yaml") as pipeline:
        pipeline.ingest(docs)
    monkeypatch.chdir("/")
    with Pipeline.from_yaml(tmp_path / "p.yaml") as pipeline:
        assert pipeline.retrieve("moon")[0].chunk.source == "docs/moon.txt"
    assert (tmp_path / ".fovea" / "here" / "library.sqlite").exists()
