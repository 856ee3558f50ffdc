"""Every error a person can cause, in one vocabulary.

A message says what is wrong, where (file:line, component path, document), what was got, what is allowed, the nearest
match, and the command that mends it. The command line prints the message alone, without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fovea.rag.printable import printable

if TYPE_CHECKING:
    from pathlib import Path


class FoveaError(Exception):
    """What went wrong, and what to do about it."""

    exit_code = 1

    def __init__(
        self, what: str, *, where: str = "", allowed: Iterable[str] = (), got: str = "", fix: str = ""
    ) -> None:
        self.what, self.where, self.allowed, self.got, self.fix = what, where, tuple(allowed), got, fix
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{printable(self.where)}: {self.what}" if self.where else self.what]
        if self.allowed:
            lines.append(f"  allowed: {', '.join(map(printable, self.allowed))}")
        if near := nearest(self.got, self.allowed):
            lines.append(f"  did you mean {near!r}?")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)

    def at(self, where: str) -> FoveaError:
        """The same error, placed; an inner place stays visible behind the outer one."""
        self.where = f"{where}: {self.where}" if self.where else where
        return self


class ConfigError(FoveaError):
    """A setting, a YAML file or a chain of stages that cannot work."""

    exit_code = 2


class ConfigErrors(ConfigError):
    """Several of them, found in one pass."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class FoveaErrors(FoveaError):
    """Several of any kind, found in one pass; the exit code is the highest of theirs."""

    def __init__(self, errors: Iterable[FoveaError]) -> None:
        self.errors = tuple(errors)
        self.exit_code = max((error.exit_code for error in self.errors), default=1)
        super().__init__("\n".join(map(str, self.errors)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


class DocumentError(FoveaError):
    """A document that cannot be read or used."""


class QueryError(FoveaError):
    """A question or filter that cannot be answered."""

    exit_code = 2


class StoreError(FoveaError):
    """A store that cannot be opened, read or written."""


class LockedError(StoreError):
    """Another process is writing to this store."""


class ModelError(FoveaError):
    """A model that cannot be found, trusted or run."""


class MissingExtra(FoveaError):
    """A component needs a distribution that is not installed."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, capitals aside, or None if none is near."""
    folded = {candidate.lower(): candidate for candidate in candidates}
    near = get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6) if word else []
    return folded[near[0]] if near else None


def nearest_file(path: Path, suffixes: Iterable[str] = ()) -> str | None:
    """The path beside `path` whose name is most like its name, endings aside; with one of the `suffixes`, if any."""
    try:
        stems = {p.stem: p.name for p in path.parent.iterdir() if not suffixes or p.suffix in suffixes}
    except (OSError, ValueError):
        return None
    near = nearest(path.stem, stems)
    return path.with_name(stems[near]).as_posix() if near else None


def require(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import `module`, or say which extra of Fovea brings it. A fault inside an installed module is not hidden."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"{needed_by} needs the package {module.split('.')[0]!r}, which is not installed",
            fix=f'pip install "fovea-rag[{extra}]"',
        ) from None
