"""`fovea mcp` as an assistant starts it: a process of its own, asked by the SDK's client over its pipes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.command import fovea
from tests.conftest import ROOT

mcp = pytest.importorskip("mcp")

YAML = """\
name: sky
description: Notes on the Moon and on tea.
encoder: hash
segment: {use: sentence, max_tokens: 12}
store: {use: embedded, path: store}
"""


@pytest.fixture
def folder(docs: Path) -> Path:
    """A folder with a pipeline's YAML and its store."""
    (docs.parent / "qa.yaml").write_text(YAML)
    fovea(docs.parent, "ingest", "qa.yaml", "docs", "--quiet")
    return docs.parent


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "fovea.pipelines.cli.main", "mcp", "qa.yaml", *args]


def documented(pipeline: Path) -> tuple[str, list[str]]:
    """The command of the client's configuration in the documentation, for a pipeline of ours."""
    [text] = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "mcp.md").read_text("utf-8"), re.DOTALL)
    [server] = json.loads(text)["mcpServers"].values()
    assert server["command"] == "fovea"
    assert server["args"][1].endswith("/qa.yaml")
    return sys.executable, ["-m", "fovea.pipelines.cli.main", server["args"][0], str(pipeline)]


def test_an_assistant_searches_asks_and_reads(folder, tmp_path_factory):
    program, args = documented(folder / "qa.yaml")

    async def talk() -> None:
        async with mcp.Client(
            mcp.StdioServerParameters(
                command=program, args=args, cwd=tmp_path_factory.mktemp("elsewhere"), env=dict(os.environ)
            )
        ) as client:
            assert client.server_info.name == "sky"
            assert client.instructions.startswith("Notes on the Moon and on tea.")
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"search", "ask", "read_span", "list_documents", "status"}
            assert all(tool.annotations.read_only_hint for tool in tools.values())
            found = await client.call_tool("search", {"question": "Who walked on the Moon?", "k": 1})
            [passage] = found.structured_content["passages"]
            assert "Armstrong" in passage["text"]
            assert passage["text"] in found.content[0].text
            place = {key: passage[key] for key in ("document", "start", "end")}
            read = await client.call_tool("read_span", place)
            assert read.structured_content["text"] == passage["text"]
            answer = (await client.call_tool("ask", {"question": "Who walked on the Moon?"})).structured_content
            assert "Armstrong" in answer["text"]
            assert answer["citations"][0]["source"] == "docs/moon.txt"

    anyio.run(talk)


def test_standard_output_is_the_protocols_alone(folder):
    """Byte for byte, with a model that prints and a store that warns."""
    ask = {"name": "ask", "arguments": {"question": "Who walked on the Moon?"}}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": ask},
    ]
    loud = (
        "import sys, os; from fovea.pipelines.generators.extractive import ExtractiveGenerator as E; was = E.finish\n"
        "def finish(*a, **k):\n    print('printed'); os.write(1, b'written\\n'); return was(*a, **k)\n"
        "E.finish = finish; from fovea.pipelines.cli.main import main; sys.exit(main(['mcp', 'qa.yaml']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", loud], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as server:  # fmt: skip
        for line in lines:
            server.stdin.write(json.dumps(line) + "\n")
            server.stdin.flush()
        replies = [json.loads(server.stdout.readline()) for _ in range(2)]
        server.stdin.close()
        rest, said = server.stdout.read(), server.stderr.read()
    assert [reply["id"] for reply in replies] == [1, 2]
    assert replies[1]["result"]["isError"] is False
    assert rest == ""
    assert "printed" in said
    assert "written" in said
    assert server.returncode == 0


def test_what_cannot_start_is_said_on_standard_error_alone(folder):
    for args in (["--where", "team =="], ["--wher", "x"]):
        done = fovea(folder, "mcp", "qa.yaml", *args, code=2)
        assert done.stdout == ""
        assert done.stderr
