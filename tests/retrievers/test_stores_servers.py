"""The stores that are servers, each a real one: the suite of all stores, and what a server can do to its client."""

import os
from importlib.util import find_spec
from uuid import uuid4

import pytest

from fovea.rag.errors import FoveaError, StoreError
from fovea.rag.testing.stores import StoreSuite, filled, queries
from fovea.retrievers.stores.chroma import ChromaStore
from fovea.retrievers.stores.pgvector import PgvectorStore
from fovea.retrievers.stores.qdrant import QdrantStore
from tests.retrievers.servers import PASSWORD


class ServerSuite(StoreSuite):
    rows, recall = 120, 0.95
    has_files = False
    kind = None

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server, self.collection = server, f"fovea_test_{uuid4().hex[:12]}"

    def store(self, path):
        return self.kind(path=path, url=self.server.url, collection=self.collection)

    def test_its_readers_go_on_while_another_index_writes(self, tmp_path):
        truth = filled(30)
        with self._open(tmp_path, truth) as writer, self._open(tmp_path, truth, read_only=True) as reader:
            assert self.store(tmp_path).shared
            with pytest.raises(StoreError, match=r"(?s)does not hold this library yet.*fovea rebuild"):
                reader.search(queries()[0], 3)
            writer.sync()
            self._agrees(reader, truth, 5)
            truth.remove([min(truth.rows)])
            writer.sync()
            self._agrees(reader, truth, 5)

    def test_what_somebody_else_dropped_is_filled_anew(self, tmp_path):
        truth = filled(30)
        with self._open(tmp_path, truth) as index:
            index.sync()
            self.drop(index)
            index._known = None
            with pytest.raises(StoreError, match=r"(?s)does not hold this library yet.*fovea rebuild"):
                index.search(queries()[0], 3)
            index.rebuild()
            self._agrees(index, truth, 5)
            assert index.check() == []

    def test_rows_that_somebody_else_deleted_are_found_by_check(self, tmp_path):
        truth = filled(30)
        with self._open(tmp_path, truth) as index:
            index.sync()
            index._delete([3])
            assert any("lacks chunk 3" in p for p in index.check())
            index.rebuild()
            assert index.check() == []


class RestartSuite(ServerSuite):
    def test_a_server_that_goes_and_comes_back(self, tmp_path):
        """An error that names it while it is away; then the same open index answers, from what was kept."""
        truth = filled(60)
        with self._open(tmp_path, truth) as index:
            index.sync()
            self.server.stop()
            for action in (lambda: index.search(queries()[0], 3), index.rebuild, index.check):
                index._known = None
                with pytest.raises(StoreError) as caught:
                    action()
                assert f"127.0.0.1:{self.server.port}" in caught.value.where
                assert "is the server running" in caught.value.fix
                assert PASSWORD not in str(caught.value)
            with self._open(tmp_path, truth, read_only=True) as fresh, pytest.raises(StoreError, match="is the server"):
                fresh.search(queries()[0], 3)
            [asked] = [r for r in self.store(tmp_path).requirements() if not r.offline]
            with pytest.raises(FoveaError, match="127.0.0.1"):
                asked.check()
            self.server.start()
            asked.check()
            self._agrees(index, truth, 5)
            assert index.check() == []


class TestChroma(RestartSuite):
    each = 2
    refused = frozenset(["contains", "starts_with", "<", "<=", ">", ">="])
    kind = ChromaStore

    @pytest.fixture
    def server(self, chroma):
        return chroma

    def drop(self, index):
        index._client.delete_collection(self.collection)

    def test_its_client_sends_nothing_home_and_its_key_as_a_header(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SOME_KEY", "a-key-of-tests")
        store = ChromaStore(path=tmp_path, url=self.server.url, api_key_env="SOME_KEY")
        index = store.open(filled(1))
        assert not index._client.get_settings().anonymized_telemetry
        assert index._client.get_settings().chroma_server_headers["x-chroma-token"] == "a-key-of-tests"
        index.close()


class TestPgvector(RestartSuite):
    kind = PgvectorStore

    @pytest.fixture
    def server(self, postgres):
        return postgres

    def drop(self, index):
        index._do(lambda c: c.execute(index._named("DROP TABLE {table}")))


@pytest.mark.skipif("FOVEA_QDRANT_URL" not in os.environ, reason="no Qdrant server: set FOVEA_QDRANT_URL")
@pytest.mark.skipif(find_spec("qdrant_client") is None, reason="qdrant-client is not installed")
class TestQdrant(ServerSuite):
    refused = frozenset(["contains", "starts_with", "<", "<=", ">", ">="])

    @pytest.fixture
    def server(self):
        class Given:
            url = os.environ["FOVEA_QDRANT_URL"]

        return Given

    kind = QdrantStore

    def drop(self, index):
        index._client.delete_collection(self.collection)
