"""Which files are read: all that a loader knows, each once, in order; the rest is counted, and mistakes are named."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fovea.pipelines.loaders.select import Selection, find, loader_for
from fovea.pipelines.loaders.text import TextLoader
from fovea.rag import registry
from fovea.rag.errors import DocumentError

LOADERS = [cls() for cls in registry.components("loader").values()]


@pytest.fixture
def tree(tmp_path):
    """A folder with files to read, to skip, and to pass by."""
    for name in (
        "b.txt", "a.md", "sub/c.TXT", "sub/deep/d.py", "photo.png", "sub/archive.rar", "sub/noise.rar", "Makefile",
        ".hidden.txt", ".git/config.txt", ".venv/x.py", ".fovea/x.txt", "__pycache__/x.py", "node_modules/x/README.md",
        "~$draft.docx",
    ):  # fmt: skip
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path / "tree"


def names(selection, base):
    return [p.relative_to(base).as_posix() for p in selection.files()]


def test_a_folder_is_read_in_order_and_the_unknown_is_counted(tree):
    selection = Selection([tree], LOADERS)
    assert names(selection, tree) == ["a.md", "b.txt", "sub/c.TXT", "sub/deep/d.py"]
    assert selection.skipped == {".rar": 2, ".png": 1, "": 1}
    assert [path.relative_to(tree).as_posix() for path in selection.unknown] == [
        "Makefile",
        "photo.png",
        "sub/archive.rar",
        "sub/noise.rar",
    ]
    assert selection.folders == [tree]
    assert len(names(selection, tree)) == 4
    assert selection.skipped.total() == 4, "a second pass does not count twice"


def test_hidden_things_are_read_when_they_are_named(tree):
    assert names(Selection([tree / ".hidden.txt", tree / ".git"], LOADERS), tree) == [".hidden.txt", ".git/config.txt"]


def test_globs(tree):
    assert names(Selection([tree / "**" / "*.txt"], LOADERS), tree) == ["b.txt"]
    assert names(Selection([tree / "s*"], LOADERS), tree) == ["sub/c.TXT", "sub/deep/d.py"]
    assert names(Selection([tree / "**" / "*.md"], LOADERS), tree) == ["a.md"]
    selection = Selection([tree / "*"], LOADERS)
    assert names(selection, tree) == ["a.md", "b.txt", "sub/c.TXT", "sub/deep/d.py"]
    assert selection.skipped == {".rar": 2, ".png": 1, "": 1}
    (tree / "odd[1].txt").write_text("x")
    assert names(Selection([tree / "odd[1].txt"], LOADERS), tree) == ["odd[1].txt"]
    with pytest.raises(DocumentError, match="no file matches"):
        Selection([tree / "*.pdf"], LOADERS)


def test_every_file_comes_once(tree):
    selection = Selection([tree / "sub", tree, tree / "b.txt", tree / "*.txt"], LOADERS)
    assert names(selection, tree) == ["sub/c.TXT", "sub/deep/d.py", "a.md", "b.txt"]


def test_links_are_followed_and_loops_end(tree, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.txt").write_text("x")
    os.symlink(tree, tree / "sub" / "loop")
    os.symlink(tree / "sub", tree / "again")
    os.symlink(tmp_path / "elsewhere", tree / "linked")
    os.symlink(tree / "nowhere", tree / "broken.txt")
    found = names(Selection([tree], LOADERS), tree)
    assert found == ["a.md", "b.txt", "broken.txt", "sub/c.TXT", "sub/deep/d.py", "linked/e.txt"]
    with pytest.raises(DocumentError, match=r"broken\.txt: there is no such file"):
        list(TextLoader().load(tree / "broken.txt"))


def test_pipes_and_devices_are_not_waited_for(tree):
    os.mkfifo(tree / "pipe.txt")
    assert "pipe.txt" not in names(Selection([tree], LOADERS), tree)
    with pytest.raises(DocumentError, match="neither a file nor a folder"):
        Selection([tree / "pipe.txt"], LOADERS)


def test_mistakes_are_named_before_anything_is_read(tree):
    with pytest.raises(DocumentError) as caught:
        Selection([tree, tree / "sub" / "c.TX"], LOADERS)
    assert str(caught.value) == (
        f"{tree}/sub/c.TX: there is no such file or folder\n  fix: did you mean {tree}/sub/c.TXT?"
    )
    with pytest.raises(DocumentError, match="check the spelling"):
        Selection([tree / "entirely" / "elsewhere"], LOADERS)
    with pytest.raises(DocumentError) as caught:
        Selection([tree / "photo.png"], LOADERS)
    message = str(caught.value)
    assert f"{tree}/photo.png: no loader reads files of type '.png'" in message
    assert ".docx, " in message
    assert "load: [{use: text, also: [.png]}]" in message
    with pytest.raises(DocumentError, match="without a suffix"):
        loader_for(tree / "Makefile", LOADERS)


def test_more_suffixes_are_a_setting(tree):
    loaders = [TextLoader(also=(".PNG",)), *LOADERS]
    assert loader_for(tree / "photo.png", loaders) is loaders[0]
    assert "photo.png" in names(Selection([tree], loaders), tree)


def test_the_longest_suffix_wins_then_the_first_loader():
    minutes, text = SimpleNamespace(suffixes=(".minutes.txt", ".txt")), TextLoader()
    assert find(Path("may.minutes.txt"), [text, minutes]) is minutes
    assert find(Path("may.txt"), [text, minutes]) is text
    assert find(Path("may.txt"), [minutes, text]) is minutes
    assert find(Path(".txt"), [text]) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_one_may_not_read_is_said(tree):
    from fovea.rag.trace import Trace

    (tree / "sub").chmod(0)
    trace = Trace()
    with trace.stage("select"):
        assert names(Selection([tree], LOADERS), tree) == ["a.md", "b.txt"]
    (tree / "sub").chmod(0o755)
    assert trace.warnings == {"folder sub: not read: Permission denied": 1}
