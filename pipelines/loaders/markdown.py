"""Markdown, character for character, with its title and front matter as metadata."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.decode import Encoding, open_text
from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.scalar import scalar
from fovea.rag.headings import first_heading
from fovea.rag.markdown import FrontMatter, front_matter
from fovea.rag.shallow import Shallow
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar


class MarkdownLoader(FileLoader, name="markdown"):
    """One document whose text is the file's, front matter included, so that positions are the file's own.

    Simple values of front matter, YAML or TOML, become metadata; a list of them becomes one string, joined with commas;
    nested values stay in the text only. The title is the front matter's, else the first heading.
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
        front = front_matter(text)
        metadata = simple_values(front) if front else {}
        title = str(metadata.pop("title", "")) or first_heading(text)
        name = path.as_posix()
        yield Document(name, text, name, title, "text/markdown", metadata)


def simple_values(front: FrontMatter) -> dict[str, Scalar]:
    """The simple values of front matter; what is no mapping leaves a warning and nothing else."""
    data = (_toml if front.format == "toml" else _yaml)(front.inside)
    if not isinstance(data, dict):
        name = front.format.upper()
        warn(f"front matter that is not a {name} mapping was left in the text and gave no metadata")
        return {}
    return {
        str(key): ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in data.items()
        if isinstance(value, str | int | float)
        or (isinstance(value, list) and all(isinstance(v, str | int) for v in value))
    }


def _yaml(text: str) -> Any:
    import yaml

    class Strings(Shallow, yaml.BaseLoader):
        pass

    try:
        data = yaml.load(text, Strings)  # Strings only: neither dates nor YAML 1.1's `no` change meaning.
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return {k: scalar(v) if isinstance(v, str) else v for k, v in data.items()} if isinstance(data, dict) else None


def _toml(text: str) -> Any:
    try:
        data = tomllib.loads(text.replace("\r\n", "\n"), parse_float=str)  # 1.10 is no number that 1.1 is.
    except (ValueError, RecursionError):
        return None
    return {k: v.isoformat() if isinstance(v, date | time) else v for k, v in data.items()}
