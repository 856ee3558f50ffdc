"""`fovea check p.yaml`: is the file right, and is the store whole?"""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--no-store", action="store_true", help="check the file only")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong, with places; exit code 0 when nothing is."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.retrievers.library.library import Library

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        spec = pipeline.spec
        stages = [*spec.segment, *spec.retrieve, *([spec.fuser] if len(spec.retrieve) > 1 else []), *spec.refine]
        print(
            f"{args.pipeline}: fine: {spec.encoder.name} | {' | '.join(s.name for s in stages)} | {spec.generate.name}"
        )
        if args.no_store or not Library.exists(spec.store.path):
            return 0
        problems = pipeline.verify()
        for problem in problems:
            print(f"{spec.store.path}: {problem}", file=sys.stderr)
        if not problems:
            print(f"{spec.store.path}: the store is whole")
        return 1 if problems else 0
