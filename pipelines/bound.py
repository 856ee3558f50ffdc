"""An address to listen on, taken before anything heavy is loaded."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from fovea.rag.errors import ConfigError

ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What a machine without IPv6 says of the second address of `localhost`."""


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to each address of a host, not listening yet; port 0 is any free one. Raises ConfigError for a host
    that is none, and for an address that is taken or not ours to take.
    """
    where = url(host, port).removeprefix("http://")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no name of a host"
        raise ConfigError(f"cannot listen on {where}: {why}", where="--host",
                          fix="--host 127.0.0.1, or another address of this machine") from None  # fmt: skip
    taken: list[socket.socket] = []
    absent: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        if taken and not port:
            address = (address[0], taken[0].getsockname()[1], *address[2:])
        try:
            taken.append(_bound(family, kind, protocol, address))
        except OSError as error:
            if error.errno in ABSENT:
                absent = error
                continue
            _close(taken)
            raise ConfigError(f"cannot listen on {where}: {_why(error)}", where="--port",
                              fix=f"another --port, such as --port {_other(port)}") from None  # fmt: skip
    if absent and not taken:
        raise ConfigError(f"cannot listen on {where}: {_why(absent)}", where="--host",
                          fix="--host 127.0.0.1, or another address of this machine")  # fmt: skip
    return taken


def url(host: str, port: int) -> str:
    """The address as a browser takes it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _why(error: OSError) -> str:
    said = {errno.EADDRINUSE: "something listens there already", errno.EACCES: "ports below 1024 are the system's"}
    return said.get(error.errno or 0, error.strerror or str(error))


def _other(port: int) -> int:
    return port + 1 if 1024 <= port < 65535 else 8080


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()
