"""Stores, and files that Fovea wrote itself, are not documents; documents beside them are."""

import json

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sources.own import Own
from fovea.rag.errors import FoveaError


def names(pipeline):
    return [row.name for row in pipeline.status()]


@pytest.mark.parametrize("driver", ["embedded", "chroma", "qdrant"])
@pytest.mark.parametrize("path", ["index", "docs/store", "."])
def test_the_store_in_the_ingested_folder_is_never_read(tmp_path, docs, driver, path):
    if driver != "embedded":
        pytest.importorskip({"chroma": "chromadb", "qdrant": "qdrant_client"}[driver])
    everything = [{"use": "text", "also": [".json", ".sqlite", ".bin", ".lock"]}]
    store = {"use": driver, "path": path}
    with Pipeline(base=tmp_path, encoder="hash", store=store, load=everything) as pipeline:
        for _ in range(2):
            assert pipeline.ingest(tmp_path).ok
            assert names(pipeline) == ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]


def test_the_store_of_another_pipeline_is_known_by_its_mark(tmp_path, docs):
    loader = [{"use": "text", "also": [".json"]}]
    with Pipeline(base=tmp_path, encoder="hash", store={"use": "embedded", "path": "docs/other"}) as other:
        other.ingest(docs)
    assert (docs / "other" / "index" / "manifest.json").exists()
    with Pipeline(base=tmp_path, encoder="hash", load=loader) as pipeline:
        pipeline.ingest(docs)
        assert len(names(pipeline)) == 3


def test_documents_beside_a_store_are_read_when_its_folder_is_named_and_else_spoken_of(tmp_path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "a.md").write_text("The kettle sings.")
    with Pipeline(base=tmp_path, encoder="hash", store={"use": "embedded", "path": "shelf"}) as pipeline:
        pipeline.ingest(tmp_path / "shelf")
        pipeline.ingest(tmp_path / "shelf")
        assert names(pipeline) == ["shelf/a.md"]
    with Pipeline(base=tmp_path, encoder="hash") as pipeline:
        pipeline.ingest(tmp_path)
        with pytest.raises(FoveaError, match="nothing is in the store"):
            pipeline.retrieve("kettle")
        assert not Own().is_store(tmp_path)
        assert Own().is_store(tmp_path / "shelf")


def test_files_of_a_store_that_an_older_fovea_took_for_documents_go(tmp_path, docs):
    loader = [{"use": "text", "also": [".json"]}]
    store = {"use": "embedded", "path": "docs/store"}
    with Pipeline(base=tmp_path, encoder="hash", load=loader, store=store) as pipeline:
        pipeline.ingest(docs)
        with pipeline._writing() as library:
            library.rename("docs/tea.md", "docs/store/index/manifest.json")
        (docs / "tea.md").unlink()
        assert pipeline.ingest(docs).removed == ["docs/store/index/manifest.json"]


def test_what_fovea_wrote_is_not_read(tmp_path, docs):
    from fovea.pipelines.cli.init import template
    from fovea.pipelines.spec.schema import pipeline_schema
    from fovea.pipelines.sweep.report.best import best_yaml
    from fovea.pipelines.sweep.schema import study_schema
    from tests.sweep_records import record, trial

    (docs / "qa.yaml").write_text(template(docs / "qa.yaml", "qa"))
    (docs / "best.yaml").write_text(best_yaml(record([trial(1, 0.5, settings={"name": "x"})])))
    (docs / "fovea.schema.json").write_text(json.dumps(pipeline_schema(), indent=2))
    (docs / "study.schema.json").write_text(json.dumps(study_schema(), indent=2))
    (docs / "report.html").write_text('<!DOCTYPE html>\n<meta name="generator" content="Fovea"><p>x</p>')
    (docs / "mine.html").write_text("<!DOCTYPE html>\n<p>A page of mine.</p>")
    (docs / "mine.json").write_text('{"mine": "yes"}')
    (docs / "mine.yaml").write_text("mine: yes\n")
    with Pipeline(base=tmp_path, encoder="hash", load=[{"use": "text", "also": [".json", ".yaml"]}]) as pipeline:
        pipeline.ingest(docs)
        assert {name.removeprefix("docs/") for name in names(pipeline)} == {
            "mine.html", "mine.json", "mine.yaml", "moon.txt", "sub/rivers.txt", "tea.md",
        }  # fmt: skip
