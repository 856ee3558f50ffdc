"""What only the embedded store promises: files as a cache, exactness to the last rank, faiss where it pays."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.rag.errors import MissingExtra, StoreError
from fovea.rag.filters import Compare
from fovea.rag.testing.stores import MemoryTruth, filled, queries, random_rows, unit
from fovea.rag.trace import Trace
from fovea.retrievers.stores import base, exact, graph
from fovea.retrievers.stores.embedded import EmbeddedStore


def opened(path, truth, *, read_only=False, **options):
    return EmbeddedStore(path=path, **options).open(truth, read_only=read_only)


@settings(max_examples=80)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 70), st.integers(0, 9), st.data())
def test_exact_search_is_exact_to_the_last_rank(rows, dim, k, seed, data):
    """Also among vectors that differ by less than single precision can tell."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((max(1, rows // 4), dim))
    vectors = unit(few[rng.integers(0, len(few), rows)] + rng.choice([0, 1e-8, 1e-6, 0.3], (rows, 1)) + 1e-3)
    query = rng.standard_normal(dim).astype(np.float32)
    some = data.draw(st.sets(st.integers(0, rows - 1)).map(sorted)) if data.draw(st.booleans()) else None
    positions = None if some is None else np.array(some, np.int64)
    nos = np.arange(rows) * 3 + 1
    found = exact.candidates(vectors, query, k, positions)
    ranked = exact.rank(nos[found], vectors[found], query, k)
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    allowed = range(rows) if some is None else some
    right = sorted(((int(nos[i]), float(scores[i])) for i in allowed), key=lambda pair: (-pair[1], pair[0]))[:k]
    assert ranked == right


@pytest.mark.parametrize("index", ["flat", "hnsw", "ivf"])
def test_a_reader_follows_a_writer_without_writing(tmp_path, index):
    if index != "flat":
        pytest.importorskip("faiss")
    truth = filled(400)
    reader = opened(tmp_path, truth, index=index, read_only=True)
    right = truth.nearest(queries()[0], 5)
    assert reader.search(queries()[0], 5) == right, "with no files at all"
    assert not (tmp_path / "index").exists()
    writer = opened(tmp_path, truth, index=index)
    writer.sync()
    reader = opened(tmp_path, truth, index=index, read_only=True)
    for step in range(3):
        truth.remove([no for no, _ in truth.nearest(queries()[0], 3)])
        truth.add(*random_rows(200, seed=step + 40))
        before = {p.name: p.read_bytes() for p in (tmp_path / "index").iterdir()}
        assert reader.search(queries()[0], 5) == truth.nearest(queries()[0], 5)
        assert before == {p.name: p.read_bytes() for p in (tmp_path / "index").iterdir()}
        writer.sync()
        assert reader.search(queries()[0], 5) == truth.nearest(queries()[0], 5), "its old files may be gone"
    assert reader.check() == []


def test_small_changes_do_not_rewrite_the_base(tmp_path):
    truth = filled(2000)
    index = opened(tmp_path, truth)
    index.sync()
    manifest = (tmp_path / "index" / base.MANIFEST).read_text()
    for step in range(5):
        truth.add(*random_rows(10, seed=step))
        truth.remove([min(truth.rows)])
        index.sync()
    assert (tmp_path / "index" / base.MANIFEST).read_text() == manifest
    assert index.describe()["changes"] == 55
    truth.add(*random_rows(600, seed=9))
    index.sync()
    assert (tmp_path / "index" / base.MANIFEST).read_text() != manifest
    assert index.describe() == {**index.describe(), "rows": truth.count, "changes": 0}
    assert len(list((tmp_path / "index").iterdir())) == 3, "old files are deleted"


def test_many_ingests_leave_few_files(tmp_path):
    truth = MemoryTruth()
    index = opened(tmp_path, truth)
    for step in range(60):
        truth.add(*random_rows(30, seed=step))
        index.sync()
    assert len(list((tmp_path / "index").iterdir())) == 3
    assert index.search(queries()[1], 9) == truth.nearest(queries()[1], 9)


