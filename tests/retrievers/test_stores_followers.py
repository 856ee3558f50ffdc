"""What engines do on top of the suite: take up after a crash, say what they cannot hold, refuse clearly."""

import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from fovea.rag.errors import FoveaError, LockedError, MissingExtra, QueryError, StoreError
from fovea.rag.filters import Compare, Not
from fovea.rag.testing.stores import filled, queries, random_rows
from fovea.rag.trace import Trace
from fovea.retrievers.stores.chroma import ChromaIndex, ChromaStore
from fovea.retrievers.stores.follower import Follower, comparable, fit
from fovea.retrievers.stores.pgvector import PgvectorIndex, PgvectorStore
from fovea.retrievers.stores.qdrant import QdrantIndex, QdrantStore

STORES = [
    pytest.param(ChromaStore, ChromaIndex, id="chroma"),
    pytest.param(QdrantStore, QdrantIndex, id="qdrant"),
    pytest.param(PgvectorStore, PgvectorIndex, id="pgvector"),
]
MODULES = {ChromaStore: "chromadb", QdrantStore: "qdrant_client", PgvectorStore: "psycopg"}


@pytest.fixture
def folder(tmp_path):
    """Memory where there is some: Qdrant's local mode waits for the disk after every point."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def _installed(request, monkeypatch):
    """Where there is a server: by Postgres's own variables, for settings that name none."""
    values = getattr(request.node, "callspec", None)
    store = values.params.get("store") if values else None
    if store is not None:
        pytest.importorskip(MODULES[store])
    if store is PgvectorStore:
        server = request.getfixturevalue("postgres")
        for name, value in (("HOST", "127.0.0.1"), ("PORT", str(server.port)), ("USER", "postgres")):
            monkeypatch.setenv(f"PG{name}", value)


@pytest.mark.parametrize(("store", "index"), STORES)
@pytest.mark.parametrize("step", ["_write", "_delete", "_set_position"])
def test_a_crash_between_any_two_steps(folder, monkeypatch, store, index, step):
    class Died(BaseException):
        pass

    truth = filled(40)
    opened = store(path=folder).open(truth)
    opened.sync()
    opened.close()
    truth.remove(sorted(truth.rows)[:10])
    truth.add(*random_rows(10, seed=8))
    real = getattr(index, step)

    def die(self, *args):
        real(self, *args)
        raise Died

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(index, step, die)
            opened = store(path=folder).open(truth)
            with pytest.raises(Died):
                opened.sync()
            opened.close()
        if step == "_set_position":
            break  # It was the last step: there is nothing to do again.
    opened = store(path=folder).open(truth)
    opened.sync()
    assert opened.check() == []
    assert_nearest(opened, truth, 20)
    opened.close()


def assert_nearest(index, truth, k):
    """In the order of the scores, which are right to single precision."""
    found, right = index.search(queries()[0], k), truth.nearest(queries()[0], k)
    assert {no for no, _ in found} == {no for no, _ in right}
    assert [score for _, score in found] == pytest.approx([score for _, score in right], abs=1e-5)


@pytest.mark.parametrize(("store", "index"), STORES)
def test_a_reader_of_a_store_that_is_behind(folder, store, index):
    truth = filled(30)
    with pytest.raises(StoreError, match=r"(?s)does not hold this library yet.*fovea rebuild"):
        store(path=folder).open(truth, read_only=True).search(queries()[0], 3)
    writer = store(path=folder).open(truth)
    assert any("does not hold" in p for p in writer.check())
    writer.sync()
    truth.add(*random_rows(3, seed=6))
    trace = Trace()
    with trace.stage("search"):
        writer.search(queries()[0], 3)
    assert any("behind the library" in w for w in trace.warnings)
    assert any("behind the library" in p for p in writer.check())
    writer.sync()
    assert writer.check() == []
    assert writer.describe()["behind"] == 0
    writer.close()


@pytest.mark.parametrize(("store", "index"), STORES)
def test_values_that_do_not_fit_are_said_and_never_compared(folder, store, index):
    truth = filled(0)
    vectors, _ = random_rows(5, seed=1)
    strange = [{"n": 2**60 + 1}, {"n": 1, "ok": "x"}, {"n": math.inf}, {"n": 3, "s": "a\ud800"}, {'quo"te': 1, "": 2}]
    truth.add(vectors, strange)
    opened, trace = store(path=folder).open(truth), Trace()
    with trace.stage("index"):
        opened.sync()
    assert {w.split("'")[1] for w in trace.warnings} == {"n", "s", 'quo"te', ""}
    assert len(opened.search(queries()[0], 9)) == 5, "the rows are there all the same"
    for where in (Compare("n", "==", 1), Not(Compare("n", ">", 1)), Compare("s", "exists", True)):
        with pytest.raises(QueryError, match="could not take every value"):
            opened.search(queries()[0], 3, where)
    assert [no for no, _ in opened.search(queries()[0], 3, Compare("ok", "==", "x"))] == [2]
    for value in (2**53 + 1, math.nan, "\ud800"):
        with pytest.raises(QueryError, match="cannot compare exactly"):
            opened.search(queries()[0], 3, Compare("ok", "==", value))
    parts = [Compare("ok", op, "b") for op in ("<", "contains", "starts_with")]
    for compare in parts if store is not PgvectorStore else ():
        with pytest.raises(QueryError, match=r"(?s)(Chroma|Qdrant).*embedded"):
            opened.search(queries()[0], 3, compare)
    opened.close()


