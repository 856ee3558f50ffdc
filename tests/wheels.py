"""Wheels made by hand and a folder that pip takes them from: a package index without a network."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

from fovea.rag.packaged import Packaged


def wheel(folder: Path, distribution: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    """A pure wheel with these files, which wants a distribution that does not exist."""
    stem = f"{distribution.replace('-', '_')}-{version}"
    meta = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nRequires-Dist: no-such-heavy-thing\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{stem}.dist-info/METADATA", meta)
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def packaged(
    name: str,
    content: bytes,
    *,
    member: str = "tiny_model/model/model.safetensors",
    published: str = "",
    extra: str = "onnx",
) -> Packaged:
    """A packaged model of the distribution `tiny-model`, whose file has this content."""
    return Packaged(
        name=name,
        purpose="a test",
        published=published,
        licence="Apache-2.0",
        distribution="tiny-model",
        version="1.0",
        member=member,
        sha256=sha256(content).hexdigest(),
        download=2_500_000,
        size=3_000_000,
        extra=extra,
    )
