"""The files of the embedded index: an immutable matrix of vectors, their numbers, maybe a graph, and the manifest.

The manifest is renamed into place after everything it lists is on disk; it names the library and the sequence numbers
up to which additions and removals are in, and each file with its size and checksum. The files are a cache: whatever is
wrong with them raises `Damaged`, and they are made again from the library.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fovea.rag.write_whole import flush, write_whole

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "manifest.json"
FORMAT = 1
READ_WHOLE = 1 << 30
"""Bytes up to which a file is read whole when it is opened (a quarter of a second); of larger ones, samples."""
SAMPLE, SAMPLES = 1 << 20, 64


class Damaged(Exception):
    """A file of the cache is not what was written."""


@dataclass(frozen=True)
class Manifest:
    """What the files hold. Additions are in up to sequence number `added`, removals up to `removed`."""

    uuid: str
    added: int
    removed: int
    rows: int
    dim: int
    index: str
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    format: int = FORMAT

    def file(self, part: str) -> str | None:
        """The name of the file that holds one part: `vectors`, `nos` or `graph`."""
        return next((name for name in self.files if name.startswith(part + "-")), None)


@dataclass(frozen=True)
class Base:
    """The opened files: `nos` int64 `(rows,)` rising, `vectors` float32 `(rows, dim)` mapped from disk."""

    manifest: Manifest
    nos: np.ndarray
    vectors: np.ndarray
    graph: Path | None


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where there is none; raises Damaged."""
    file = folder / MANIFEST
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        if written["checksum"] != _sum(written["manifest"]):
            raise ValueError
        if written["manifest"]["format"] != FORMAT:
            return None
        return Manifest(**written["manifest"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise Damaged(f"{file} is not what was written") from None


def load(folder: Path, manifest: Manifest, *, whole: bool = False) -> Base:
    """Map the files after comparing sizes and checksums; raises Damaged. `whole` reads large files to the end too."""
    import numpy as np

    for name, facts in manifest.files.items():
        _verify(folder / name, facts, whole or not name.startswith("vectors-"))
    vectors, nos, graph = (manifest.file(part) for part in ("vectors", "nos", "graph"))
    if vectors is None or nos is None or manifest.files[vectors]["size"] != 4 * manifest.rows * manifest.dim:
        raise Damaged(f"{folder / MANIFEST} does not list what it should")
    shape = (manifest.rows, manifest.dim)
    matrix = np.memmap(folder / vectors, np.dtype("<f4"), "r", shape=shape) if manifest.rows else np.zeros(shape, "<f4")
    numbers = np.fromfile(folder / nos, np.dtype("<i8"))
    if len(numbers) != manifest.rows:
        raise Damaged(f"{folder / nos} has {len(numbers)} rows, not {manifest.rows}")
    return Base(manifest, numbers, np.asarray(matrix), folder / graph if graph else None)


def new_name(part: str) -> str:
    """A file name never used before: readers may still have the old file open."""
    return f"{part}-{uuid4().hex[:12]}"


def describe_file(path: Path) -> dict[str, int]:
    """Size and checksums of a finished file, for the manifest."""
    return {"size": path.stat().st_size, "checksum": _checksum(path, True), "sample": _checksum(path, False)}


def commit(folder: Path, manifest: Manifest) -> None:
    """Put the manifest in place in one step, after all that it lists is on disk."""
    for name in manifest.files:
        flush(folder / name)
    facts = asdict(manifest)
    text = json.dumps({"manifest": facts, "checksum": _sum(facts)}, indent=1)
    write_whole(folder / MANIFEST, lambda part: part.write_text(text, encoding="utf-8"))


def clean(folder: Path, keep: Iterable[str] = ()) -> None:
    """Delete every other file of the cache."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and path.name not in keep:
            try:
                path.unlink()
            except OSError:
                continue  # A reader has it open where that forbids deleting; the next commit tries again.


def _sum(manifest: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def _verify(path: Path, facts: dict[str, int], whole: bool) -> None:
    try:
        if path.stat().st_size != facts["size"]:
            raise Damaged(f"{path} has {path.stat().st_size} bytes, not {facts['size']}")
        whole = whole or facts["size"] <= READ_WHOLE
        if _checksum(path, whole) != facts["checksum" if whole else "sample"]:
            raise Damaged(f"{path} does not have the checksum of what was written")
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from None


def _checksum(path: Path, whole: bool) -> int:
    """CRC-32 of the file, or of pieces at even distances with the first and the last among them."""
    size, value = path.stat().st_size, 0
    with path.open("rb") as file:
        if whole:
            while block := file.read(SAMPLE):
                value = zlib.crc32(block, value)
            return value
        for i in range(SAMPLES):
            file.seek(max(0, size - SAMPLE) * i // (SAMPLES - 1))
            value = zlib.crc32(file.read(SAMPLE), value)
    return value
