"""Other settings than those a store was made with are said, counted; and a store with nothing in it says so."""

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import StoreError
from fovea.rag.trace import Trace
from fovea.rag.types import Document


def warnings(pipeline, question="moon"):
    pipeline.retrieve(question, trace=(trace := Trace()))
    return dict(trace.warnings)


@pytest.mark.parametrize(
    ("stages", "named"),
    [
        ({"segment": {"use": "sentence", "max_tokens": 30}}, "segment"),
        ({"pool": "late"}, "pool"),
        ({"situate": "headings"}, "situate"),
        ({"load": [{"use": "csv", "delimiter": ";"}]}, "load"),
        ({"segment": {"use": "recursive", "max_tokens": 30}, "pool": "late"}, "segment, pool"),
    ],
)
def test_changed_settings_are_said_until_they_are_taken_in(make, docs, stages, named):
    make().ingest(docs)
    pipeline = make(**stages)
    said = (
        f"sources were taken in with other settings ({named}) than the pipeline has now: fovea ingest takes their files"
        " again"
    )
    assert warnings(pipeline) == {said: 3}
    assert any(said in stage.warnings for stage in pipeline.ask("How long is the Nile?").trace.stages)
    assert len(pipeline.survey().outdated) == 3
    pipeline.ingest(docs / "sub")
    assert warnings(pipeline) == {said: 2}
    assert len(pipeline.ingest(docs).changed) == 2
    assert warnings(pipeline) == {}
    assert pipeline.survey().outdated == []


def test_what_decides_nothing_about_chunks_is_not_spoken_of(make, docs):
    make().ingest(docs)
    assert warnings(make(retrieve=[{"use": "bm25"}], candidates=20, k=2)) == {}


def test_every_answer_says_it_and_the_log_once(make, docs, caplog):
    make().ingest(docs)
    pipeline = make(segment={"use": "sentence", "max_tokens": 30})
    with caplog.at_level("WARNING", logger="fovea"):
        answers = [pipeline.ask(question) for question in ("moon", "tea", "rivers")]
    assert [len(answer.trace.warnings) for answer in answers] == [1, 1, 1]
    assert len([r for r in caplog.records if "with other settings" in r.getMessage()]) == 1


def test_added_documents_count_too(make):
    make().add([Document("a", "One two three.", "a")])
    assert list(warnings(make(), "two")) == []
    assert list(warnings(make(segment={"use": "sentence", "max_tokens": 30}), "two").values()) == [1]


def test_a_store_that_never_noted_settings_is_judged_by_its_recipes(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    with pipeline._writing() as library:
        library._db.run("DELETE FROM meta WHERE name = 'made_with'")
    assert warnings(make()) == {}
    changed = warnings(make(segment={"use": "sentence", "max_tokens": 30}))
    assert list(changed.values()) == [3]
    assert "other settings than" in next(iter(changed))


def test_asking_of_nothing_is_an_error_that_says_what_to_do(make, docs, tmp_path):
    (tmp_path / "nothing").mkdir()
    pipeline = make()
    pipeline.ingest(tmp_path / "nothing")
    for ask in (pipeline.ask, pipeline.retrieve):
        with pytest.raises(StoreError, match="nothing is in the store\n  fix: fovea ingest PIPELINE.yaml DOCUMENTS"):
            ask("Anything?")


def test_after_an_ingestion_that_failed_the_answer_says_how_many_failed(make, tmp_path):
    (tmp_path / "bad").mkdir()
    for i in range(3):
        (tmp_path / "bad" / f"{i}.jsonl").write_text("{\n")
    pipeline = make()
    pipeline.ingest(tmp_path / "bad")
    with pytest.raises(StoreError, match=r"(?s)nothing is in the store: 3 sources could not be read.*fovea status"):
        pipeline.ask("Anything?")


def test_a_filter_that_matches_nothing_is_no_error(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    assert pipeline.retrieve("moon", where="suffix == '.pdf'") == []


def test_the_size_limit_is_asked_before_a_file_is_read(tmp_path, monkeypatch):
    (tmp_path / "big.txt").write_text("x" * 1000)
    opened = []
    real = type(tmp_path).open
    monkeypatch.setattr(
        type(tmp_path), "open", lambda self, *a, **k: (opened.append(self.name), real(self, *a, **k))[1]
    )
    with Pipeline(base=tmp_path, encoder="hash", load=[{"use": "text", "max_bytes": 100}]) as pipeline:
        report = pipeline.ingest(tmp_path / "big.txt")
    assert report.failed["big.txt"].startswith("big.txt: 1,000 bytes are more than the limit of 100")
    assert "big.txt" not in opened
