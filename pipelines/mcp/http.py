"""Streamable HTTP: where it may be reached, and by which names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from fovea.pipelines.bound import bound, url
from fovea.rag.errors import ConfigError

LOCAL = ("127.0.0.1", "localhost", "[::1]")


def listen(server: MCPServer, host: str, port: int, names: Sequence[str] = ()) -> int:
    """Serve until SIGTERM or SIGINT; the address is printed on standard error. Raises ConfigError where it is taken,
    or open to others without `names`.
    """
    allowed = security(host, names)
    sockets = bound(host, port)
    port = sockets[0].getsockname()[1]
    app = server.streamable_http_app(transport_security=allowed, host=host)
    print(f"{server.name}: {url(host, port)}/mcp", file=sys.stderr, flush=True)
    run = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
    with suppress(KeyboardInterrupt):  # Of uvicorn, once it has ended: the way to end it, and no fault.
        anyio.run(run.serve, sockets)
    return 0 if run.started else 1


def security(host: str, names: Sequence[str] = ()) -> TransportSecuritySettings:
    """Which `Host` and `Origin` a request may name. Without this a page of any site could, by a name of its own that it
    lets point here (DNS rebinding), ask in a visitor's browser.

    Raises ConfigError for an address of other machines without the `names` by which they reach it: the SDK would check
    nothing there.
    """
    if not names and not _loopback(host):
        raise ConfigError(
            f"--host {host} is open to other machines, which may name it by anything",
            fix="add --allow-host NAME for each name that clients use, and put a proxy that asks for keys before it",
        )
    allowed = [*LOCAL, *([host] if _loopback(host) and host not in (*LOCAL, "::1") else []), *names]
    return TransportSecuritySettings(
        allowed_hosts=[each for name in allowed for each in (name, f"{name}:*")],
        allowed_origins=[f"{scheme}://{name}{port}" for name in allowed for scheme in ("http", "https")
                         for port in ("", ":*")],
    )  # fmt: skip


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
