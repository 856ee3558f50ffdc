#!/usr/bin/env bash
# mcp 2.3.0 (the official Python SDK) reads a text that a client sends as JSON, where the tool's argument is `str | None`.
#
# A client that sends {"text": "null"} calls the tool with None, and one that sends "[1]" is told that it sent a list: so
# somebody who looks up the word "null", or a filter's "[1]", gets another answer or an error. "42" stays a text, because
# numbers are left alone. An argument annotated exactly `str` is never read so: the same tool with `text: str = ""` is told
# what was sent. (`mcp/server/mcpserver/utilities/func_metadata.py`: texts are loaded as JSON before they are checked, for
# every annotation that is not `str` itself.)
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
def optional(text: str | None = None) -> str:
    return repr(text)


@server.tool()
def plain(text: str = "") -> str:
    return repr(text)


async def seen():
    found = {}
    async with Client(server) as client:
        for tool in ("optional", "plain"):
            for sent in ("null", "[1]", "42"):
                result = await client.call_tool(tool, {"text": sent})
                said = "an error" if result.is_error else result.content[0].text
                found[tool, sent] = said
                print(f"{tool}({sent!r}) is told {said}")
    return found


print("mcp", version("mcp"))
found = anyio.run(seen)
as_described = found == {
    ("optional", "null"): "None", ("optional", "[1]"): "an error", ("optional", "42"): "'42'",
    ("plain", "null"): "'null'", ("plain", "[1]"): "'[1]'", ("plain", "42"): "'42'",
}
print("as described" if as_described else "it has changed")
sys.exit(not as_described)
PY
