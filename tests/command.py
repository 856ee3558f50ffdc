"""The command line as a person uses it: in this process, which takes no seconds to start, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from fovea.pipelines.cli.main import main


def fovea(cwd: Path, *args: str, code: int = 0, stdin: str | None = None, **env: str) -> CompletedProcess[str]:
    """Run a command in the folder `cwd`, where it ends with `code` and without a traceback."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode()), encoding="utf-8"))
        for name, value in env.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                ended = main([*args])
            except SystemExit as done:  # of argparse
                ended = done.code
    said = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]  # type: ignore[attr-defined]
    return _as_expected(CompletedProcess(args, ended, *said), code)


def process(cwd: Path, *args: str, code: int = 0, stdin: str | None = None, **env: str) -> CompletedProcess[str]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "fovea.pipelines.cli.main", *args], cwd=cwd, capture_output=True, text=True, input=stdin,
        env={**os.environ, "PYTHONUTF8": "1", **env},
    )  # fmt: skip
    return _as_expected(done, code)


def _as_expected(done: CompletedProcess[str], code: int) -> CompletedProcess[str]:
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done
