"""`compact`: space comes back, a reader beside goes on, and what was there is there."""

from __future__ import annotations

import json

import pytest

from fovea.pipelines.cli.main import main
from fovea.rag.errors import StoreError
from fovea.rag.trace import Trace

YAML = "encoder: hash\nsegment: {use: sentence, max_tokens: 12}\nstore: {use: %s, path: store}\n"


def half_of(make, folder, kind: str):
    """A pipeline over thirty files, of which twenty are taken out again."""
    (folder / "docs").mkdir()
    for i in range(30):
        text = " ".join(f"w{i}x{j} says this. And it goes on." for j in range(12))
        (folder / "docs" / f"{i:02}.txt").write_text(text)
    (folder / "p.yaml").write_text(YAML % kind)
    with make(store={"use": kind, "path": "store"}) as pipeline:
        pipeline.ingest(folder / "docs")
        pipeline.remove("docs/[1-2]*")
    return pipeline


@pytest.fixture
def half(make, tmp_path):
    return half_of(make, tmp_path, "embedded")


@pytest.fixture(params=["embedded", "chroma"])
def either(request, make, tmp_path):
    if request.param == "chroma":
        pytest.importorskip("chromadb")
    return half_of(make, tmp_path, request.param)


def test_space_comes_back_and_a_second_time_there_is_none(either):
    library = either.spec.store.path / "library.sqlite"
    size = library.stat().st_size
    found = either.compact()
    assert found.vectors == 20 * 12
    assert found.after < found.before
    assert library.stat().st_size < size * 0.7
    assert either.verify() == []
    assert either.compact().vectors == 0
    assert [hit.chunk.source for hit in either.retrieve("w7x3", k=1)] == ["docs/07.txt"]


def test_a_reader_beside_goes_on(either, make):
    kind = {"use": either.spec.store.name, "path": "store"}
    with make(store=kind) as reader:
        before = reader.retrieve("w7x3 says")
        trace = Trace()
        with trace.stage("compact"):
            either.compact()
        assert trace.warnings == {}
        assert reader.retrieve("w7x3 says") == before
        assert reader.retrieve("w8x3 says")[0].chunk.source == "docs/08.txt"


def test_a_reader_that_does_not_end_is_said(half, monkeypatch):
    from fovea.retrievers.library import database
    from fovea.retrievers.library.library import Library

    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    trace = Trace()
    with Library.open(half.spec.store.path, read_only=True) as reader, reader.snapshot():
        there = reader.count
        with trace.stage("compact"):
            half.compact()
        assert reader.count == there
    assert any("another program is reading" in words for words in trace.warnings)
    assert half.verify() == []


def test_the_verb_says_bytes_and_the_store_must_be_there(half, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compact", "p.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["vectors"] == 240
    assert (
        found["before"]
        > found["after"]
        == sum(p.stat().st_size for p in (tmp_path / "store").rglob("*") if p.is_file())
    )
    assert main(["compact", "p.yaml"]) == 0
    assert capsys.readouterr().out.startswith("0 unused vectors dropped; ")


def test_nothing_is_made_where_nothing_was_ingested(make, tmp_path):
    with (
        make(store={"use": "embedded", "path": "store"}) as pipeline,
        pytest.raises(StoreError, match="nothing has been"),
    ):
        pipeline.compact()
    assert not (tmp_path / "store").exists()