@pytest.mark.parametrize(("store", "index"), STORES)
def test_two_libraries_side_by_side(folder, store, index):
    one, other = filled(20), filled(25, seed=3)
    for truth, name in ((one, "one"), (other, "other")):
        opened = store(path=folder, collection=name).open(truth)
        opened.sync()
        opened.close()
    for truth, name in ((one, "one"), (other, "other")):
        opened = store(path=folder, collection=name).open(truth)
        assert opened.check() == []
        assert_nearest(opened, truth, 5)
        opened.close()


@pytest.mark.parametrize(("store", "index"), STORES)
def test_check_finds_what_differs(folder, store, index):
    truth = filled(12)
    opened = store(path=folder).open(truth)
    opened.sync()
    opened._delete([3])
    problems = opened.check()
    assert any("has 11 rows, the library 12" in p for p in problems)
    assert any("lacks chunk 3" in p for p in problems)
    rows = next(truth.added(0))
    rows.vectors[3] *= -1
    opened._write(rows, [{}] * 12)
    assert [p for p in opened.check() if "another vector for chunk 4" in p]
    opened.rebuild()
    assert opened.check() == []
    opened.close()


@pytest.mark.parametrize(("store", "module"), MODULES.items())
def test_the_extra_is_named(folder, monkeypatch, store, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"fovea-rag\[{store.name}\]"):
        store(path=folder).open(filled(1))


def test_qdrant_s_local_files_belong_to_one_process(folder):
    pytest.importorskip("qdrant_client")
    truth = filled(3)
    first = QdrantStore(path=folder).open(truth)
    first.sync()
    with pytest.raises(LockedError, match=r"(?s)another process.*url"):
        QdrantStore(path=folder).open(truth).sync()
    first.close()


def test_a_qdrant_server_that_does_not_answer(folder):
    pytest.importorskip("qdrant_client")
    index = QdrantStore(path=folder, url="http://127.0.0.1:9", timeout=2).open(filled(3))
    with pytest.raises(StoreError, match=r"(?s)http://127.0.0.1:9.*is the server running"):
        index.sync()


def test_chroma_sends_nothing_home_and_reads_what_another_process_wrote(folder):
    pytest.importorskip("chromadb")
    truth = filled(30)
    writer = ChromaStore(path=folder).open(truth)
    writer.sync()
    assert not writer._client.get_settings().anonymized_telemetry
    writer.close()
    code = (
        "import sys, chromadb\n"
        "print(chromadb.PersistentClient(sys.argv[1]).get_collection('fovea', embedding_function=None).count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "chroma")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "30"


def test_what_compares_the_same_everywhere():
    assert all(map(comparable, ["", "x", "中", True, 0, -(2**53), 2**53, 1.5, 1e300, -0.0]))
    assert not any(map(comparable, ["\ud800", "\0", 2**53 + 1, -(2**70), math.inf, -math.inf, math.nan]))
    unfit = set()
    assert fit({"a": 1, "b": math.nan, "c": "x"}, unfit) == {"a": 1, "c": "x"}
    assert unfit == {"b"}


def test_errors_of_an_engine_are_ours(folder, monkeypatch):
    pytest.importorskip("chromadb")
    truth = filled(3)
    index = ChromaStore(path=folder).open(truth)
    index.sync()

    def broken(*_, **__):
        raise RuntimeError("internal")

    monkeypatch.setattr(type(index._collection()), "query", broken)
    with pytest.raises(StoreError, match=r"(?s)Chroma says: RuntimeError: internal.*fovea rebuild"):
        index.search(np.asarray(queries()[0]), 2)
    assert issubclass(StoreError, FoveaError)
    assert isinstance(index, Follower)
    index.close()


@pytest.mark.parametrize(("store", "index"), STORES)
def test_rows_that_an_older_fovea_wrote_lack_fields_and_are_written_anew(folder, monkeypatch, store, index):
    truth = filled(10)
    with monkeypatch.context() as older:
        older.setattr("fovea.retrievers.stores.follower.RECORD", 1)
        opened = store(path=folder).open(truth)
        opened.sync()
        opened.close()
    opened = store(path=folder).open(truth)
    with pytest.raises(StoreError, match="does not hold this library yet"):
        opened.search(queries()[0], 3)
    assert opened.sync() == 10
    assert len(opened.search(queries()[0], 3)) == 3
    opened.close()
