"""Workers read and encode, one process writes: the store is that of one process, whoever dies meanwhile."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.workers.ahead import ahead
from fovea.rag.errors import ConfigError
from tests.conftest import ROOT
from tests.pipelines.workers.deadly import Deadly, Unsendable

THINGS = ["tea", "moon", "river", "stone"]
OWN = {"sources": ("mtime_ns", "updated")}
"""Columns that differ between two runs of any kind."""


def stored(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of the library, but for its name and the times of files."""
    with sqlite3.connect(folder / "library.sqlite") as db:
        tables = [t for (t,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        found = {}
        for table in tables:
            columns = [c[1] for c in db.execute(f"PRAGMA table_info({table})") if c[1] not in OWN.get(table, ())]
            rows = db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            found[table] = [row for row in rows if row[0] != "uuid"]
    return found


def write(folder: Path) -> Path:
    """Forty files: two alike, one of rows under headers, one that no loader can read."""
    (folder / "docs").mkdir(parents=True)
    for i in range(37):
        lines = [f"Line {j} of file {i} speaks of {THINGS[(i + j) % 4]}s.\n\n" for j in range(9)]
        (folder / "docs" / f"{i:02}.txt").write_text("".join(lines) if i != 7 else "Line of file 6.\n")
    (folder / "docs" / "37.txt").write_text((folder / "docs" / "03.txt").read_text())
    (folder / "docs" / "38.csv").write_text("city,height\nBern,540\nOslo,23\n")
    (folder / "docs" / "39.pdf").write_text("not a pdf")
    return folder


def pipeline(folder: Path, **more: object) -> Pipeline:
    settings = {
        "encoder": "hash",
        "segment": {"use": "recursive", "max_tokens": 40},
        "store": {"use": "embedded", "path": "store"},
        **more,
    }
    return Pipeline(base=folder, **settings)


POOLED = {"situate": {"use": "surroundings"}, "segment": {"use": "embedding_breakpoint"}}


@pytest.mark.parametrize("settings", [{}, POOLED], ids=["by text", "situated, cut by vectors"])
def test_the_store_is_that_of_one_process(tmp_path, settings):
    reports = {}
    for workers in (1, 2):
        with pipeline(write(tmp_path / str(workers)), **settings) as made:
            reports[workers] = made.ingest(tmp_path / str(workers) / "docs", workers=workers)
    assert stored(tmp_path / "2" / "store") == stored(tmp_path / "1" / "store")
    one, two = (reports[n].to_dict() for n in (1, 2))
    stages = [{s["name"]: (s["counts"], s["warnings"]) for s in r.pop("trace")["stages"]} for r in (one, two)]
    assert one == two
    assert stages[0] == stages[1], "counts and warnings come home"
    assert list(two["failed"]) == ["docs/39.pdf"]
    assert two["encoded"] > 37


def test_what_is_unchanged_is_not_read_and_what_moved_is_renamed(tmp_path):
    docs = write(tmp_path) / "docs"
    with pipeline(tmp_path) as made:
        made.ingest(docs)
        (docs / "00.txt").rename(docs / "moved.txt")
        (docs / "01.txt").write_text("Other words.")
        report = made.ingest(docs, workers=2)
    assert (report.moved, report.changed) == ({"docs/moved.txt": "docs/00.txt"}, ["docs/01.txt"])
    assert (report.unchanged, report.encoded, list(report.failed)) == (37, 1, ["docs/39.pdf"])


def test_a_file_of_which_a_worker_died_is_read_by_another_and_left_out_after_two(tmp_path):
    docs = write(tmp_path) / "docs"
    (docs / "10.once.deadly").write_text("1")
    (docs / "20.always.deadly").write_text("99")
    with pipeline(tmp_path, load=[Deadly(parent=os.getpid())]) as made:
        report = made.ingest(docs, workers=2)
        texts = {document.text for document in made.corpus.library.documents()}
    assert "It is read after 1 deaths." in texts
    assert report.failed["docs/20.always.deadly"] == (
        "docs/20.always.deadly: the process was killed by SIGKILL: out of memory?, and so did another\n"
        "  fix: fewer workers, or none"
    )
    assert set(report.failed) == {"docs/20.always.deadly", "docs/39.pdf"}
    assert len(report.added) == 40


def test_what_cannot_be_sent_back_is_a_failure_of_its_file(tmp_path):
    docs = write(tmp_path) / "docs"
    (docs / "a.unsendable").touch()
    with pipeline(tmp_path, load=[Unsendable()]) as made:
        report = made.ingest(docs, workers=2)
    assert "cannot be sent to another process" in report.failed["docs/a.unsendable"]
    assert len(report.added) == 39


def test_a_pipeline_that_cannot_be_sent_is_refused_before_anything_is_read(tmp_path):
    with pipeline(write(tmp_path), load=[Unsendable(held=Lock())]) as made, pytest.raises(ConfigError) as error:
        made.ingest(tmp_path / "docs", workers=2)
    assert str(error.value) == (
        "workers need a pipeline that can be sent to other processes; of this one something cannot: "
        "cannot pickle '_thread.lock' object\n"
        "  fix: name its components ({use: ...}) in the place of objects, or leave workers out"
    )
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("workers", [0, -1, "many", "ray:x", "ray:0", "2:3", ""])
def test_what_is_no_number_of_workers_is_refused(tmp_path, workers):
    with pipeline(write(tmp_path)) as made, pytest.raises(ConfigError) as error:
        made.ingest(tmp_path / "docs", workers=workers)
    assert str(error.value) == (
        f"workers are a number, ray, or ray:N, got {workers!r}\n"
        "  fix: --workers 4, say: as many as there are processors"
    )


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_with_a_writer_that_is_killed_and_the_same_command_goes_on(tmp_path):
    for name in ("killed", "whole"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "qa.yaml").write_text(
            "encoder: hash\nsegment: {use: recursive, max_tokens: 15}\nstore: {use: embedded, path: store}"
        )
        for i in range(60):  # more than one group, so that there is something to kill
            lines = (f"Line {j} of file {i} is long enough to be a chunk of its own here.\n\n" for j in range(20))
            (tmp_path / name / "docs" / f"{i}.txt").write_text("".join(lines))

    def command(name: str) -> list[str]:
        ingest = [
            "ingest",
            str(tmp_path / name / "qa.yaml"),
            str(tmp_path / name / "docs"),
            "--workers",
            "2",
            "--quiet",
        ]
        return [sys.executable, "-m", "fovea.pipelines.cli.main", *ingest]

    running = subprocess.Popen(command("killed"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / "store" / "library.sqlite-wal"
    began: list[int] = []
    while running.poll() is None and not (len(began) >= 2 and log.exists() and log.stat().st_size > 300_000):
        began = descendants(running.pid)
    running.kill()
    assert running.wait() < 0, "killed before its end"
    assert len(began) >= 2, "while its workers ran"
    for name in ("killed", "whole"):
        subprocess.run(command(name), cwd=ROOT, capture_output=True, check=False)
    killed, whole = (stored(tmp_path / name / "store") for name in ("killed", "whole"))
    assert len(killed["chunks"]) == len(whole["chunks"]) > 1024
    assert {row[1:] for row in killed["vectors"]} == {row[1:] for row in whole["vectors"]}
    ends = time.monotonic() + 10
    while alive := [pid for pid in began if Path(f"/proc/{pid}/status").exists()]:
        assert time.monotonic() < ends, f"{alive} outlive their parent"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Every process that is below another."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def test_tasks_are_begun_ahead_in_order_and_no_more_than_asked():
    begun: list[int] = []

    def submit(task: int) -> None:
        begun.append(task)

    taken = []
    for task, _ in ahead(range(10), submit, 3):
        taken.append(task)
        assert len(begun) <= len(taken) + 3
    assert begun == taken == list(range(10))


def test_actors_of_ray_make_the_same_store_and_one_that_dies_is_begun_again(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for workers in (1, "ray:2"):
        docs = write(tmp_path / str(workers)) / "docs"
        (docs / "10.once.deadly").write_text("1" if workers != 1 else "0")
        with pipeline(tmp_path / str(workers), load=[Deadly(parent=os.getpid())]) as made:
            report = made.ingest(docs, workers=workers)
            assert list(report.failed) == ["docs/39.pdf"]
        (docs.parent / "store").rename(tmp_path / f"of {workers}")
    one, two = stored(tmp_path / "of 1"), stored(tmp_path / "of ray:2")
    assert {k: len(v) for k, v in one.items()} == {k: len(v) for k, v in two.items()}
    assert (tmp_path / "ray:2" / "10.once.deadly.died0").exists()
