"""`fovea remove p.yaml SOURCE...`: take sources out of the store; the files themselves are left alone."""

from __future__ import annotations

import argparse

from fovea.pipelines.cli.warned import add_quiet
from fovea.rag.printable import printable


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="names as `fovea status --all` lists them, folders and globs"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Remove, and say what; an unknown name is an error, and then nothing is removed."""
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        removed = pipeline.remove(args.sources, dry_run=args.dry_run)
    if args.dry_run or removed != args.sources:
        print(*map(printable, removed), sep="\n")
    print(f"{len(removed)} {'would be ' if args.dry_run else ''}removed")
    return 0
