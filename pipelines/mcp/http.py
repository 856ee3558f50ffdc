"""Streamable HTTP: where it may be reached, and by which names."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from mcp.server.transport_security import TransportSecuritySettings

from fovea.rag.errors import ConfigError

LOCAL = ("127.0.0.1", "localhost", "[::1]")


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
