"""`fovea doctor [p.yaml]`: versions, back-ends, GPU, caches, and packages that could collide with ours."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = {
    "onnxruntime": "onnx", "tokenizers": "onnx", "torch": "models", "sentence-transformers": "models",
    "transformers": "local", "openvino": "openvino", "faiss-cpu": "faiss",
    "faiss-gpu": "gpu", "chromadb": "chroma", "qdrant-client": "qdrant", "langchain-core": "langchain",
    "pypdf": "files", "python-docx": "files", "markdownify": "files", "bm25s": "bm25s", "ir-measures": "bench",
}  # fmt: skip
"""Distributions that adapters use, and the extra that brings each."""
OURS = ("fovea",)


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", nargs="?", help="also say which back-ends this pipeline would use")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts; exit code 1 when something would go wrong."""
    facts, problems = {**machine(), **installed(), **gpu(), **caches()}, list(collisions())
    if args.pipeline:
        facts |= back_ends(args.pipeline)
    if args.json:
        print(json.dumps({"facts": facts, "problems": problems}, indent=2, ensure_ascii=False))
    else:
        width = max(map(len, facts)) + 2
        print(*(f"{key:<{width}}{value}" for key, value in facts.items()), sep="\n")
        print(*(f"problem: {p}" for p in problems), sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def machine() -> dict[str, Any]:
    """What runs here."""
    from fovea.rag.version import __version__

    fts5 = sqlite3.connect(":memory:").execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0]
    return {
        "fovea": __version__, "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "sqlite": f"{sqlite3.sqlite_version}, FTS5 {'yes' if fts5 else 'NO: keyword search will not work'}",
    }  # fmt: skip


def installed() -> dict[str, str]:
    """The version of each optional package, or the command that brings it."""
    found = {}
    for package, extra in PACKAGES.items():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = f'not installed: pip install "fovea-rag[{extra}]"'
    return found


def gpu() -> dict[str, str]:
    """The GPUs torch and faiss see. Only asked here: it costs seconds."""
    seen = {"gpu": "torch is not installed"}
    if find_spec("torch"):
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        seen["gpu"] = ", ".join(names) or f"none (torch {torch.__version__})"
    if find_spec("faiss"):
        import faiss

        seen["faiss gpus"] = str(getattr(faiss, "get_num_gpus", lambda: 0)())
    return seen


def caches() -> dict[str, str]:
    """Where models and exports are kept, and how much there is."""
    from fovea.rag.models import cache_dir

    path = cache_dir()
    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.exists() else 0
    return {"cache": f"{path} ({size / 2**20:.0f} MiB)", "offline": os.environ.get("FOVEA_OFFLINE", "no")}


def back_ends(path: str) -> dict[str, str]:
    """What the pipeline's encoder and store would run on."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.retrievers.library.library import Library

    with Pipeline.from_yaml(path) as pipeline:
        encoder, store = pipeline.spec.encoder, pipeline.spec.store
        window = f"{encoder.window} tokens" if encoder.window else "no limit"
        facts = {"encoder": f"{encoder.name}: {encoder.dim} dimensions, window {window}"}
        if (backend := getattr(encoder, "chosen_backend", None)) is not None:
            facts["encoder back-end"] = str(backend)
        if Library.exists(store.path):
            size = sum(f.stat().st_size for f in Path(store.path).rglob("*") if f.is_file())
            described = ", ".join(f"{k} {v}" for k, v in pipeline.corpus.index.describe().items())
            facts["store"] = f"{store.path} ({size / 2**20:.1f} MiB): {described}"
        else:
            facts["store"] = f"{store.path}: nothing ingested yet"
        return facts


def collisions() -> Iterator[str]:
    """Other distributions that put files into packages of our names."""
    owners = packages_distributions()
    for name in OURS:
        if others := sorted(set(owners.get(name, ())) - {"fovea-rag"}):
            yield f"the package {name!r} is also installed by {', '.join(others)}: one overwrites the other"
