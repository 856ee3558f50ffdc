"""From a record (a CSV row, a JSON object) to a document: which fields are text, id, title and metadata."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from fovea.pipelines.loaders.decode import Encoding
from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.scalar import storable
from fovea.rag.errors import DocumentError
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar


class BadRecord(Exception):
    """A record that cannot be used: what is wrong with it, and what to do."""

    def __init__(self, what: str, fix: str = "", allowed: tuple[str, ...] = (), got: str = "") -> None:
        super().__init__(what)
        self.what, self.fix, self.allowed, self.got = what, fix, allowed, got


class RecordLoader(FileLoader):
    """Base of the loaders that make one document of each record; a document's id ends in `#` and its record's."""

    text: tuple[str, ...] = ()
    """Fields whose text is the document's, joined by a blank line."""

    id: str = ""
    """The field that names a record; by default its line number does."""

    title: str = "title"
    """The field that holds the title, where a record has it."""

    metadata: tuple[str, ...] | None = None
    """Fields kept as metadata; by default all simple ones that are neither text nor title."""

    bad_lines: Literal["fail", "skip"] = "fail"
    """Whether a line that cannot be used fails the whole file, or is skipped and counted as a warning."""

    encoding: Encoding = None
    """The files' encoding; by default found per file: byte-order mark, UTF-8, else a guess, with a warning."""

    media_type: str = Field(default="text/plain", pattern=r"^[\w.+-]+/[\w.+-]+$")
    """What the text of the records is, such as text/markdown."""

    @abstractmethod
    def records(self, path: Path) -> Iterator[tuple[int, Mapping[str, object] | BadRecord]]:
        """Each record with its line number, or why it is none."""

    def read(self, path: Path) -> Iterator[Document]:
        """One document per record, streamed."""
        seen: set[str] = set()
        usable = skipped = 0
        for number, record in self.records(path):
            try:
                if isinstance(record, BadRecord):
                    raise record
                document = self.document(path, number, record)
                if document.id in seen:
                    raise BadRecord(f"the id {document.id.rpartition('#')[2]!r} was used before", "make ids unique")
            except BadRecord as bad:
                if self.bad_lines == "fail":
                    raise self._placed(bad, path, number) from None
                warn(f"{path.name}: lines skipped as unusable (bad_lines: skip)")
                skipped += 1
                continue
            usable += 1
            seen.add(document.id)
            if document.text.strip():
                yield document
            else:
                warn(f"{path.name}: records without text skipped")
        if skipped and not usable:
            raise DocumentError("every line of it is unusable", where=path.as_posix(), fix="set bad_lines: fail")

    def document(self, path: Path, number: int, record: Mapping[str, object]) -> Document:
        """The document of one record. Raises BadRecord."""
        name = path.as_posix()
        fields, text = self.pick(record)
        for field in record if self.metadata is None else self.metadata:
            if record.get(field) and isinstance(record[field], (list, dict)):
                warn(f"{path.name}: field {field!r}, which holds lists or objects, left out of the metadata")
        return Document(
            f"{name}#{self._id(number, record)}",
            text,
            name,
            self.heading(record),
            self.media_type,
            self._metadata(record, {*fields, self.title}),
        )

    def heading(self, record: Mapping[str, object]) -> str:
        """The title of a record, or an empty string."""
        return " ".join(str(record.get(self.title) or "").split())

    def pick(self, record: Mapping[str, object]) -> tuple[tuple[str, ...], str]:
        """The names of the text fields of a record, and their text."""
        for field in self.text:
            if field not in record:
                raise BadRecord(f"no field {field!r}", allowed=tuple(map(str, record)), got=field)
            if not isinstance(record[field], (str, type(None))):
                raise BadRecord(f"the field {field!r} is {type(record[field]).__name__}, not text")
        return self.text, "\n\n".join(str(v) for field in self.text if (v := record[field]))

    def _id(self, number: int, record: Mapping[str, object]) -> str:
        if not self.id:
            return str(number)
        if record.get(self.id) in (None, "") or isinstance(record[self.id], (list, dict)):
            raise BadRecord(f"no usable id in the field {self.id!r}", allowed=tuple(map(str, record)), got=self.id)
        return str(record[self.id])

    def _metadata(self, record: Mapping[str, object], taken: set[str]) -> dict[str, Scalar]:
        wanted = [f for f in record if f not in taken] if self.metadata is None else self.metadata
        kept: dict[str, Scalar] = {}
        for field in wanted:
            value = record.get(field)
            if isinstance(value, str) and value:
                kept[field] = value
            elif isinstance(value, (int, float)):
                kept[field] = storable(value)
        return kept

    def _placed(self, bad: BadRecord, path: Path, number: int) -> DocumentError:
        return DocumentError(
            bad.what,
            where=f"{path.as_posix()}:{number}",
            allowed=bad.allowed,
            got=bad.got,
            fix=bad.fix or f"mend the line, or leave it out: load: [{{use: {self.name}, bad_lines: skip}}]",
        )
