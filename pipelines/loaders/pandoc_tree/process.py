"""Pandoc as a process: in its sandbox (it reads the one file and nothing else), with limits of time and memory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import warn

HEAP = "2G"
"""Memory that Pandoc may take for its own data."""
OUT_OF_MEMORY = 251


def tree(data: bytes, form: str, path: Path, seconds: float) -> dict[str, Any]:
    """What Pandoc makes of `data`, which `path` held, as its JSON. DocumentError for what it cannot read; what it warns
    of becomes our warnings."""
    pypandoc = require("pypandoc", extra="pandoc", needed_by="the loader 'pandoc'")
    command = [pypandoc.get_pandoc_path(), "--sandbox", "-f", form, "-t", "json", "+RTS", f"-M{HEAP}", "-RTS"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise DocumentError(
            f"Pandoc took longer than {seconds:g} seconds over it",
            where=path.as_posix(),
            fix="split it, or give it longer: load: [{use: pandoc, seconds: 600}]",
        ) from None
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode:
        reason = "it takes too much memory" if done.returncode == OUT_OF_MEMORY else " ".join(said.split())[:300]
        raise DocumentError(
            f"Pandoc cannot read it as {form}: {reason}",
            where=path.as_posix(),
            fix="save it again in the program it comes from, or convert it to .docx or .odt",
        )
    for line in said.splitlines():
        warn(f"{path.name}: Pandoc says: {line.removeprefix('[WARNING] ')}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
