"""Where the documents and pages are that come with Fovea: beside the rooms, in a checkout as in the package."""

from __future__ import annotations

from pathlib import Path

from fovea.rag.errors import FoveaError


def shipped(folder: str) -> Path:
    """The folder `examples` or `docs`; raises FoveaError where it was left out."""
    path = Path(__file__).resolve().parents[1] / folder
    if not path.is_dir():
        raise FoveaError(f"there is no {path}", fix="pip install --force-reinstall --no-deps fovea-rag")
    return path
