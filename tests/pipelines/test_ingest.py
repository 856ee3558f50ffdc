"""Ingestion is incremental: only changes cost, and the store says what the files say."""

import os

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import DocumentError, FoveaError, LockedError, QueryError, StoreError


def texts(pipeline: Pipeline) -> set[tuple[str, int, int, str]]:
    library = pipeline.corpus.library
    return {(c.source, c.start, c.end, c.text) for d in library.documents() for c in library.chunks_of(d.id)}


@pytest.fixture
def counted(monkeypatch):
    """Every text that the hashing encoder is asked to encode as a document."""
    seen: list[str] = []
    real = HashEncoder.encode

    def encode(self, given, role="document"):
        if role == "document":
            seen.extend(given)
        return real(self, given, role)

    monkeypatch.setattr(HashEncoder, "encode", encode)
    return seen


def test_a_first_run_takes_everything_in(make, docs):
    pipeline = make()
    report = pipeline.ingest(docs)
    assert sorted(report.added) == ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]
    assert report.ok
    assert report.encoded == report.chunks == len(texts(pipeline))
    for document in pipeline.corpus.library.documents():
        for chunk in pipeline.corpus.library.chunks_of(document.id):
            assert document.text[chunk.start : chunk.end] == chunk.text
    assert pipeline.verify() == []


def test_a_second_run_encodes_nothing(make, docs, counted):
    pipeline = make()
    pipeline.ingest(docs)
    before, stored = len(counted), texts(pipeline)
    report = pipeline.ingest(docs)
    assert (report.unchanged, report.encoded, report.added, report.changed) == (3, 0, [], [])
    assert len(counted) == before
    assert texts(pipeline) == stored


