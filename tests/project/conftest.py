"""What is shipped, built once, and clean environments to try it in."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT


class Built(NamedTuple):
    sdist: Path
    from_sdist: Path
    wheel: Path


def build(*args: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *args, ROOT], capture_output=True, text=True, env=outside()
    )
    assert done.returncode == 0, done.stdout + done.stderr


def outside(**env: str) -> dict[str, str]:
    """The environment without what makes this checkout importable."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")} | {"PYTHONUTF8": "1"} | env


def once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of a name, made by the first of the processes that tests run in; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / f"{name}.made").exists():
            shutil.rmtree(shared / name, ignore_errors=True)
            make(shared / name)
            (shared / f"{name}.made").touch()
    return shared / name


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """The source distribution, the wheel made of it, and the wheel made of the checkout."""

    def make(folder: Path) -> None:
        build("--outdir", folder / "a")
        build("--wheel", "--outdir", folder / "b")

    folder = once(tmp_path_factory, "dist", make)
    [sdist], [from_sdist], [wheel] = (
        (folder / "a").glob("*.tar.gz"), (folder / "a").glob("*.whl"), (folder / "b").glob("*.whl"))  # fmt: skip
    return Built(sdist, from_sdist, wheel)


def pip(python: Path, *args: str | Path) -> str:
    """Our pip on another environment, which then needs none of its own: making one takes longer than all the rest."""
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *args]
    done = subprocess.run(command, capture_output=True, text=True, env=outside())
    if done.returncode and "Could not find a version" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def bare(built, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel and no extra."""

    def make(folder: Path) -> None:
        venv.create(folder)
        pip(folder / "bin" / "python", "install", "-q", "--no-compile", built.wheel)

    return once(tmp_path_factory, "bare", make) / "bin" / "python"


@pytest.fixture
def beside(bare, tmp_path) -> Callable[[], Path]:
    """Makes further environments, which have the dependencies of the bare one and of Fovea nothing yet."""

    def make() -> Path:
        folder = tmp_path / "beside"
        venv.create(folder)
        [own], [theirs] = folder.glob("lib/*/site-packages"), bare.parents[1].glob("lib/*/site-packages")
        (folder / "deps").mkdir()
        for item in theirs.iterdir():
            if not item.name.startswith(("fovea", "pip", "_distutils", "setuptools")):
                (folder / "deps" / item.name).symlink_to(item)
        (own / "deps.pth").write_text(str(folder / "deps"))
        return folder / "bin" / "python"

    return make


def foreign(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A wheel of somebody else's distribution, which puts `files` into site-packages."""
    wheel, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    own = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, *own, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, **own, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel


def unpack(python: Path, *wheels: Path) -> None:
    """Wheels of others into an environment, over what is there, as pip would: in a tenth of the time."""
    [site] = python.parents[1].glob("lib/*/site-packages")
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(site)


def run(*command: str | Path, cwd: Path, code: int = 0, **env: str) -> str:
    """What a command prints, both streams together; it ends with `code`, and never in a traceback."""
    done = subprocess.run(list(command), cwd=cwd, text=True, capture_output=True, env=outside(**env))
    said = done.stdout + done.stderr
    assert done.returncode == code, f"exit {done.returncode}\n{said}"
    assert "Traceback" not in said
    return said
