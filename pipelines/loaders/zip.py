"""ZIP archives: each file in them is read as if it lay in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from fovea.pipelines.loaders.members import Member, MemberLoader
from fovea.pipelines.loaders.packed import locked
from fovea.pipelines.sources.globs import passed_by
from fovea.rag.errors import DocumentError
from fovea.rag.trace import warn
from fovea.rag.types import Document

JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What systems put into archives beside the files of people."""


class ZipLoader(MemberLoader, name="zip"):
    """The documents of every file in an archive, named `archive.zip#folder/file`.

    What would be passed by in a folder is passed by here; files of unknown type, encrypted and damaged ones are
    counted. Archives within are opened to `depth`. Nothing is written outside a temporary folder, whatever names say.
    """

    suffixes = (".zip",)
    format = "ZIP archive"

    def contents(self, path: Path) -> Iterator[Document | Member]:
        """The files of the archive in its order."""
        try:
            archive = ZipFile(path)
        except BadZipFile as error:
            raise DocumentError(
                f"cannot be read as {self.format}: it is damaged or cut off ({error})",
                where=path.as_posix(),
                fix="copy it again from where it comes from",
            ) from error
        with archive:
            files = [info for info in archive.infolist() if not info.is_dir() and not _junk(info.filename)]
            readable = [info for info in files if not info.flag_bits & 1]
            if files and not readable:
                raise locked(path, self)
            warn(f"{path.name}: encrypted members, left out", len(files) - len(readable))
            for info in readable:
                yield Member(info.filename, partial(archive.open, info))


def _junk(name: str) -> bool:
    return any((passed_by(part) and part not in (".", "..")) or part in JUNK for part in re.split(r"[/\\]", name))
