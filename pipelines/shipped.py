"""Where the documents and pages are that come with Fovea: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

import fovea
from fovea.rag.errors import FoveaError


def shipped(folder: str) -> Path:
    """The folder `examples` or `docs`; raises FoveaError where it was left out."""
    package = Path(fovea.__file__).resolve().parent
    for path in (package / folder, package.parent / folder):
        if path.is_dir() and (path / MARKS[folder]).exists():
            return path
    raise FoveaError(
        f"this installation came without its {folder}", fix="pip install --force-reinstall --no-deps fovea-rag"
    )


MARKS = {"examples": "questions.jsonl", "docs": "segmenters.md"}
"""A file that tells each folder from another project's of its name."""
