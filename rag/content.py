"""What a model is by its content: two folders with the same files are one model, and a folder whose files have changed
is another one.
"""

from __future__ import annotations

from pathlib import Path

from fovea.rag.component import fingerprint
from fovea.rag.errors import ModelError
from fovea.rag.models import digest, locate

DECIDES = (".safetensors", ".bin", ".json", ".txt", ".model", ".jinja")
"""Suffixes of files that decide what a model says."""


def content_of(model: str, *, organisation: str = "sentence-transformers") -> str:
    """A hash of the files of a model (or of the one file of weights) that is on this machine; the name of one that is
    not. Files are read once, then remembered by size and time of change.
    """
    if Path(model).is_file():
        return digest(Path(model))
    try:
        folder = locate(model, offline=True, organisation=organisation).path
    except ModelError:
        return model
    files = sorted(path for path in folder.iterdir() if path.suffix in DECIDES and path.is_file())
    return fingerprint([[path.name, digest(path)] for path in files])