def test_touching_a_file_changes_nothing(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    os.utime(docs / "moon.txt", (1, 1))
    assert pipeline.ingest(docs).unchanged == 3


def test_a_changed_file_is_replaced_and_only_its_new_chunks_are_encoded(make, docs, counted):
    pipeline = make()
    pipeline.ingest(docs)
    counted.clear()
    (docs / "moon.txt").write_text((docs / "moon.txt").read_text() + "The far side was first seen in 1959.\n")
    report = pipeline.ingest(docs)
    assert report.changed == ["docs/moon.txt"]
    assert counted == ["The far side was first seen in 1959."]
    assert any("far side" in text for *_, text in texts(pipeline))
    assert "far side" in pipeline.retrieve("far side first seen", k=1)[0].chunk.text


def test_a_file_gone_from_an_ingested_folder_is_removed(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    (docs / "tea.md").unlink()
    report = pipeline.ingest(docs)
    assert report.removed == ["docs/tea.md"]
    assert not any("tea" in text.lower() for *_, text in texts(pipeline))
    assert all("tea" not in h.chunk.text for h in pipeline.retrieve("green tea brewed", k=5))


def test_a_file_outside_the_ingested_folder_is_left_alone(make, docs):
    pipeline = make()
    pipeline.ingest([docs / "moon.txt", docs / "sub"])
    (docs / "moon.txt").unlink()
    assert pipeline.ingest(docs / "sub").removed == []
    assert "docs/moon.txt" in {row.name for row in pipeline.status()}


def test_other_settings_take_the_files_again_but_reuse_what_they_can(make, docs, counted):
    make().ingest(docs)
    counted.clear()
    pipeline = make(segment={"use": "sentence", "max_tokens": 16})
    report = pipeline.ingest(docs)
    assert len(report.changed) == 3
    assert len(counted) == report.encoded > 0
    assert report.reused == report.chunks - report.encoded > 0
    assert pipeline.verify() == []


def test_another_encoder_is_refused_until_one_says_rebuild(make, docs):
    make().ingest(docs)
    other = make(encoder={"use": "hash", "size": 64})
    with pytest.raises(StoreError, match="--rebuild"):
        other.ingest(docs)
    with pytest.raises(StoreError, match="encoder"):
        other.retrieve("moon")
    report = other.ingest(docs, rebuild=True)
    assert len(report.added) == 3
    assert other.corpus.library.dim == 64
    assert other.retrieve("Who walked on the Moon?", k=1)[0].chunk.source == "docs/moon.txt"


def test_the_same_text_in_two_files_is_encoded_once_and_kept_twice(make, docs, counted):
    (docs / "copy.txt").write_text((docs / "moon.txt").read_text())
    pipeline = make()
    report = pipeline.ingest(docs)
    assert len(counted) == len(set(counted)) == report.encoded
    assert {"docs/moon.txt", "docs/copy.txt"} <= {s for s, *_ in texts(pipeline)}
    pipeline.remove(["docs/copy.txt"])
    assert "docs/moon.txt" in {s for s, *_ in texts(pipeline)}
    assert pipeline.verify() == []


def test_a_file_that_cannot_be_read_is_a_row_with_its_reason_and_the_rest_go_on(make, docs):
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 not really")
    pipeline = make()
    report = pipeline.ingest(docs)
    assert set(report.failed) == {"docs/broken.pdf"}
    assert len(report.added) == 3
    assert not report.ok
    row = next(r for r in pipeline.status() if r.name == "docs/broken.pdf")
    assert (row.status, row.attempts) == ("failed", 1)
    assert row.error
    assert pipeline.retry().failed
    assert next(r for r in pipeline.status() if r.name == "docs/broken.pdf").attempts == 2


def test_retry_takes_what_was_mended_and_forgets_what_is_gone(make, docs):
    (docs / "a.jsonl").write_text('{"text": "broken\n')
    (docs / "b.jsonl").write_text("{\n")
    pipeline = make()
    assert set(pipeline.ingest(docs).failed) == {"docs/a.jsonl", "docs/b.jsonl"}
    (docs / "a.jsonl").write_text('{"text": "The kettle sings."}\n')
    (docs / "b.jsonl").unlink()
    report = pipeline.retry()
    assert (report.failed, report.removed) == ({}, ["docs/b.jsonl"])
    assert {r.status for r in pipeline.status()} == {"ok"}
    assert "kettle" in pipeline.retrieve("kettle", k=1)[0].chunk.text


def test_a_new_version_that_cannot_be_read_does_not_lose_the_old(make, docs):
    (docs / "a.jsonl").write_text('{"text": "The kettle sings."}\n')
    pipeline = make()
    pipeline.ingest(docs)
    (docs / "a.jsonl").write_text("{\n")
    assert pipeline.ingest(docs).failed
    assert "kettle" in pipeline.retrieve("kettle", k=1)[0].chunk.text


def test_a_second_writer_is_refused_and_the_first_is_named(make, docs):
    first, second = make(), make()
    with first._writing(), pytest.raises(LockedError, match=str(os.getpid())):
        second.ingest(docs)
    assert second.ingest(docs).ok


def test_readers_see_what_another_pipeline_commits(make, docs):
    reader, writer = make(), make()
    writer.ingest(docs / "moon.txt")
    assert reader.retrieve("Armstrong", k=1)
    writer.ingest(docs)
    assert reader.retrieve("How long is the Nile?", k=1)[0].chunk.source == "docs/sub/rivers.txt"


def test_unknown_files_in_a_folder_are_counted_and_named_ones_refused(make, docs):
    (docs / "photo.png").write_bytes(b"\x89PNG")
    pipeline = make()
    report = pipeline.ingest(docs)
    assert dict(report.skipped) == {".png": 1}
    assert report.to_dict()["unknown"] == ["docs/photo.png"]
    with pytest.raises(DocumentError, match=r"photo\.png"):
        pipeline.ingest(docs / "photo.png")
    with pytest.raises(DocumentError, match=r"moon\.txt"):
        pipeline.ingest(docs / "mon.txt")


def test_unknown_files_are_named_by_status_until_they_are_gone(make, docs):
    for name in ("photo.png", "sub/film.mov"):
        (docs / name).write_bytes(b"x")
    pipeline = make()
    pipeline.ingest(docs)
    assert list(pipeline.survey().unknown) == ["docs/photo.png", "docs/sub/film.mov"]
    (docs / "photo.png").unlink()
    assert list(pipeline.survey().unknown) == ["docs/sub/film.mov"]
    pipeline.ingest(docs / "sub")
    assert pipeline.survey().to_dict()["unknown"] == ["docs/sub/film.mov"]
    (docs / "sub" / "film.mov").rename(docs / "sub" / "film.txt")
    pipeline.ingest(docs)
    assert pipeline.survey().to_dict()["unknown"] == []


def test_removing_an_unknown_source_is_an_error_and_removes_nothing(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    with pytest.raises(QueryError, match="did you mean 'docs/moon.txt'"):
        pipeline.remove(["docs/tea.md", "docs/mon.txt"])
    assert len(pipeline.status()) == 3


def test_ids_and_offsets_are_the_same_wherever_the_folder_lies(tmp_path):
    found = []
    for place in ("here", "there"):
        root = tmp_path / place
        (root / "docs").mkdir(parents=True)
        (root / "docs" / "a.md").write_text("# A\n\nOne. Two. Three.\n")
        with Pipeline(base=root, encoder="hash") as pipeline:
            pipeline.ingest(root / "docs")
            found.append([h.chunk.id for h in pipeline.retrieve("two")])
    assert found[0] == found[1]


def test_asking_before_ingesting_says_what_to_do(make):
    with pytest.raises(FoveaError, match="fovea ingest"):
        make().ask("Anything?")
