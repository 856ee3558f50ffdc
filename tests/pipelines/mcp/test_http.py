"""Streamable HTTP: the same tools over a socket, for local names alone."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import anyio
import httpx
import pytest

from fovea.rag.errors import ConfigError
from tests.command import fovea

mcp = pytest.importorskip("mcp")

import uvicorn  # noqa: E402

from fovea.pipelines.mcp.http import security  # noqa: E402
from fovea.pipelines.mcp.scope import Scope  # noqa: E402
from fovea.pipelines.mcp.server import PipelineServer  # noqa: E402
from fovea.pipelines.mcp.tools import Tools  # noqa: E402

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@contextmanager
def listening(server, **options):
    """The address at which a server listens, in a thread of this process."""
    app = server.streamable_http_app(transport_security=security("127.0.0.1", **options))
    run = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=run.run, daemon=True)
    thread.start()
    while not run.started:
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{run.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        run.should_exit = True
        thread.join(10)


def test_the_sdks_client_asks_over_http(docs, make):
    pipeline = make(name="sky")
    pipeline.ingest(docs)

    async def talk(url: str) -> None:
        async with mcp.Client(url) as client:
            assert client.server_info.name == "sky"
            found = await client.call_tool("ask", {"question": "Who walked on the Moon?"})
            assert "Armstrong" in found.structured_content["text"]
            assert (await client.call_tool("search", {"question": ""})).is_error

    with listening(PipelineServer(Tools(Scope(pipeline)))) as url:
        anyio.run(talk, url)


def test_a_page_of_another_site_cannot_ask(make):
    pipeline = make()
    with listening(PipelineServer(Tools(Scope(pipeline))), names=["notes.lan"]) as url:
        accept = {"accept": "application/json, text/event-stream"}
        said = {
            name: httpx.post(url, json=PING, headers={**accept, **headers}).status_code
            for name, headers in {
                "rebound": {"host": "evil.example"},
                "other origin": {"origin": "https://evil.example"},
                "like ours": {"host": "localhost.evil.example"},
                "allowed": {"host": "notes.lan", "origin": "https://notes.lan"},
            }.items()
        }
    assert (said["rebound"], said["other origin"], said["like ours"]) == (421, 403, 421)
    assert said["allowed"] not in (403, 421)


def test_an_address_for_other_machines_needs_the_names_they_use(tmp_path):
    for host in ("0.0.0.0", "::", "192.168.1.7", "notes.lan"):
        with pytest.raises(ConfigError, match="--allow-host"):
            security(host)
    assert "127.0.0.5:*" in security("127.0.0.5").allowed_hosts
    (tmp_path / "qa.yaml").write_text("encoder: hash\n")
    refused = fovea(tmp_path, "mcp", "qa.yaml", "--http", "--host", "0.0.0.0", code=2)
    assert "--allow-host NAME" in refused.stderr
    assert "0 to 65535" in fovea(tmp_path, "mcp", "qa.yaml", "--http", "--port", "99999", code=2).stderr
    refused = fovea(tmp_path, "mcp", "qa.yaml", "--write", "--where", "team == 'a'", code=2)
    assert "exclude each other" in refused.stderr


def test_a_port_that_is_taken_is_said(tmp_path):
    (tmp_path / "qa.yaml").write_text("encoder: hash\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = fovea(tmp_path, "mcp", "qa.yaml", "--http", "--port", port, code=2)
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
