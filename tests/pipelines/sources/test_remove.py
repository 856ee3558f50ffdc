"""`remove` takes names, folders and globs, and says what went; `status` says what is no longer as it was."""

import os

import pytest

from fovea.pipelines.sources.patterns import matches
from fovea.rag.errors import QueryError
from fovea.rag.types import Document

ALL = ["docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"]


@pytest.mark.parametrize(
    ("wanted", "removed"),
    [
        (["docs/tea.md"], ["docs/tea.md"]),
        (["docs"], ALL),
        (["docs/"], ALL),
        (["./docs/sub/"], ["docs/sub/rivers.txt"]),
        (["docs/*.txt"], ["docs/moon.txt"]),
        (["docs/**/*.txt"], ["docs/moon.txt", "docs/sub/rivers.txt"]),
        (["docs/s*"], ["docs/sub/rivers.txt"]),
        (["**/t?a.md", "docs/sub", "docs/tea.md"], ["docs/tea.md", "docs/sub/rivers.txt"]),
        (["note"], ["note"]),
    ],
)
def test_names_folders_and_globs(make, docs, wanted, removed):
    pipeline = make()
    pipeline.ingest(docs)
    pipeline.add([Document("note", "A note that is no file.", "note")])
    assert pipeline.remove(wanted, dry_run=True) == removed
    assert len(pipeline.status()) == 4
    assert pipeline.remove(wanted) == removed
    assert sorted(row.name for row in pipeline.status()) == sorted({*ALL, "note"} - set(removed))
    assert pipeline.verify() == []


def test_paths_from_another_directory_and_by_links(make, docs, tmp_path, monkeypatch):
    (tmp_path / "way").symlink_to(docs)
    pipeline = make()
    pipeline.ingest(docs)
    monkeypatch.chdir(docs / "sub")
    assert pipeline.remove("../moon.txt") == ["docs/moon.txt"]
    assert pipeline.remove([str(tmp_path / "way" / "sub")]) == ["docs/sub/rivers.txt"]
    assert pipeline.remove([str(docs / "t*")]) == ["docs/tea.md"]


def test_a_name_with_signs_of_a_glob_is_itself_first(make, docs):
    for name in ("[m].txt", "m.txt"):
        (docs / name).write_text(f"The file {name}.")
    pipeline = make()
    pipeline.ingest(docs)
    assert pipeline.remove(["docs/[m].txt"]) == ["docs/[m].txt"]
    assert pipeline.remove(["docs/[m].txt"]) == ["docs/m.txt"]


@pytest.mark.parametrize("unknown", ["docs/mon.txt", "dcs", "*.pdf", "", "docs/moon.txt/x", "/nowhere"])
def test_what_names_nothing_is_an_error_and_nothing_goes(make, docs, unknown):
    pipeline = make()
    pipeline.ingest(docs)
    for dry_run in (True, False):
        with pytest.raises(QueryError, match="the store has no source"):
            pipeline.remove(["docs/tea.md", unknown], dry_run=dry_run)
    assert len(pipeline.status()) == 3


def test_the_nearest_name_is_found_among_many(make, docs):
    for i in range(40):
        (docs / f"a{i}.txt").write_text(f"Text {i}.")
    pipeline = make()
    pipeline.ingest(docs)
    with pytest.raises(QueryError, match="did you mean 'docs/moon.txt'") as caught:
        pipeline.remove(["docs/mon.txt"])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "pattern", "right"),
    [
        ("a/b.txt", "a/*.txt", True), ("a/c/b.txt", "a/*.txt", False), ("a/c/b.txt", "a/**/*.txt", True),
        ("a/b.txt", "a/**/*.txt", True), ("ab/c", "a", False), ("a/c", "a", True), ("/x/y.md", "/x/*.md", True),
        ("A.txt", "a.txt", False), ("a.txt", "?.txt", True), ("a.txt", "**", True), ("a.txt", "*/a.txt", False),
    ],
)  # fmt: skip
def test_globs(name, pattern, right):
    assert matches(name, pattern) is right


def test_the_survey_says_what_is_gone_and_what_has_changed(make, docs):
    for i in range(3):
        (docs / "old").mkdir(exist_ok=True)
        (docs / "old" / f"{i}.txt").write_text(f"Text {i}.")
    pipeline = make()
    pipeline.ingest(docs)
    pipeline.add([Document("note", "A note that is no file.", "note")])
    found = pipeline.survey()
    assert (found.gone, found.missing, found.changed, found.unseen, found.outdated) == ([], {}, [], {}, [])
    for path in (docs / "old").iterdir():
        path.unlink()
    (docs / "old").rmdir()
    (docs / "tea.md").unlink()
    os.utime(docs / "moon.txt", (5, 5))
    size = (docs / "sub" / "rivers.txt").stat().st_size
    (docs / "sub" / "rivers.txt").write_text("x" * size)
    found = pipeline.survey()
    assert found.missing == {"docs/old": 3, "docs/tea.md": 1}
    assert sorted(found.gone) == ["docs/old/0.txt", "docs/old/1.txt", "docs/old/2.txt", "docs/tea.md"]
    assert found.changed == ["docs/sub/rivers.txt"]
    assert pipeline.remove(list(found.missing)) == sorted(found.gone)
