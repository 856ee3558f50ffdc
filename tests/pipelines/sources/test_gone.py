"""Deleted files go; what may only be out of sight stays until one says otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.pipelines.loaders.text import TextLoader
from fovea.pipelines.sources.gone import gone
from fovea.rag.errors import DocumentError
from tests.conftest import ROOT


def names(pipeline):
    return [row.name for row in pipeline.status()]


def empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def many(make, tmp_path):
    for i in range(20):
        (tmp_path / "share" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "share" / ("deep" if i % 2 else ".") / f"{i}.txt").write_text(f"Text {i} of the share.")
    pipeline = make()
    pipeline.ingest(tmp_path / "share")
    return pipeline, tmp_path / "share"


def test_an_empty_folder_removes_nothing_until_one_says_forget(many):
    pipeline, share = many
    empty(share)
    (share / ".keep").touch()
    with pytest.raises(DocumentError) as caught:
        pipeline.ingest(share)
    assert str(caught.value) == (
        f"{share}: {share} is empty, and the store has 20 sources from it: is it not mounted? They stay in the store; "
        f"all other changes were made\n  fix: mount it or put the files back; or, to remove them: fovea ingest "
        f"PIPELINE.yaml {share} --forget"
    )
    assert len(names(pipeline)) == 20
    assert pipeline.retrieve("Text 7 of the share", k=1)
    assert len(pipeline.ingest(share, forget=True).removed) == 20
    assert names(pipeline) == []


def test_an_empty_folder_below_the_one_named_counts_too(many, docs):
    pipeline, share = many
    pipeline.ingest(docs)
    (docs / "new.txt").write_text("What came meanwhile is taken in all the same.")
    empty(share / "deep")
    with pytest.raises(DocumentError, match="deep is empty, and the store has 10 sources"):
        pipeline.ingest(share.parent / "*")
    assert len(names(pipeline)) == 24
    assert pipeline.verify() == []


def test_a_folder_that_is_not_there_removes_nothing_until_one_says_forget(many):
    pipeline, share = many
    share.rename(share.with_name("elsewhere"))
    with pytest.raises(DocumentError, match="the store has 20 sources from it; they stay") as caught:
        pipeline.ingest(share)
    assert "--forget" in str(caught.value)
    assert len(names(pipeline)) == 20
    with pytest.raises(DocumentError, match="did you mean"):
        pipeline.ingest(share.with_name("elsewher"), forget=True)
    assert len(pipeline.ingest(share, forget=True).removed) == 20


def test_most_files_of_a_large_folder_are_not_removed_unasked(many):
    pipeline, share = many
    for i in range(13):
        next(share.rglob(f"{i}.txt")).unlink()
    with pytest.raises(DocumentError, match=r"has lost 13 of the 20 files that the store knows"):
        pipeline.ingest(share)
    assert len(names(pipeline)) == 20
    assert len(pipeline.ingest(share, forget=True).removed) == 13


def test_a_few_deleted_files_go_as_they_did(many):
    pipeline, share = many
    for i in range(9):
        next(share.rglob(f"{i}.txt")).unlink()
    assert len(pipeline.ingest(share).removed) == 9
    empty(share / "deep")
    (share / "deep").rmdir()
    assert len(pipeline.ingest(share).removed) == 6, "a deleted folder is not an empty one"


def test_files_that_were_all_renamed_and_edited_are_replaced(many):
    pipeline, share = many
    for path in list(share.rglob("*.txt")):
        path.write_text(path.read_text() + " More.")
        path.rename(path.with_suffix(".md"))
    report = pipeline.ingest(share)
    assert (len(report.added), len(report.removed)) == (20, 20)


def test_a_glob_removes_what_it_would_match(make, docs):
    pipeline = make()
    pipeline.ingest(docs)
    (docs / "moon.txt").unlink()
    (docs / "one.txt").write_text("One.")
    assert pipeline.ingest(f"{docs}/*.txt").removed == ["docs/moon.txt"]


def test_a_file_of_the_year_1970_goes_too(make, docs):
    os.utime(docs / "moon.txt", (0, 0))
    pipeline = make()
    pipeline.ingest(docs)
    assert pipeline.ingest(docs).unchanged == 3
    (docs / "moon.txt").unlink()
    assert pipeline.ingest(docs).removed == ["docs/moon.txt"]


def test_what_could_never_be_read_goes_when_its_file_goes(make, docs):
    (docs / "nowhere.txt").symlink_to(docs / "nothing")
    pipeline = make()
    assert list(pipeline.ingest(docs).failed) == ["docs/nowhere.txt"]
    (docs / "nowhere.txt").unlink()
    assert pipeline.ingest(docs).removed == ["docs/nowhere.txt"]


UNSEEN = """
import os, sys
from pathlib import Path
from fovea.pipelines.pipeline import Pipeline
base = Path(sys.argv[1])
with Pipeline(base=base, encoder="hash") as first:
    first.loaders  # All modules are loaded before another user may be unable to read them.
    first.ingest(base / "first")
    first.retrieve("first")
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
with Pipeline(base=base, encoder="hash", store={"use": "embedded", "path": "store"}) as pipeline:
    pipeline.ingest(base / "docs")
    (base / "docs" / "shut").chmod(0)
    report = pipeline.ingest(base / "docs")
    print(report.removed, len(pipeline.status()), list(report.failed.values()))
    print(pipeline.survey().gone, pipeline.survey().unseen)
    (base / "docs" / "shut").chmod(0o700)
"""


def test_what_one_may_not_look_at_is_not_gone():
    """With real permissions, as a user who is not root."""
    import shutil
    import tempfile

    base = Path(tempfile.mkdtemp())  # Not pytest's own folder, which only its owner may enter.
    try:
        (base / "docs" / "shut").mkdir(parents=True)
        for i in range(3):
            (base / "docs" / "shut" / f"{i}.txt").write_text(f"Text {i}.")
        (base / "docs" / "open.txt").write_text("Open.")
        (base / "first").mkdir()
        (base / "first" / "first.md").write_text("The first.")
        for path in (base, base / "docs", base / "docs" / "shut"):
            path.chmod(0o777)
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", UNSEEN, str(base)], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        assert first == f"[] 4 ['{base}/docs/shut: not read: Permission denied']"
        denied = {f"docs/shut/{i}.txt": "Permission denied" for i in range(3)}
        assert second == f"[] {denied}"
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize("error", [PermissionError(13, "x"), OSError(5, "x"), OSError(116, "x"), OSError(36, "x")])
def test_only_what_is_certainly_not_there_is_gone(tmp_path, monkeypatch, error):
    assert gone(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    assert gone(tmp_path / "file" / "b")
    (tmp_path / "link").symlink_to("nowhere")
    assert not gone(tmp_path / "link")

    def lstat(_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lstat)
        assert not gone(tmp_path / "a")


def test_a_file_that_changes_while_it_is_read_is_noticed(make, docs):
    class Slow(TextLoader, name="slow_text"):
        suffixes = (".slow",)

        def read(self, path):
            yield from super().read(path)
            with path.open("a") as file:
                file.write("More.")

    from fovea.rag import registry

    try:
        (docs / "a.slow").write_text("Now. ")
        pipeline = make(load=[Slow()])
        report = pipeline.ingest(docs)
        assert report.failed == {
            "docs/a.slow": "docs/a.slow: the file changed while it was read\n  fix: run the same command again"
        }
        assert len(report.added) == 3
    finally:
        registry._components.pop(("loader", "slow_text"), None)
