"""Globs over folders with links, stores and what is passed by."""

import os

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.sources.globs import matched


def found(folder, pattern):
    return [path.relative_to(folder).as_posix() for path in matched(folder / pattern)]


@pytest.fixture
def tree(tmp_path):
    for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt", ".hidden/d.txt", "sub/node_modules/e.txt", "~$f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"The text of {name}.")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "right"),
    [
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["a.txt", "sub/b.txt", "sub/deep/c.txt"]),
        ("*/*.txt", ["sub/b.txt"]),
        ("*/b.txt", ["sub/b.txt"]),
        ("**/deep", ["sub/deep"]),
        ("**/deep/*", ["sub/deep/c.txt"]),
        ("sub/**", ["sub", "sub/deep"]),
        ("*/**/*.txt", ["sub/b.txt", "sub/deep/c.txt"]),
        ("[a-c].txt", ["a.txt"]),
        ("?.txt", ["a.txt"]),
        (".hidden/*", [".hidden/d.txt"]),
        ("**/node_modules/*", ["sub/node_modules/e.txt"]),
        ("a.txt/*", []),
        ("none/**", []),
    ],
)
def test_what_a_pattern_matches(tree, pattern, right):
    assert found(tree, pattern) == right


@pytest.mark.parametrize("pattern", ["**/*.txt", "**/**/*.txt", "*/*/*/*/*/*/*/*", "**/sub/**/b.txt"])
def test_links_that_lead_round_in_circles_end(tree, pattern):
    for n in range(6):
        os.symlink(tree, tree / f"loop{n}")
        os.symlink("..", tree / f"sub/up{n}")
        os.symlink(".", tree / f"sub/deep/self{n}")
    files = {os.path.realpath(path) for path in matched(tree / pattern) if path.is_file()}
    assert os.path.realpath(tree / "sub/b.txt") in files
    assert len(matched(tree / pattern)) < 40


def test_a_folder_that_is_reached_by_a_link_alone_is_matched(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "x.txt").write_text("x")
    os.symlink(other, tree / "link")
    assert "link/x.txt" in found(tree, "**/*.txt")
    assert found(tree, "li*/*.txt") == ["link/x.txt"]


@pytest.mark.parametrize("pattern", ["**/*.json", "*/*.json", "*/*/*.json", "**/meta.json"])
def test_nothing_is_matched_inside_a_store(tree, pattern):
    (tree / "index/qdrant").mkdir(parents=True)
    (tree / "note.json").write_text('{"a": "of mine"}')
    pipeline = Pipeline(encoder="hash", store={"use": "embedded", "path": "index"}, base=tree)
    pipeline.ingest(tree / "note.json")
    (tree / "index/meta.json").write_text('{"not": "a document"}')
    (tree / "index/qdrant/meta.json").write_text('{"not": "a document"}')
    inside = [path for path in matched(tree / pattern, lambda folder: folder.name == "index") if "index" in path.parts]
    assert inside == []
    if pattern == "**/*.json":
        pipeline.ingest(tree / pattern)
    assert [row.name for row in pipeline.status()] == ["note.json"]
    pipeline.close()
