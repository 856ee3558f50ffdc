"""The parts of a Word document: a zip of XML files that name each other in `.rels`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any
from zipfile import ZipFile

from fovea.rag.errors import DocumentError

SPACES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://purl.oclc.org/ooxml/officeDocument/math": "m",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing": "wp",
    "http://purl.oclc.org/ooxml/drawingml/wordprocessingDrawing": "wp",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://purl.oclc.org/ooxml/drawingml/main": "a",
    "http://schemas.openxmlformats.org/drawingml/2006/diagram": "dgm",
    "http://purl.oclc.org/ooxml/drawingml/diagram": "dgm",
    "urn:schemas-microsoft-com:vml": "v",
    "urn:schemas-microsoft-com:office:office": "o",
    "http://schemas.microsoft.com/office/word/2010/wordml": "w14",
}
"""Name spaces of both editions of the standard, by the prefix that everyone writes."""


class Package:
    """Reads parts, each only when it is asked for and none above `max_bytes`; `main` is the document's name."""

    def __init__(self, archive: ZipFile, max_bytes: int, where: str) -> None:
        self.archive, self.max_bytes, self.where = archive, max_bytes, where
        self._names = {name.lower(): name for name in archive.namelist()}
        self.main = next(iter(self.related("", "officeDocument").values()), "word/document.xml")

    def part(self, name: str) -> Any:
        """The root element of a part; None if there is no such part. Raises DocumentError if it is too large."""
        stored = self._names.get(name.lower())
        if stored is None:
            return None
        size = self.archive.getinfo(stored).file_size
        if size > self.max_bytes:
            raise DocumentError(
                f"unpacked, its part {name} takes {size:,} bytes, more than the limit of {self.max_bytes:,}",
                where=self.where,
                fix=f"split it, or raise the limit in the pipeline: load: [{{use: docx, max_bytes: {size}}}]",
            )
        from lxml import etree

        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
        return etree.fromstring(self.archive.read(stored), parser)

    def related(self, part: str, kind: str) -> dict[str, str]:
        """Names of the parts that `part` names as of this kind (`styles`, `footnotes`, ...), by relation id."""
        return {rid: name for rid, name, found in self._relations(part) if found == kind}

    def the(self, kind: str) -> Any:
        """The root of the one part of this kind that the document has, or None."""
        name = next(iter(self.related(self.main, kind).values()), None)
        return None if name is None else self.part(name)

    def _relations(self, part: str) -> Iterator[tuple[str, str, str]]:
        folder, name = posixpath.split(part)
        root = self.part(posixpath.join(folder, "_rels", f"{name}.rels"))
        for one in () if root is None else root:
            target, kind = one.get("Target", ""), one.get("Type", "").rsplit("/", 1)[-1]
            if one.get("TargetMode") != "External":
                yield one.get("Id", ""), posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/"), kind


def kind(element: Any) -> str:
    """The element's name as everyone writes it: `w:p`; a name space that is not ours keeps only its local name."""
    space, _, name = element.tag[1:].rpartition("}") if element.tag[0] == "{" else ("", "", element.tag)
    prefix = SPACES.get(space)
    return f"{prefix}:{name}" if prefix else f"?:{name}"


def child(element: Any, *names: str) -> Any:
    """The first child called `names[0]`, of that the first called `names[1]`, and so on; None if there is none."""
    for name in names:
        element = None if element is None else next((one for one in element if kind(one) == name), None)
    return element


def value(element: Any, name: str = "val", default: str = "") -> str:
    """An attribute by its local name, whatever its name space; `default` where there is no element or attribute."""
    if element is None:
        return default
    return next((text for key, text in element.items() if key.rpartition("}")[2] == name), default)


def on(element: Any) -> bool:
    """Whether a switch is there and not turned off."""
    return element is not None and value(element) not in ("0", "false", "off", "none")
