"""One source a file, however the file is reached; and its name is the same from everywhere."""

import os
from pathlib import Path

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sources.places import Places, resolved


def names(pipeline):
    return [row.name for row in pipeline.status()]


THREE = ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]


def test_every_way_to_a_folder_leads_to_the_same_sources(make, docs, tmp_path, monkeypatch):
    (tmp_path / "project").symlink_to(tmp_path)
    (docs / "loop").symlink_to(docs)
    pipeline = make()
    monkeypatch.chdir(docs / "sub")
    ways = [
        docs, "..", "../../docs", "../sub/../../docs", tmp_path / "project" / "docs", tmp_path / "project/project/docs",
        docs / "loop", docs / "loop" / "loop", f"{docs}/**/*.txt", f"{docs}/*", f"{docs}/loop/*", "../*.md",
        docs / "loop" / "tea.md", Path("rivers.txt"), tmp_path / "project" / "*",
    ]  # fmt: skip
    for way in ways:
        pipeline.ingest(way)
        assert names(pipeline) == THREE, way
    assert {c.source for c in pipeline.corpus.library.chunks()} == set(THREE)
    assert pipeline.ingest(list(ways)).unchanged == 3
    assert pipeline.verify() == []


def test_a_name_is_the_same_when_called_from_another_directory(tmp_path, docs, monkeypatch):
    (tmp_path / "p.yaml").write_text("encoder: hash\n")
    for place in (tmp_path, docs, Path("/")):
        monkeypatch.chdir(place)
        with Pipeline.from_yaml(os.path.relpath(tmp_path / "p.yaml")) as pipeline:
            pipeline.ingest(os.path.relpath(docs))
            assert names(pipeline) == THREE


def test_the_pipelines_folder_itself_may_be_a_link(tmp_path, docs):
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    linked = tmp_path.parent / f"{tmp_path.name}-link"
    for base in (tmp_path, linked):
        with Pipeline(base=base, encoder="hash") as pipeline:
            pipeline.ingest(linked / "docs")
            assert names(pipeline) == THREE


def test_a_file_and_links_to_it_are_one_source(make, docs):
    (docs / "also.txt").symlink_to("moon.txt")
    (docs / "sub" / "again.txt").symlink_to("../moon.txt")
    pipeline = make()
    pipeline.ingest(docs)
    assert names(pipeline) == THREE
    assert pipeline.ingest([docs / "also.txt", docs / "sub"]).unchanged == 2
    assert names(pipeline) == THREE


def test_what_a_link_named_first_keeps_that_name(make, tmp_path, docs):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "luna.txt").symlink_to(docs / "moon.txt")
    pipeline = make()
    pipeline.ingest(tmp_path / "shelf")
    report = pipeline.ingest(docs)
    assert report.unchanged == 1
    assert names(pipeline) == ["docs/sub/rivers.txt", "docs/tea.md", "shelf/luna.txt"]
    (tmp_path / "shelf" / "luna.txt").unlink()
    assert pipeline.ingest(docs).moved == {"docs/moon.txt": "shelf/luna.txt"}
    assert names(pipeline) == THREE


def test_what_a_link_leads_to_elsewhere_bears_the_links_name_and_goes_with_it(tmp_path, docs):
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    (project / "docs" / "far").symlink_to(docs)
    (project / "docs" / "blob.md").symlink_to(docs / "tea.md")
    with Pipeline(base=project, encoder="hash") as pipeline:
        pipeline.ingest(project / "docs")
        pipeline.ingest(docs)
        assert names(pipeline) == ["docs/blob.md", "docs/far/moon.txt", "docs/far/sub/rivers.txt"]
        (docs / "moon.txt").unlink()
        assert pipeline.ingest(project / "docs").removed == ["docs/far/moon.txt"]
        (project / "docs" / "far").unlink()
        assert pipeline.ingest(project / "docs").removed == ["docs/far/sub/rivers.txt"]


def test_files_outside_the_pipelines_folder_have_their_real_path(tmp_path, docs):
    (tmp_path / "project").mkdir()
    (tmp_path / "way").symlink_to(docs)
    with Pipeline(base=tmp_path / "project", encoder="hash") as pipeline:
        pipeline.ingest(tmp_path / "way")
        assert names(pipeline) == [f"{tmp_path}/{name}" for name in THREE]


def test_two_files_that_only_hold_the_same_stay_two(make, docs):
    (docs / "copy.txt").write_text((docs / "moon.txt").read_text())
    os.link(docs / "moon.txt", docs / "hard.txt")
    pipeline = make()
    assert pipeline.ingest(docs).moved == {}
    assert len(names(pipeline)) == 5


def test_names_of_an_older_store_are_known_by_their_real_path(make, docs, tmp_path):
    """A store in which one file stands under three names, as before names were resolved."""
    (docs / "loop").symlink_to(docs)
    (tmp_path / "project").symlink_to(tmp_path)
    pipeline = make()
    pipeline.ingest(docs)
    with pipeline._writing() as library:
        library.rename("docs/moon.txt", f"{tmp_path}/project/docs/moon.txt")
        row = library.source("docs/tea.md")
        documents = [(d, library.chunks_of(d.id)) for d in library.documents() if d.source == "docs/tea.md"]
        from dataclasses import replace

        twins = [
            (replace(d, id="docs/loop/tea.md", source="docs/loop/tea.md"),
             [replace(c, document_id="docs/loop/tea.md", source="docs/loop/tea.md") for c in chunks])
            for d, chunks in documents
        ]  # fmt: skip
        library.replace(replace(row, name="docs/loop/tea.md"), twins)
    assert len(names(pipeline)) == 4
    report = pipeline.ingest(docs)
    assert report.moved == {"docs/moon.txt": f"{tmp_path}/project/docs/moon.txt"}
    assert report.removed == ["docs/loop/tea.md"]
    assert report.encoded == 0
    assert names(pipeline) == THREE
    assert pipeline.verify() == []


def test_a_file_system_that_folds_case_has_one_name_for_a_file(tmp_path, monkeypatch):
    (tmp_path / "Notes").mkdir()
    (tmp_path / "Notes" / "May.txt").write_text("x")
    assert resolved(str(tmp_path / "Notes" / "May.txt")) == str(tmp_path / "Notes" / "May.txt")
    # What macOS and Windows do: a name in another case leads to the file that the folder lists.
    os.link(tmp_path / "Notes" / "May.txt", tmp_path / "Notes" / "mAY.TXT")
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: [n for n in listdir(folder) if n != "mAY.TXT"])
    assert Places(tmp_path).name(tmp_path / "Notes" / "x.txt") == "Notes/x.txt"
    assert resolved(str(tmp_path / "Notes" / "mAY.TXT")) == str(tmp_path / "Notes" / "May.txt")
    monkeypatch.undo()
    assert resolved(str(tmp_path / "Notes" / "mAY.TXT")).endswith("mAY.TXT"), "listed: a file of its own"


@pytest.mark.parametrize(
    "name", ["a\nb.txt", "a b.txt", "[a].txt", "ä.txt", os.fsdecode(b"\xff.txt"), "-x.txt", "*.txt"]
)
def test_odd_names(make, docs, name):
    (docs / name).write_text("The kettle sings.")
    pipeline = make()
    pipeline.ingest(docs)
    pipeline.ingest(docs / name)
    assert f"docs/{name}" in names(pipeline)
    assert len(names(pipeline)) == 4
    assert pipeline.remove([f"docs/{name}"]) == [f"docs/{name}"]