def test_a_graph_grows_with_its_library(tmp_path, monkeypatch):
    """Rows are added to the graph that there is; it is built anew when too many of its rows are dead."""
    pytest.importorskip("faiss")
    built = []
    real = graph.Graph.build
    monkeypatch.setattr(graph.Graph, "build", lambda kind, vectors: built.append(len(vectors)) or real(kind, vectors))
    truth = filled(900)
    index = opened(tmp_path, truth, index="hnsw")
    index.sync()
    truth.remove(sorted(truth.rows)[:50])
    truth.add(*random_rows(700, seed=5))
    index.sync()
    assert built == [900]
    assert index.describe()["rows"] == 1600, "the removed rows are still in the graph"
    reopened = opened(tmp_path, truth, index="hnsw", read_only=True)
    gone = set(range(1, 51))
    for one in (index, reopened):
        assert not gone & {no for no, _ in one.search(queries()[0], 1600)}
        assert one.check() == []
        found = {no for q in queries() for no, _ in one.search(q, 10)}
        assert len(found & {no for q in queries() for no, _ in truth.nearest(q, 10)}) >= 0.95 * len(found)
    truth.remove(sorted(truth.rows)[:600])
    index.sync()
    assert built == [900, 950]
    assert index.describe()["rows"] == truth.count == 950


def test_a_change_of_settings_makes_the_index_anew(tmp_path):
    pytest.importorskip("faiss")
    truth = filled(300)
    opened(tmp_path, truth, index="flat").sync()
    for kind in ("hnsw", "ivf", "flat"):
        index = opened(tmp_path, truth, index=kind)
        index.sync()
        assert json.loads((tmp_path / "index" / base.MANIFEST).read_text())["manifest"]["index"] == kind
        assert index.search(queries()[0], 3) == truth.nearest(queries()[0], 3)


def test_filters_on_an_approximate_index(tmp_path):
    """Few matching rows are searched exactly, many through the graph."""
    pytest.importorskip("faiss")
    truth = MemoryTruth()
    vectors, _ = random_rows(1000, seed=1)
    truth.add(vectors, [{"n": i} for i in range(1000)])
    index = opened(tmp_path, truth, index="hnsw")
    index.sync()
    for least in (0, 5, 300, 700, 990):
        where = Compare("n", ">=", least)
        found = index.search(queries()[0], 20, where)
        right = truth.nearest(queries()[0], 20, where)
        assert len(found) == len(right)
        assert len({no for no, _ in found} & {no for no, _ in right}) >= 0.95 * len(right)
        if least > 500:
            assert found == right


def test_without_faiss(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "available", lambda: False)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    truth = filled(300)
    index = opened(tmp_path, truth, flat_rows=100)
    index.sync()
    assert index.search(queries()[0], 5) == truth.nearest(queries()[0], 5)
    described = index.describe()
    assert described["index"] == "flat"
    assert "fovea-rag[faiss]" in described["why"]
    with pytest.raises(MissingExtra, match=r"(?s)index hnsw needs.*fovea-rag\[faiss\]"):
        opened(tmp_path, truth, index="hnsw")


def test_the_choice_of_index_says_why():
    pytest.importorskip("faiss")
    store = EmbeddedStore()
    assert store.choose(100_000)[0] == "flat"
    assert store.choose(100_001) == ("hnsw", "more than 100,000 rows")
    assert EmbeddedStore(index="ivf").choose(1) == ("ivf", "asked for")


def test_a_gpu_that_is_not_there(tmp_path):
    if graph.gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(StoreError, match="no GPU"):
        opened(tmp_path, filled(3), device="gpu")


def test_flat_search_through_faiss_as_on_a_gpu(tmp_path, monkeypatch):
    """The path of a GPU with faiss's flat index on the CPU in its place."""
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda index: index, raising=False)
    monkeypatch.setattr(graph, "gpus", lambda: 1)
    truth = filled(400)
    index = opened(tmp_path, truth, index="flat")
    index.sync()
    for k in (1, 7, 500):
        assert index.search(queries()[0], k) == truth.nearest(queries()[0], k)
    where = Compare("draft", "==", True)
    assert index.search(queries()[0], 7, where) == truth.nearest(queries()[0], 7, where)


