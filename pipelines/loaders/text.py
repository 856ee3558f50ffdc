"""Plain text and source code, character for character."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fovea.pipelines.loaders.decode import Encoding, open_text
from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.rag.headings import headings
from fovea.rag.markup_headings import MARKUP
from fovea.rag.types import Document

MEDIA_TYPES = {
    ".txt": "text/plain", ".text": "text/plain", ".log": "text/plain", ".rst": "text/x-rst", ".adoc": "text/asciidoc",
    ".org": "text/org", ".tex": "text/x-tex", ".xml": "text/xml", ".srt": "text/plain", ".vtt": "text/vtt",
    ".py": "text/x-python", ".js": "text/javascript", ".ts": "text/x-typescript", ".java": "text/x-java",
    ".kt": "text/x-kotlin", ".c": "text/x-c", ".h": "text/x-c", ".cc": "text/x-c++", ".cpp": "text/x-c++",
    ".hpp": "text/x-c++", ".cs": "text/x-csharp", ".go": "text/x-go", ".rs": "text/x-rust", ".rb": "text/x-ruby",
    ".php": "text/x-php", ".swift": "text/x-swift", ".scala": "text/x-scala", ".r": "text/x-r", ".sh": "text/x-sh",
    ".sql": "text/x-sql", ".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml",
    ".ini": "text/plain", ".cfg": "text/plain", ".conf": "text/plain", ".properties": "text/plain",
    ".ics": "text/calendar", ".vcf": "text/vcard", ".bib": "text/x-bibtex",
}  # fmt: skip
"""What is read as text, with its media type."""


class TextLoader(FileLoader, name="text"):
    """One document whose text is the file's, every character and line ending kept; the suffix gives its media type.

    The title is the first heading of markup that has some (reStructuredText, AsciiDoc, Org, LaTeX).
    """

    suffixes = tuple(MEDIA_TYPES)
    format = "text"

    encoding: Encoding = None
    """The files' encoding; by default found per file: byte-order mark, UTF-8, else a guess, with a warning."""

    def read(self, path: Path) -> Iterator[Document]:
        """The whole file as one document."""
        with open_text(path, self.encoding) as file:
            text = file.read()
        if text.strip():
            name, kind = path.as_posix(), MEDIA_TYPES.get(path.suffix.lower(), "text/plain")
            title = next((heading.words for heading in headings(text, kind)), "") if kind in MARKUP else ""
            yield Document(name, text, name, title, kind)
