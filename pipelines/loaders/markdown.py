"""Markdown, character for character, with its title and front matter as metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fovea.pipelines.loaders.decode import Encoding, open_text
from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.scalar import scalar
from fovea.rag.headings import FRONT, FRONT_LIMIT, first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar


class MarkdownLoader(FileLoader, name="markdown"):
    """One document whose text is the file's, front matter included, so that positions are the file's own.

    Simple values of YAML front matter become metadata; a list of them becomes one string, joined with commas; nested
    values stay in the text only. The title is the front matter's, else the first heading.
    """

    suffixes = (".md", ".markdown", ".mdown", ".mdx")
    format = "Markdown"

    encoding: Encoding = None
    """The files' encoding; by default found per file: byte-order mark, UTF-8, else a guess, with a warning."""

    def read(self, path: Path) -> Iterator[Document]:
        """The whole file as one document."""
        with open_text(path, self.encoding) as file:
            text = file.read()
        if not text.strip():
            return
        front = FRONT.match(text, 0, FRONT_LIMIT)
        metadata = front_matter(front[1]) if front else {}
        title = str(metadata.pop("title", "")) or first_heading(text)
        name = path.as_posix()
        yield Document(name, text, name, title, "text/markdown", metadata)


def front_matter(text: str) -> dict[str, Scalar]:
    """The simple values of a YAML mapping; what is not one leaves a warning and nothing else."""
    import yaml

    try:
        data = yaml.load(text, yaml.BaseLoader)  # Strings only: neither dates nor YAML 1.1's `no` change meaning.
    except (yaml.YAMLError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        warn("front matter that is not a YAML mapping was left in the text and gave no metadata")
        return {}
    return {
        str(key): scalar(value) if isinstance(value, str) else ", ".join(value)
        for key, value in data.items()
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    }