@pytest.mark.parametrize("part", ["manifest", "vectors", "nos", "graph"])
@pytest.mark.parametrize("how", ["truncated", "flipped", "missing", "empty", "grown"])
def test_damage_is_said_and_mended(tmp_path, part, how):
    pytest.importorskip("faiss")
    truth = filled(400)
    opened(tmp_path, truth, index="hnsw").sync()
    (file,) = (tmp_path / "index").glob(f"{part}*")
    content = file.read_bytes()
    changed = {
        "truncated": content[:-1], "flipped": content[:40] + bytes([content[40] ^ 1]) + content[41:], "empty": b"",
        "grown": content + b"x", "missing": None,
    }[how]  # fmt: skip
    file.unlink() if changed is None else file.write_bytes(changed)
    trace = Trace()
    with trace.stage("search"):
        reader = opened(tmp_path, truth, index="hnsw", read_only=True)
        assert reader.search(queries()[0], 5) == truth.nearest(queries()[0], 5)
    if (part, how) != ("manifest", "missing"):
        (warning,) = trace.warnings
        assert part in warning
        assert reader.check()
    writer = opened(tmp_path, truth, index="hnsw")
    writer.sync()
    assert opened(tmp_path, truth, index="hnsw").check() == []


def test_large_files_are_sampled_when_opened_and_read_whole_by_check(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "READ_WHOLE", 1000)
    monkeypatch.setattr(base, "SAMPLE", 64)
    monkeypatch.setattr(base, "SAMPLES", 4)
    truth = filled(400)
    opened(tmp_path, truth).sync()
    (file,) = (tmp_path / "index").glob("vectors-*")
    content = bytearray(file.read_bytes())
    for at, seen in ((0, True), (len(content) - 1, True), (len(content) // 2, False)):
        content[at] ^= 1
        file.write_bytes(content)
        trace = Trace()
        with trace.stage("search"):
            index = opened(tmp_path, truth, read_only=True)
            index.search(queries()[0], 5)
        assert bool(trace.warnings) == seen
        assert index.check(), "check reads every byte"
        content[at] ^= 1


def test_check_compares_with_the_library(tmp_path):
    """A base that is whole and yet not this library's, as after a manual copy."""
    truth = filled(50)
    index = opened(tmp_path, truth)
    index.sync()
    no, (vector, metadata, sequence) = next(iter(truth.rows.items()))
    truth.rows[no] = (-vector, metadata, sequence)
    assert any("other vectors" in p for p in index.check())
    del truth.rows[no]
    assert any("1 chunk of the index: not in the library" in p for p in index.check())
    truth.rows = {no: (vector, metadata, sequence), **truth.rows, 99: (vector, metadata, sequence)}
    assert any("lacks 1 chunk, such as 99" in p for p in index.check())


def test_a_base_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    truth = filled(50)
    index = opened(tmp_path, truth)
    trace = Trace()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with trace.stage("index"):
        index.sync()
        index.rebuild()
    assert "No space left" in next(iter(trace.warnings))
    assert index.search(queries()[0], 5) == truth.nearest(queries()[0], 5)
    assert list((tmp_path / "index").iterdir()) == [], "nothing half-written stays"


def test_the_manifest_is_in_place_only_once_all_that_it_lists_is_on_the_disk(tmp_path, monkeypatch):
    index, flushed, real = opened(tmp_path, filled(50)), set(), os.fsync

    def fsync(handle):
        if not (tmp_path / "index" / base.MANIFEST).exists():
            flushed.add(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    index.sync()
    assert {path.stat().st_ino for path in (tmp_path / "index").iterdir()} <= flushed


def test_the_old_base_stays_until_the_new_one_is_in_place(tmp_path, monkeypatch):
    truth = filled(300)
    index = opened(tmp_path, truth)
    index.sync()
    truth.add(*random_rows(300, seed=5))
    monkeypatch.setattr(base, "commit", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    index.sync()
    manifest = base.read_manifest(tmp_path / "index")
    assert len(base.load(tmp_path / "index", manifest, whole=True).nos) == 300
    assert opened(tmp_path, truth).search(queries()[0], 5) == truth.nearest(queries()[0], 5)


def test_a_vector_of_another_length(tmp_path):
    index = opened(tmp_path, filled(5))
    with pytest.raises(StoreError, match="another encoder"):
        index.search(np.ones(3, np.float32), 2)


def test_the_folder_may_go_at_any_time(tmp_path):
    truth = filled(300)
    index = opened(tmp_path, truth)
    index.sync()
    shutil.rmtree(tmp_path / "index")
    assert index.search(queries()[0], 5) == truth.nearest(queries()[0], 5), "the open files live on"
    assert opened(tmp_path, truth).sync() == 300
