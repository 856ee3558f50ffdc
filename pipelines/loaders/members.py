"""Files that hold files (archives, e-mail): each member is read by the loader of its suffix, into documents."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple

from pydantic import Field, PositiveInt

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.select import find
from fovea.rag import registry
from fovea.rag.component import SpeedOnly
from fovea.rag.errors import DocumentError, FoveaError
from fovea.rag.loader import Loader
from fovea.rag.trace import warn
from fovea.rag.types import Document

BLOCK = 1 << 20
NAME_LENGTH = 150
"""Longer names of members are cut, in the middle, when they are unpacked; documents keep the whole name."""


class Member(NamedTuple):
    """A file inside a file: its name there, and what opens it."""

    name: str
    open: Callable[[], IO[bytes]]


@dataclass
class Budget:
    """How many bytes all members may take, unpacked, those of members of members included."""

    left: int

    def spend(self, size: int) -> None:
        """Take `size` bytes away; _TooMuch when there are not as many."""
        self.left -= size
        if self.left < 0:
            raise _TooMuch("more bytes than the limit allows")


class _TooMuch(Exception):
    """Members take more than the budget: this ends the whole file, however deep it happens."""


class MemberLoader(FileLoader):
    """Base of the loaders whose files hold files; a document's id is `file#member`."""

    inside: tuple[Loader, ...] = ()
    """Loaders for members, whose settings differ from the default; every other format is read with its default."""

    depth: int = Field(default=3, ge=1, le=10)
    """How deep archives and messages within this one are opened; deeper ones are left out, counted."""

    max_unpacked: SpeedOnly[PositiveInt] = 512_000_000
    """Refuse files whose members take more than this when unpacked, in bytes, those of inner archives included."""

    @property
    def fingerprint(self) -> str:
        """Changes with the loaders of members too."""
        plain = [loader.fingerprint for loader in self._loaders() if not isinstance(loader, MemberLoader)]
        return self.fingerprint_with(inside=plain)

    @abstractmethod
    def contents(self, path: Path) -> Iterator[Document | Member]:
        """The documents that the file itself makes, and its members."""

    def read(self, path: Path) -> Iterator[Document]:
        """Documents of the file and of its members, in its order."""
        try:
            yield from self.unpack(path, self.depth, Budget(self.max_unpacked))
        except _TooMuch as error:
            raise DocumentError(
                f"unpacked it takes more than the limit of {self.max_unpacked:,} bytes",
                where=path.as_posix(),
                fix=f"unpack it into a folder, or raise the limit: load: [{{use: {self.name}, max_unpacked: BYTES}}]",
            ) from error

    def unpack(self, path: Path, depth: int, budget: Budget) -> Iterator[Document]:
        """The same within `depth` and a budget. Members that cannot be read are counted; DocumentError if none can."""
        loaders, names = self._loaders(), set[str]()
        read, failed = 0, list[str]()
        for thing in self.contents(path):
            if isinstance(thing, Document):
                read += 1
                yield thing
                continue
            name = _unused(thing.name, names)
            try:
                for document in _documents(path, name, thing, loaders, depth, budget):
                    read += 1
                    yield document
            except _TooMuch:
                raise
            except Exception as error:  # One bad member does not take the others with it.
                reason = error.what if isinstance(error, FoveaError) else f"{type(error).__name__}: {error}"
                failed.append(f"{name}: {reason}")
                warn(f"{path.name}#{name}: not read: {reason}")
        if failed and not read:
            raise DocumentError(
                f"none of its files could be read, the first: {failed[0]}",
                where=path.as_posix(),
                fix="unpack it into a folder and ingest that, to see what is wrong with each",
            )

    def nested(self, path: Path, depth: int, budget: Budget) -> Iterator[Document]:
        """As `load`, for a file within a file, with what is left of the budget of the outermost."""
        self.check(path)
        yield from self.unpack(path, depth, budget)

    def _loaders(self) -> tuple[Loader, ...]:
        given = {loader.name for loader in self.inside}
        others = [cls() for name, cls in registry.components("loader").items() if name not in given]
        return (*self.inside, *others)  # type: ignore[arg-type]


def _documents(
    path: Path, name: str, member: Member, loaders: tuple[Loader, ...], depth: int, budget: Budget
) -> Iterator[Document]:
    loader = find(Path(name), loaders)
    if loader is None:
        warn(f"{path.name}: members of unknown type ({Path(name).suffix.lower() or 'no suffix'}), left out")
        return
    if isinstance(loader, MemberLoader) and depth <= 1:
        warn(f"{path.name}: archives and messages nested deeper than `depth` allows, left out")
        return
    with TemporaryDirectory(prefix="fovea-") as folder:
        target = Path(folder) / safe_name(name)
        _copy(member, target, budget)
        inner = loader.nested(target, depth - 1, budget) if isinstance(loader, MemberLoader) else loader.load(target)
        for document in inner:
            yield replace(
                document,
                id=f"{path.as_posix()}#{name}{document.id.removeprefix(target.as_posix())}",
                source=path.as_posix(),
                title=document.title or Path(name).name,
            )


def _copy(member: Member, target: Path, budget: Budget) -> None:
    with member.open() as file, target.open("wb") as out:
        while block := file.read(BLOCK):
            budget.spend(len(block))
            out.write(block)


def safe_name(name: str) -> str:
    """The last part of a member's name, as a file may be called here: no folders, no control characters, not too long
    (cut in front, so that its suffixes stay)."""
    last = re.sub(r"[\x00-\x1f\x7f:]", "_", re.split(r"[/\\]", name.rstrip("/\\"))[-1]).lstrip(".") or "member"
    while len(last.encode("utf-8", "surrogatepass")) > NAME_LENGTH:
        last = last[len(last) // 4 or 1 :]
    return last.encode("utf-8", "replace").decode()


def _unused(name: str, names: set[str]) -> str:
    """`name` without ways up, and with a number before its suffix if a member of that name came before."""
    pieces = re.split(r"[/\\]", re.sub(r"[\x00-\x1f\x7f]", "_", name))
    name = "/".join(piece for piece in pieces if piece not in ("", ".", "..")) or "member"
    found, number = name, 1
    while found in names:
        number += 1
        found = f"{name.removesuffix(Path(name).suffix)} ({number}){Path(name).suffix}"
    names.add(found)
    return found
