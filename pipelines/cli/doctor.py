"""`fovea doctor [p.yaml]`: all that can be said of this machine and a pipeline on it, and what mends what is missing.

Nothing that is missing keeps the rest from being said: each part is asked by itself, and its fault is a problem of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fovea.pipelines.spec.pipeline_spec import PipelineSpec
    from fovea.rag.component import Component

OURS, DISTRIBUTION = "fovea", "fovea-rag"
TOGETHER = ("dev", "peers")
"""Extras that bring what others do."""
_REQUIRED = re.compile(r"""([\w.-]+).*;\s*extra\s*==\s*["']([\w-]+)["']""")


class Report:
    """What was found: facts by name, and problems in words."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.problems: list[str] = []

    def ask(self, name: str, part: Callable[[], dict[str, Any]]) -> None:
        """Add what `part` says; what it raises is a problem, and the rest goes on."""
        from fovea.rag.errors import FoveaError

        try:
            self.facts |= part()
        except FoveaError as error:
            self.facts[name] = "PROBLEM, see below"
            self.problems.append(str(error))
        except Exception as error:  # a broken library raises anything on import, and this verb is to find it
            self.facts[name] = "PROBLEM, see below"
            self.problems.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", nargs="?", type=Path, help="also say what this pipeline has here, and lacks")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts; exit code 1 when something is missing or would go wrong."""
    report = Report()
    for part in (machine, installed, formats, gpu, caches):
        report.ask(part.__name__, part)
    if args.pipeline:
        pipeline(args.pipeline, report)
    report.problems += collisions()
    if args.json:
        print(json.dumps({"facts": report.facts, "problems": report.problems}, indent=2, ensure_ascii=False))
    else:
        width = max(map(len, report.facts)) + 2
        print(*(f"{key:<{width}}{value}" for key, value in report.facts.items()), sep="\n")
        print(*(f"problem: {p}" for p in report.problems), sep="\n", end="\n" if report.problems else "")
    return 1 if report.problems else 0


def machine() -> dict[str, Any]:
    """What runs here."""
    from fovea.rag.version import __version__

    return {
        "fovea": __version__, "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "sqlite": sqlite3.sqlite_version,
    }  # fmt: skip


def installed() -> dict[str, str]:
    """The version of each package that an extra brings, or the command that brings it."""
    try:
        required = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return {"extras": f"not known: {DISTRIBUTION} is on the path, not installed"}
    extras: dict[str, list[str]] = {}
    for package, extra in (match.groups() for text in required if (match := _REQUIRED.match(text))):
        if extra not in TOGETHER and package != DISTRIBUTION:
            extras.setdefault(package, []).append(extra)
    return {package: _version(package) or f"not installed: {_command(names)}" for package, names in extras.items()}


def _command(extras: list[str]) -> str:
    others = "".join(f", or [{extra}]" for extra in extras[1:])
    return f'pip install "fovea-rag[{extras[0]}]"{others}'


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def formats() -> dict[str, str]:
    """Which files are read here, and what the others need."""
    from fovea.pipelines.spec.lacks import lacks_of
    from fovea.rag import registry
    from fovea.rag.component import Component

    found: dict[str, list[str]] = {}
    for loader in registry.components("loader").values():
        made = loader.model_construct()  # Without checks: a plug-in may have settings that one must give.
        missing = lacks_of(made, None) if isinstance(made, Component) else []
        key = f"does not read without: {missing[0].fix}" if missing else "reads"
        found.setdefault(key, []).extend(getattr(loader, "suffixes", ()))
    return {key: " ".join(suffixes) for key, suffixes in found.items()}


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


def pipeline(path: Path, report: Report) -> None:
    """What is wrong with the file, what each stage has here or lacks, and what encoder and store would run on."""
    from fovea.pipelines.spec import yaml_source
    from fovea.pipelines.spec.check import checked
    from fovea.pipelines.spec.lacks import lacks, place_name, stages
    from fovea.rag.errors import FoveaError

    try:
        source = yaml_source.read(path, lenient=True)
    except FoveaError as error:
        report.problems.append(str(error))
        return
    spec, wrong = checked(source)
    missing = lacks(source, spec)
    report.problems += [str(error) for error in (*wrong, *missing)]
    if not isinstance(source.data, dict):
        return
    lacking = {error.where.rpartition(": ")[2] for error in missing}
    for place, component in stages(source, spec):
        name = place_name(place)
        report.ask(name, partial(state, name, component, name in lacking))
    if spec is not None:
        report.ask("store", lambda: store(spec, path))


def state(name: str, component: Component, lacking: bool) -> dict[str, str]:
    """One stage: what it lacks stands among the problems; of an encoder, what runs it."""
    from fovea.rag.encoder import Encoder

    if lacking:
        return {name: f"{component.name}: MISSING, see below"}
    if not isinstance(component, Encoder):
        return {name: f"{component.name}: ready"}
    window = f"{component.window} tokens" if component.window else "no limit"
    runs = getattr(component, "chosen_backend", None)
    return {name: f"{component.name}: {component.dim} dimensions, window {window}{f', {runs}' if runs else ''}"}


def store(spec: PipelineSpec, path: Path) -> dict[str, str]:
    """What is in the store."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.retrievers.library.library import Library

    with Pipeline(spec=spec, base=path.resolve().parent) as pipeline:
        where = Path(pipeline.spec.store.path)
        if not Library.exists(where):
            return {"store": f"{where}: nothing ingested yet"}
        size = sum(f.stat().st_size for f in where.rglob("*") if f.is_file())
        described = ", ".join(f"{k} {v}" for k, v in pipeline.corpus.index.describe().items())
        return {"store": f"{where} ({size / 2**20:.1f} MiB): {described}"}


def collisions() -> Iterator[str]:
    """Other distributions that put files into the package of our name."""
    if others := sorted(set(packages_distributions().get(OURS, ())) - {DISTRIBUTION}):
        names = " ".join(others)
        yield (
            f"the package {OURS!r} is also installed by {names}, another project: one overwrites the other\n"
            f"  fix: pip uninstall -y {names} && pip install --force-reinstall --no-deps {DISTRIBUTION}"
        )
