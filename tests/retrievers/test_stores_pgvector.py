"""What pgvector does to those who do not know it, on a real server: each trap is shown, and then not fallen into."""

from contextlib import contextmanager
from uuid import uuid4

import numpy as np
import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import FoveaError, StoreError
from fovea.rag.filters import Compare, parse
from fovea.rag.testing.stores import MemoryTruth, filled, queries, random_rows, unit
from fovea.rag.trace import Trace
from fovea.retrievers.stores.follower import BATCH_BYTES
from fovea.retrievers.stores.pgvector import PgvectorStore
from tests.retrievers.servers import PASSWORD


@pytest.fixture
def database(postgres):
    """A database of its own: `made(...)` gives a store in it, `run` does SQL there."""
    return Database(postgres)


class Database:
    def __init__(self, server, options=""):
        self.server, self.name = server, f"test_{uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {self.name} {options}", within="postgres")
        self.url = f"postgresql://postgres@127.0.0.1:{server.port}/{self.name}"

    def run(self, sql, *values, within=None):
        import psycopg

        place = f"postgresql://postgres@127.0.0.1:{self.server.port}/{within or self.name}"
        with psycopg.connect(place, autocommit=True) as connection:
            found = connection.execute(sql, values or None)
            return found.fetchall() if found.description else None

    @contextmanager
    def opened(self, truth, **settings):
        index = PgvectorStore(url=self.url, **settings).open(truth)
        try:
            yield index
        finally:
            index.close()


@pytest.fixture
def forced(database):
    """A database whose planner goes by the graph wherever it can."""
    for setting in ("enable_seqscan", "enable_bitmapscan"):
        database.run(f"ALTER DATABASE {database.name} SET {setting} = off")
    return database


def labelled(rows, few):
    """Rows of which the `few` farthest from the first question have `rare`."""
    truth = MemoryTruth()
    vectors, _ = random_rows(rows, seed=2)
    far = set(np.argsort(vectors @ queries()[0])[:few].tolist())
    truth.add(vectors, [{"rare": i in far} for i in range(rows)])
    return truth


RAW = "SELECT no FROM fovea WHERE fields @> '{\"rare\": true}' ORDER BY embedding <#> %s::vector LIMIT 10"


@pytest.mark.parametrize("most", [20_000, 1], ids=["scan", "scan that ends early"])
def test_a_filter_never_leaves_fewer_rows_than_there_are(forced, most):
    truth, where = labelled(2000, 30), Compare("rare", "==", True)
    with forced.opened(truth) as index:
        index.sync()
        raw = forced.run(RAW, str(queries()[0].tolist()))
        assert len(raw) < 10, "what pgvector gives by itself"
        forced.run(f"ALTER DATABASE {forced.name} SET hnsw.max_scan_tuples = {most}")
    with forced.opened(truth) as index:
        for k in (10, 30, 50):
            found, right = index.search(queries()[0], k, where), truth.nearest(queries()[0], k, where)
            assert len(found) == len(right)
            assert len({no for no, _ in found} & {no for no, _ in right}) >= 0.9 * len(right)
        assert len(index.search(queries()[0], 1500)) == 1500, "more than the candidates that a scan may keep"


def test_the_graph_is_used_and_finds_nearly_all(forced):
    truth = filled(2000)
    with forced.opened(truth) as index:
        index.sync()
        before = forced.run("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'fovea_hnsw'")
        found = [{no for no, _ in index.search(q, 10)} for q in queries()]
        right = [{no for no, _ in truth.nearest(q, 10)} for q in queries()]
        assert sum(len(f & r) for f, r in zip(found, right)) >= 0.95 * 40
    after = forced.run("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'fovea_hnsw'")
    assert after[0][0] == before[0][0] + 4
    with forced.opened(truth, exact=True, collection="all_rows") as index:
        index.sync()
        assert [no for no, _ in index.search(queries()[0], 50)] == [n for n, _ in truth.nearest(queries()[0], 50)]
    assert not forced.run("SELECT 1 FROM pg_indexes WHERE indexname = 'all_rows_hnsw'")


def test_vectors_longer_than_an_index_takes(forced):
    """Over 2,000 numbers halves, ranked by the whole; over 4,000 an error, and row by row."""
    for dim, kind in ((2001, "halfvec"), (2000, "vector")):
        truth, rng = MemoryTruth(dim), np.random.default_rng(3)
        base = rng.standard_normal(dim)
        truth.add(unit(base + 1e-3 * rng.standard_normal((60, dim))), [{}] * 60)
        question = unit(base[None])[0]
        with forced.opened(truth, collection=f"of_{dim}") as index:
            index.sync()
            found, right = index.search(question, 5), truth.nearest(question, 5)
            assert [score for _, score in found] == pytest.approx([s for _, s in right], abs=1e-6)
        [(made,)] = forced.run(f"SELECT indexdef FROM pg_indexes WHERE indexname = 'of_{dim}_hnsw'")
        assert f"{kind}_ip_ops" in made
    truth = MemoryTruth(4001)
    truth.add(unit(rng.standard_normal((5, 4001))), [{}] * 5)
    with pytest.raises(StoreError, match=r"4,000 numbers of type halfvec, not 4,001\n  fix: exact: true"):
        PgvectorStore(url=forced.url).open(truth)
    with pytest.raises(StoreError, match=r"2,000 numbers of type vector.*\n.*or holds: halfvec"):
        PgvectorStore(url=forced.url, holds="vector").open(MemoryTruth(3000))
    with forced.opened(truth, exact=True, collection="long") as index:
        index.sync()
        assert index.search(truth.rows[2][0], 1)[0][0] == 2


