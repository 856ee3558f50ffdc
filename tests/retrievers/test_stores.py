"""Every store in files through the suite that plug-in authors run too; servers: test_stores_servers.py."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from fovea.rag import registry
from fovea.rag.testing.stores import StoreSuite, filled
from fovea.retrievers.stores.chroma import ChromaStore
from fovea.retrievers.stores.embedded import EmbeddedStore
from fovea.retrievers.stores.qdrant import QdrantStore
from tests.retrievers import test_stores_servers

faiss = pytest.mark.skipif(find_spec("faiss") is None, reason="faiss is not installed")
REFUSED = frozenset(["contains", "starts_with", "<", "<=", ">", ">="])
"""What Chroma and Qdrant lack: parts of texts, and the order of texts."""


class TestFlat(StoreSuite):
    detects_damage = True

    def store(self, path):
        return EmbeddedStore(path=path, index="flat")


class TestAuto(StoreSuite):
    detects_damage = True

    def store(self, path):
        return EmbeddedStore(path=path, flat_rows=10_000)


@faiss
class TestAutoPastTheLimit(StoreSuite):
    detects_damage, recall = True, 0.95

    def store(self, path):
        return EmbeddedStore(path=path, flat_rows=100)


@faiss
class TestHnsw(StoreSuite):
    detects_damage, recall = True, 0.95

    def store(self, path):
        return EmbeddedStore(path=path, index="hnsw")


@faiss
class TestIvf(StoreSuite):
    detects_damage, recall = True, 0.95

    def store(self, path):
        return EmbeddedStore(path=path, index="ivf")


@pytest.mark.skipif(find_spec("chromadb") is None, reason="chromadb is not installed")
class TestChroma(StoreSuite):
    recall = 0.95
    refused = REFUSED

    def store(self, path):
        return ChromaStore(path=path)

    def test_damage_that_only_writing_finds_is_mended_by_a_rebuild(self, tmp_path):
        truth = filled(20)
        with self._open(tmp_path, truth) as index:
            index.sync()
        [file] = tmp_path.rglob("chroma.sqlite3")
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(
                "CREATE TRIGGER damage BEFORE INSERT ON embeddings_queue BEGIN SELECT RAISE(ABORT, 'damaged'); END"
            )
        with self._open(tmp_path, truth) as index:
            index.rebuild()
            self._agrees(index, truth, 10)
            assert index.check() == []


@pytest.mark.skipif(find_spec("qdrant_client") is None, reason="qdrant-client is not installed")
class TestQdrantLocal(StoreSuite):
    rows = 60
    refused = REFUSED

    @pytest.fixture
    def tmp_path(self, tmp_path):
        """The local mode waits for the disk after every single point: memory is enough to test what it answers."""
        memory = Path("/dev/shm")
        folder = Path(tempfile.mkdtemp(dir=memory)) if memory.is_dir() else tmp_path
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def store(self, path):
        return QdrantStore(path=path)


def test_no_store_is_left_out():
    tested = {type(suite().store(Path("x"))).name for suite in (TestFlat, TestChroma, TestQdrantLocal)}
    tested.add(test_stores_servers.TestPgvector.kind.name)
    assert tested == {name for name, cls in registry.components("store").items() if _ours(cls)}


def _ours(cls):
    return cls.__module__.startswith("fovea.retrievers.")
