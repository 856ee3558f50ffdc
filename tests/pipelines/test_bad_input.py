"""What can go wrong outside of us: each is a clear error with where and what to do, and nothing is lost."""

import os
import resource
import sqlite3
import subprocess
import sys

import pytest

from fovea.rag.errors import FoveaError, StoreError
from fovea.retrievers.library.library import Library


@pytest.fixture
def pipeline(make, docs):
    made = make()
    made.ingest(docs)
    made.close()
    return made


def library_file(pipeline):
    return pipeline.spec.store.path / "library.sqlite"


def test_a_store_written_by_a_newer_version_is_refused_and_left_alone(pipeline, docs):
    with sqlite3.connect(library_file(pipeline)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version = {version + 1}")
    before = library_file(pipeline).read_bytes()
    for action in (lambda: pipeline.ask("moon"), lambda: pipeline.ingest(docs), pipeline.status):
        with pytest.raises(StoreError, match="newer"):
            action()
    assert library_file(pipeline).read_bytes() == before


def test_a_file_that_is_no_library_is_refused_and_left_alone(pipeline, docs):
    library_file(pipeline).write_bytes(b"my diary, not a database" * 100)
    for suffix in ("-wal", "-shm"):
        library_file(pipeline).with_name("library.sqlite" + suffix).unlink(missing_ok=True)
    for action in (lambda: pipeline.ask("moon"), lambda: pipeline.ingest(docs)):
        with pytest.raises(StoreError) as caught:
            action()
        assert str(library_file(pipeline)) in str(caught.value)
    assert library_file(pipeline).read_bytes().startswith(b"my diary")


def test_a_damaged_index_is_rebuilt_from_the_library(pipeline):
    hits = [h.chunk.id for h in pipeline.retrieve("the Danube", k=3)]
    pipeline.close()
    damaged = 0
    for path in (pipeline.spec.store.path / "index").rglob("*"):
        if path.is_file() and path.stat().st_size:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            damaged += 1
    assert [h.chunk.id for h in pipeline.retrieve("the Danube", k=3)] == hits
    pipeline.rebuild()
    assert pipeline.verify() == []
    assert damaged


def test_a_full_disk_is_said_and_nothing_is_lost(pipeline, docs, tmp_path):
    (docs / "big.txt").write_text("\n".join(f"Sentence number {i} is about {i * 7919} things." for i in range(5_000)))
    code = (
        "import resource, signal, sys\nfrom fovea import Pipeline\nfrom fovea.rag.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "p = Pipeline(base=sys.argv[1], encoder='hash', segment={'use': 'sentence', 'max_tokens': 12})\n"
        "try: p.ingest(sys.argv[1] + '/docs')\n"
        "except StoreError as error: print(error); sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "nothing" in done.stdout
    assert "lost" in done.stdout
    assert pipeline.verify() == []
    assert pipeline.retrieve("Armstrong", k=1)[0].chunk.source == "docs/moon.txt"
    report = pipeline.ingest(docs)
    assert report.ok
    assert "docs/big.txt" in {r.name for r in pipeline.status()}


def test_a_huge_file_is_refused_without_reading_it_into_memory(make, docs):
    with (docs / "huge.txt").open("wb") as file:
        file.truncate(200 << 20)
    pipeline = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = pipeline.ingest(docs)
    assert "huge.txt" in report.failed["docs/huge.txt"]
    assert "max_bytes" in report.failed["docs/huge.txt"]
    assert len(report.added) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10


def test_a_store_in_a_place_that_cannot_be(make, docs, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FoveaError, match="file"):
        make(store={"use": "embedded", "path": "file/below"}).ingest(docs)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_row(make, docs):
    (docs / "moon.txt").chmod(0)
    report = make().ingest(docs)
    assert "Permission denied" in report.failed["docs/moon.txt"]


def test_the_library_says_whether_it_exists(pipeline, tmp_path):
    assert Library.exists(pipeline.spec.store.path)
    assert not Library.exists(tmp_path / "elsewhere")
