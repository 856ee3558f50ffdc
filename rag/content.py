"""What a model is by its content: two folders with the same files are one model, and a folder whose files have changed
is another one.
"""

from __future__ import annotations

from pathlib import Path

from fovea.rag.component import fingerprint
from fovea.rag.errors import ModelError
from fovea.rag.models import digest, locate

DECIDES = (".safetensors", ".bin", ".gguf", ".json", ".txt", ".model", ".jinja", ".py")
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
    return fingerprint([[path.relative_to(folder).as_posix(), digest(path)] for path in _files(folder)])


def state_of(path: Path) -> tuple[tuple[str, int, int, int, int], ...]:
    """What tells a model's folder, or a file of weights, from its next version while it lies in memory: names, sizes
    and times of its files, none of which is read.
    """
    files = _files(path) if path.is_dir() else [path]
    return tuple((str(f), (s := f.stat()).st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for f in files)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in DECIDES and path.is_file())
