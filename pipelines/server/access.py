"""Who asks: the keys of the settings, compared in constant time, and where requests may come from."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.secret import digest
from fovea.pipelines.server.settings import ServeSettings, filter_of
from fovea.rag.filters import Filter, Some

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Caller:
    """Who asks: a name for the log, the documents that it may see (None: all), and whether it may write."""

    name: str
    scope: Filter | None = None
    write: bool = False


class Keys:
    """The keys of the settings by their digests; raises ConfigError for a variable that is not set, or too short."""

    def __init__(self, settings: ServeSettings) -> None:
        self.anybody = Caller("", filter_of(settings.scope), write=not settings.scope)
        self.nobody = Caller("", Some(()))
        self._callers = [
            (key.digest(), Caller(key.name, filter_of(settings.scope, key.scope), key.write)) for key in settings.keys
        ]

    def caller(self, authorization: str | None) -> Caller:
        """Who sent this header; raises Problem where it is nobody that the settings know."""
        if not self._callers:
            return self.anybody
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem(401, "this server wants a key", fix="send the header 'Authorization: Bearer KEY'")
        given, found = digest(token.strip()), None
        for known, caller in self._callers:  # Every one, so that the time says nothing.
            if hmac.compare_digest(known, given):
                found = caller
        if found is None:
            raise Problem(401, "this key is not known", fix="ask whoever runs the server for a key")
        return found


class Origins:
    """Which hosts and pages requests may name. A page elsewhere can send requests to this machine, by a name of its own
    that leads here (DNS rebinding) or across origins: neither gets through.
    """

    def __init__(self, settings: ServeSettings, *, loopback: bool) -> None:
        self.hosts: Sequence[str] = [host.lower() for host in settings.hosts] or (LOOPBACK if loopback else ())
        self.origins = frozenset(settings.origins)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise Problem for a request that names another host, or comes from a page of another origin."""
        host = headers.get("host", "")
        if self.hosts and name_of(host) not in self.hosts:
            raise Problem(421, "this server does not answer for that host", fix="add it to serve.hosts")
        origin = headers.get("origin")
        if origin and origin not in self.origins and urlsplit(origin).netloc.lower() != host.lower():
            raise Problem(403, "pages of this origin may not ask here", fix="add it to serve.origins")


def name_of(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    name = host.rsplit(":", 1)[0] if host.rsplit("]", 1)[-1].count(":") == 1 else host
    return name.strip("[]").lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    return host in LOOPBACK or host.startswith("127.")
