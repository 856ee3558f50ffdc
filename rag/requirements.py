"""Requirement: something that must be on this machine before a component can work, looked at without loading it.

A component names its own in `Component.requirements`; `fovea check` and `fovea doctor` look at all of a pipeline's, and
ingestion looks at those that would else fail once a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from fovea.rag.errors import FoveaError, MissingExtra, ModelError
from fovea.rag.models import locate


@dataclass(frozen=True)
class Requirement:
    """`check` raises the FoveaError that says what is missing, and what mends it."""

    what: str
    """For people: `the package chromadb`, `the weights 'pointer'`."""
    check: Callable[[], object]
    offline: bool = True
    """Whether `check` looks at this machine alone and loads nothing heavy."""
    fetched: bool = False
    """Whether the first use brings it from the network, where there is one."""

    @property
    def lacking(self) -> bool:
        """Whether `check` finds it missing."""
        try:
            self.check()
        except FoveaError:
            return True
        return False


def package(module: str, extra: str, needed_by: str) -> Requirement:
    """An importable module that an extra of Fovea brings; it is looked for, not imported."""
    top = module.partition(".")[0]

    def check() -> None:
        if not has(top):
            raise MissingExtra(
                f"{needed_by} needs the package {top!r}, which is not installed",
                fix=f'pip install "fovea-rag[{extra}]"',
            )

    return Requirement(f"the package {top}", check)


def has(module: str) -> bool:
    """Whether a top-level module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ValueError:  # a module made by hand, without a spec, is there
        return True


def model(name: str, organisation: str = "sentence-transformers") -> Requirement:
    """The files of a model: a folder, or a name whose files are in a cache or an installed package."""
    return Requirement(
        f"the model {name!r}", lambda: locate(name, offline=True, organisation=organisation), fetched=True
    )


def server(url: str, needed_by: str, fix: str, seconds: float = 3.0) -> Requirement:
    """Something that listens at `url`."""

    def check() -> None:
        import socket
        from urllib.parse import urlsplit

        try:
            at = urlsplit(url)
            address = (at.hostname or "", at.port or (443 if at.scheme == "https" else 80))
            socket.create_connection(address, timeout=seconds).close()
        except (OSError, ValueError) as error:
            raise ModelError(f"{needed_by} asks {url}, and nothing answers there: {error}", fix=fix) from None

    return Requirement(f"the server {url}", check, offline=False)
