"""Chroma's folder damaged in many ways: the first rebuild fills it anew, what is asked before is right or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("chromadb")

from fovea.rag.errors import FoveaError

TEXTS = [f"word{i} stands in text number {i}, and so does other{i % 7}." for i in range(40)]


def segments(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def over(path: Path, start: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[start : start + len(data)] = data
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def every_file_cut(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            cut(path, 0.5)


DAMAGE = {
    "a page of the database": lambda f: over(f / "chroma.sqlite3", 4096 * 3, b"\xa5" * 4096),
    "many pages of the database": lambda f: over(f / "chroma.sqlite3", 4096 * 2, b"\xa5" * 4096 * 20),
    "the first page": lambda f: over(f / "chroma.sqlite3", 0, b"\xa5" * 4096),
    "a database that is none": lambda f: (f / "chroma.sqlite3").write_bytes(b"no database" * 999),
    "half a database": lambda f: cut(f / "chroma.sqlite3", 0.5),
    "an empty database": lambda f: (f / "chroma.sqlite3").write_bytes(b""),
    "no database": lambda f: (f / "chroma.sqlite3").unlink(),
    "no segments": lambda f: [shutil.rmtree(path) for path in segments(f)],
    "empty files of segments": lambda f: [file.write_bytes(b"") for path in segments(f) for file in path.iterdir()],
    "cut files of segments": lambda f: [cut(file, 0.3) for path in segments(f) for file in path.iterdir()],
    "every file cut": every_file_cut,
    "a file in the place of the folder": lambda f: (shutil.rmtree(f), f.write_text("no folder")),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a filled store; each test damages a copy."""
    from fovea.pipelines.pipeline import Pipeline

    base = tmp_path_factory.mktemp("whole")
    (base / "docs").mkdir()
    for i, text in enumerate(TEXTS):
        (base / "docs" / f"{i:02}.txt").write_text(text)
    with Pipeline(base=base, **settings()) as pipeline:
        pipeline.ingest(base / "docs")
        assert pipeline.verify() == []
    return base


def settings() -> dict:
    return {"encoder": "hash", "retrieve": "dense", "store": {"use": "chroma", "path": "store"}}


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("name", DAMAGE)
def test_the_first_rebuild_after_damage_fills_it_anew(whole, tmp_path, name, opened):
    """Also in a process that has asked before, and so holds what was there."""
    from fovea.pipelines.pipeline import Pipeline

    base = tmp_path / "copy"
    shutil.copytree(whole, base)
    with Pipeline(base=base, **settings()) as pipeline:
        if opened:
            assert pipeline.retrieve("word7 stands in", k=1)[0].chunk.source == "docs/07.txt"
        DAMAGE[name](base / "store" / "chroma")
        try:
            pipeline.verify()
            pipeline.retrieve("word8 stands in", k=1)
        except FoveaError as error:
            assert "rebuild" in str(error)
        pipeline.rebuild()
        assert pipeline.verify() == []
        assert pipeline.retrieve("word9 stands in", k=1)[0].chunk.source == "docs/09.txt"
