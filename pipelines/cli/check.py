"""`fovea check p.yaml`: is the file right, has this machine what it asks for, and is the store whole?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.pipelines.spec.pipeline_spec import PipelineSpec


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--schema-only", action="store_true", help="the file alone, not what this machine has")
    parser.add_argument("--offline", action="store_true", help="ask no server, and load no client of a provider")
    parser.add_argument("--no-store", action="store_true", help="leave the store out")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Print all that is wrong, with places: exit code 2 where something in the file is, 1 where the machine lacks
    something or the store is damaged, else 0.
    """
    from fovea.pipelines.spec import yaml_source
    from fovea.pipelines.spec.check import checked
    from fovea.pipelines.spec.lacks import exit_code, lacks
    from fovea.pipelines.spec.presets import idle
    from fovea.rag.trace import warn

    path = Path(args.pipeline)
    source = yaml_source.read(path, lenient=True)
    spec, wrong = checked(source)
    errors = [*wrong, *([] if args.schema_only else lacks(source, spec, offline=args.offline))]
    for error in errors:
        print(error, file=sys.stderr)
    if spec is None or errors:
        return exit_code(errors)
    if why := idle(source.data):
        warn(f"{source.where(('preset',))}: {why}")
    stages = [*spec.segment, *spec.retrieve, *([spec.fuser] if len(spec.retrieve) > 1 else []), *spec.refine]
    print(f"{path}: fine: {spec.encoder.name} | {' | '.join(s.name for s in stages)} | {spec.generate.name}")
    away = any(not one.offline for one in spec.store.requirements())
    if args.schema_only or args.no_store or (args.offline and away):
        return 0
    return _store(spec, path)


def _store(spec: PipelineSpec, path: Path) -> int:
    """Check the store, where there is one."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.retrievers.library.library import Library

    with Pipeline(spec=spec, base=path.resolve().parent) as pipeline:
        where = pipeline.spec.store.path
        if not Library.exists(where):
            return 0
        problems = pipeline.verify()
    for problem in problems:
        print(f"{where}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{where}: the store is whole")
    return 1 if problems else 0
