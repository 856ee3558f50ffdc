#!/usr/bin/env bash
# mcp 2.3.0 (the official Python SDK) drops arguments that a tool does not have, and its schema does not forbid them.
#
# A client, mostly a language model, that writes {"question": "...", "wher": "year == 2024"} gets the answer of an
# unfiltered search, and no word that its filter was not seen. The published input schema has no
# `additionalProperties: false`, so a client cannot find out by itself either, and the arguments' model ignores extras.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import anyio
from mcp import Client
from mcp.server.mcpserver import MCPServer

server = MCPServer("findings", log_level="ERROR")


@server.tool()
def search(question: str, where: str = "") -> str:
    return f"question {question!r}, where {where!r}"


async def seen():
    async with Client(server) as client:
        (tool,) = (await client.list_tools()).tools
        result = await client.call_tool("search", {"question": "tea", "wher": "year == 2024"})
        return tool.input_schema.get("additionalProperties"), result.is_error, result.content[0].text


forbidden, failed, said = anyio.run(seen)
print("mcp", version("mcp"))
print("additionalProperties in the schema:", forbidden)
print("search(question='tea', wher='year == 2024') fails:", failed, "and is told:", said)
as_described = forbidden is None and not failed and said == "question 'tea', where ''"
print("as described" if as_described else "it has changed")
sys.exit(not as_described)
PY