def test_the_graph_is_made_after_many_rows_and_follows_few(database):
    graph = "SELECT indexrelid::bigint FROM pg_stat_user_indexes WHERE indexrelname = 'fovea_hnsw'"
    truth = filled(100)
    with database.opened(truth) as index:
        index.sync()
        first = database.run(graph)
        truth.add(*random_rows(20, seed=4))
        index.sync()
        assert database.run(graph) == first, "a few rows are put in"
        truth.add(*random_rows(200, seed=5))
        index.sync()
        assert database.run(graph) != first, "for many it is made anew"
        assert index.check() == []


def test_a_graph_that_does_not_fit_into_memory_is_said(database):
    trace, truth = Trace(), MemoryTruth(256)
    truth.add(unit(np.random.default_rng(0).standard_normal((1500, 256))), [{}] * 1500)
    with database.opened(truth, maintenance_work_mem="1MB") as index, trace.stage("index"):
        index.sync()
    [warning] = trace.warnings
    assert "no longer fits" in warning
    assert "store.maintenance_work_mem" in warning


def test_workers_that_find_no_room_to_share(database):
    """A container has 64 MB of shared memory; here more is asked for than any machine has."""
    from psycopg import errors

    for setting in ("min_parallel_table_scan_size = 0", "maintenance_work_mem = '900GB'"):
        database.run(f"ALTER DATABASE {database.name} SET {setting}")
    truth = filled(50)
    with database.opened(truth, maintenance_work_mem="900GB", exact=True) as index:
        index.sync()
    try:
        database.run("ALTER TABLE fovea SET (parallel_workers = 2)")
        database.run("CREATE INDEX ON fovea USING hnsw (embedding vector_ip_ops)")
    except errors.DiskFull:
        with database.opened(truth, maintenance_work_mem="900GB") as index:
            index._do(index._index)
            assert index.check() == []
    else:
        pytest.skip("this machine gave them all the room they asked for")


def test_a_table_of_somebody_else_is_left_alone(database):
    database.run("CREATE TABLE fovea (mine text)")
    with database.opened(filled(3)) as index:
        for action in (index.sync, index.rebuild):
            with pytest.raises(StoreError, match=r"(?s)'fovea' is there, and Fovea did not make it.*collection"):
                action()
    assert database.run("SELECT * FROM fovea") == []


def test_what_the_server_lacks_is_said_with_what_mends_it(database, postgres, monkeypatch):
    latin = Database(postgres, "ENCODING 'SQL_ASCII' TEMPLATE template0")
    old = Database(postgres)
    old.run("CREATE EXTENSION vector")
    old.run("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    role = f"role_{uuid4().hex[:8]}"
    database.run(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    plain = database.url.replace("postgres@", f"{role}@")
    for url, said in (
        (latin.url, r"encoding is SQL_ASCII.*createdb --encoding=UTF8"),
        (old.url, r"pgvector 0.7.4 is too old.*ALTER EXTENSION vector UPDATE"),
        (plain, r"extension `vector` cannot be made: permission denied.*superuser"),
        (database.url + "_no", r"database .* does not exist"),
    ):
        with pytest.raises(StoreError, match=f"(?s){said}"):
            PgvectorStore(url=url).open(filled(2)).sync()
    database.run("CREATE EXTENSION vector")
    with pytest.raises(StoreError, match="(?s)permission denied for schema public.*GRANT CREATE"):
        PgvectorStore(url=plain).open(filled(2)).sync()
    monkeypatch.setenv("PGPASSWORD", "quite-another-password")
    with pytest.raises(StoreError, match=r"(?s)password authentication failed.*PGPASSWORD or ~/.pgpass") as caught:
        PgvectorStore(url=database.url).open(filled(2)).sync()
    assert "quite-another" not in str(caught.value)


@pytest.mark.parametrize("store", ["pgvector", "qdrant", "chroma"])
@pytest.mark.parametrize("url", ["http://me:hidden-word@host/x", "postgresql://host/x?password=hidden-word"])
def test_a_password_in_the_settings_is_refused_and_not_repeated(tmp_path, store, url):
    (tmp_path / "p.yaml").write_text(f'encoder: hash\nstore: {{use: {store}, url: "{url}"}}\n')
    with pytest.raises(FoveaError, match="a password does not stand in `url`") as caught:
        Pipeline.from_yaml(tmp_path / "p.yaml")
    assert "hidden-word" not in str(caught.value)


def test_a_pipeline_from_files_to_hits(database, tmp_path):
    for name, text in (("tea", "Green tea is brewed at 80 degrees."), ("coffee", "Coffee is brewed at 92 degrees.")):
        (tmp_path / f"{name}.md").write_text(text)
    store = {"use": "pgvector", "url": database.url, "path": "store"}
    with Pipeline(encoder="hash", retrieve="dense", store=store, base=tmp_path) as pipeline:
        pipeline.ingest(tmp_path)
        [hit] = pipeline.retrieve("tea is brewed", k=2, where=parse("contains(path, 'te') and path < 'u'"))
        assert hit.chunk.source.endswith("tea.md")
        assert pipeline.verify() == []


def test_rows_are_written_in_requests_that_servers_take(database):
    """Chroma's takes 40 MiB and Qdrant's 32, and a number in JSON is up to 21 characters."""
    for dim in (1, 384, 1536, 8192, 16_000):
        with database.opened(MemoryTruth(dim), exact=True) as index:
            assert 1 <= index._batch <= 1000
            assert index._batch * dim * 21 <= 32 * 2**20 or index._batch == 1
    assert BATCH_BYTES // 4 * 21 < 32 * 2**20
