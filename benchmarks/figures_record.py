"""What a record of benchmarks/figures.py says beside the figures: commit, versions, machine; and how it is written."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fovea.pipelines.evaluation.measurements import Row, show

PACKAGES = (
    "bm25s", "chonkie", "chromadb", "faiss-cpu", "langchain-experimental", "langchain-text-splitters", "numba", "numpy",
    "onnxruntime", "optuna", "semchunk", "sentence-transformers", "tantivy", "tokenizers", "torch", "transformers",
)  # fmt: skip
"""Whose versions figures hang on: what computes, and peers."""


def printed(out: str, at: Mapping[str, str]) -> Any:
    """Rows where it is JSON, else lines; without the paths of this machine."""
    for name, path in sorted(at.items(), key=lambda one: -len(one[1])):
        out = out.replace(path, name if name in ".~" else "{" + name + "}") if len(path) > 1 else out
    try:
        return json.loads(out)
    except ValueError:
        return out.splitlines()


def table(record: Mapping[str, Any]) -> str:
    """What was printed, as a table where it is rows, below what it was measured on."""
    said, rows = record["printed"], record["printed"]
    if rows and isinstance(rows[0], dict):
        said = [show(Row(**row) for row in rows).partition("\n\n")[2]]  # without the machine that this runs on
    on = f"{record['commit'] or 'no commit'}{', changed' if record['dirty'] else ''}, {_json(record['machine'])}"
    return "\n".join([record["command"], on, f"{record['seconds']:g} seconds", "", *said])


def text_of(record: Mapping[str, Any]) -> str:
    """JSON with a line for each row, file and package, so that two records can be compared."""
    lines = []
    for name, value in record.items():
        if isinstance(value, dict):
            said = _lines("{", [f"{_json(key)}: {_json(one)}" for key, one in value.items()], "}")
        elif isinstance(value, list):
            said = _lines("[", [_json(one) for one in value], "]")
        else:
            said = _json(value)
        lines.append(f"{_json(name)}: {said}")
    return _lines("{", lines, "}", indent=0) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(begin: str, each: list[str], end: str, indent: int = 1) -> str:
    within = "\n" + " " * (indent + 1)
    return f"{begin}{within}{(',' + within).join(each)}\n{' ' * indent}{end}" if each else begin + end


def commit(root: Path) -> dict[str, Any]:
    """The commit, and whether tracked files beside the records differ from it; null outside a repository."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/figures")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changed is None else bool(changed)}


def machine() -> dict[str, Any]:
    """Of what the times are: processors, and how many others were at work when it began (load of a minute)."""
    return {"processor": _processor(), "processors": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}


def _processor() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        said = ""
    models = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python's, and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
