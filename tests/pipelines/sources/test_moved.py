"""A file under a new name is the source it was: nothing is doubled, encoded anew, or left behind."""

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import DocumentError


def names(pipeline):
    return [row.name for row in pipeline.status()]


@pytest.fixture
def counted(monkeypatch):
    seen: list[str] = []
    real = HashEncoder.encode
    monkeypatch.setattr(
        HashEncoder, "encode", lambda self, texts, role="document": (seen.extend(texts), real(self, texts, role))[1]
    )
    return seen


@pytest.mark.parametrize("stages", [{}, {"pool": "late"}, {"situate": "headings"}])
def test_a_moved_folder_is_the_same_sources_and_encodes_nothing(make, docs, counted, stages):
    pipeline = make(**stages)
    pipeline.ingest(docs)
    counted.clear()
    moved = docs.rename(docs.with_name("docs2"))
    report = pipeline.ingest(moved)
    assert report.moved == {f"docs2/{n}": f"docs/{n}" for n in ("moon.txt", "sub/rivers.txt", "tea.md")}
    assert (report.added, report.removed, report.gone, report.encoded, counted) == ([], [], [], 0, [])
    assert names(pipeline) == ["docs2/moon.txt", "docs2/sub/rivers.txt", "docs2/tea.md"]
    assert {h.chunk.source for h in pipeline.retrieve("moon tea danube", k=9)} <= set(names(pipeline))
    assert pipeline.verify() == []
    assert pipeline.ingest(moved).unchanged == 3


def test_files_renamed_inside_a_folder(make, docs, counted):
    pipeline = make()
    pipeline.ingest(docs)
    counted.clear()
    (docs / "moon.txt").rename(docs / "sub" / "luna.txt")
    (docs / "tea.md").rename(docs / "moon.txt")
    report = pipeline.ingest(docs)
    assert report.moved == {"docs/sub/luna.txt": "docs/moon.txt"} or not counted
    assert names(pipeline) == ["docs/moon.txt", "docs/sub/luna.txt", "docs/sub/rivers.txt"]
    assert counted == []
    assert "Green tea" in pipeline.retrieve("green tea brewed", k=1)[0].chunk.text


def test_of_equal_files_each_follows_its_own_name(make, docs):
    (docs / "copy.txt").write_text((docs / "moon.txt").read_text())
    pipeline = make()
    pipeline.ingest(docs)
    moved = docs.rename(docs.with_name("docs2"))
    report = pipeline.ingest(moved)
    assert report.moved["docs2/copy.txt"] == "docs/copy.txt"
    assert len(names(pipeline)) == 4
    assert report.gone == []


def test_a_copy_of_a_file_that_is_there_is_not_a_move(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    (docs.parent / "copies").mkdir()
    (docs.parent / "copies" / "moon.txt").write_bytes((docs / "moon.txt").read_bytes())
    report = pipeline.ingest(docs.parent / "copies")
    assert (report.added, report.moved) == (["copies/moon.txt"], {})
    assert len(names(pipeline)) == 4


def test_what_did_not_come_along_is_said_and_stays(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    moved = docs.rename(docs.with_name("docs2"))
    (moved / "tea.md").unlink()
    report = pipeline.ingest(moved)
    assert report.gone == ["docs/tea.md"]
    assert "docs/tea.md" in names(pipeline)
    assert pipeline.remove(["docs"]) == ["docs/tea.md"]


def test_a_moved_file_that_cannot_be_read_leaves_no_row_behind(make, docs):
    (docs / "a.jsonl").write_text("{\n")
    pipeline = make()
    pipeline.ingest(docs)
    moved = docs.rename(docs.with_name("docs2"))
    assert list(pipeline.ingest(moved).failed) == ["docs2/a.jsonl"]
    assert names(pipeline) == ["docs2/a.jsonl", "docs2/moon.txt", "docs2/sub/rivers.txt", "docs2/tea.md"]


def test_a_project_moved_as_a_whole_changes_nothing(tmp_path, docs):
    with Pipeline(base=tmp_path, encoder="hash") as pipeline:
        pipeline.ingest(docs)
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    with Pipeline(base=moved, encoder="hash") as pipeline:
        assert pipeline.ingest(moved / "docs").unchanged == 3
        assert len(names(pipeline)) == 3


def test_a_kill_inside_a_move_leaves_the_old_name(make, docs, monkeypatch):
    from fovea.retrievers.library.library import Library

    pipeline = make()
    pipeline.ingest(docs)
    moved = docs.rename(docs.with_name("docs2"))

    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Library, "replace", die)
        with pytest.raises(Died):
            pipeline.ingest(moved)
    assert names(pipeline) == ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]
    report = pipeline.ingest(moved)
    assert report.encoded == 0
    assert names(pipeline) == ["docs2/moon.txt", "docs2/sub/rivers.txt", "docs2/tea.md"]
    assert {d.source for d in pipeline.corpus.library.documents()} == set(names(pipeline))
    assert pipeline.verify() == []


def test_a_file_whose_name_a_folder_has_now_is_gone(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    (docs / "moon.txt").unlink()
    (docs / "moon.txt").mkdir()
    (docs / "moon.txt/new.txt").write_text("Another text.")
    assert pipeline.survey().gone == ["docs/moon.txt"]
    assert pipeline.ingest(docs).removed == ["docs/moon.txt"]
    assert names(pipeline) == ["docs/moon.txt/new.txt", "docs/sub/rivers.txt", "docs/tea.md"]


def test_an_empty_path_is_not_the_folder_one_is_in(make, docs, monkeypatch):
    monkeypatch.chdir(docs)
    with pytest.raises(DocumentError, match="a path is empty"):
        make().ingest("")
