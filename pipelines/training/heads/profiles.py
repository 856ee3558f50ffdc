"""What heads do on one text after the other, kept as soon as it is known: a profiling that is killed goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.progress import bar
from fovea.rag.write_whole import write_whole

FILE = "profiles.npz"


def profiled(
    out: Path,
    asked: str,
    wanted: Mapping[str, Callable[[], np.ndarray]],
    *,
    restart: bool = False,
    max_seconds: float | None = None,
) -> dict[str, np.ndarray]:
    """An array for each name of `wanted`, made where it is not in `out` yet, in their order; some are missing where
    `max_seconds` have passed, and one more at least is there than was.

    Raises ConfigError where those in `out` answer to something else than `asked`, ModelError where they are damaged.
    """
    path, began, more = out / FILE, time.monotonic(), 0
    if restart:
        path.unlink(missing_ok=True)
    arrays = _read(path, asked) if path.exists() else {}
    with bar("profiling heads", len(wanted)) as progress:
        for name, make in wanted.items():
            if name not in arrays:
                if more and max_seconds and time.monotonic() - began >= max_seconds:
                    break
                arrays[name], more = make(), more + 1
                _write(path, asked, arrays)
            progress.advance()
    return {name: arrays[name] for name in wanted if name in arrays}


def _write(path: Path, asked: str, arrays: Mapping[str, np.ndarray]) -> None:
    """All of them, whole or not at all."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, asked=np.array(asked), **cast(Any, arrays))

    write_whole(path, write)


def _read(path: Path, asked: str) -> dict[str, np.ndarray]:
    fix = "--restart, which throws them away"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        given = str(arrays.pop("asked"))
    except Exception as error:  # numpy and zipfile fail in many kinds
        raise ModelError(f"cannot go on from these profiles: {error}", where=str(path), fix=fix) from None
    if given != asked:
        what = "these profiles were made with another model, seed, data or other settings"
        raise ConfigError(what, where=str(path), fix=fix)
    return arrays
