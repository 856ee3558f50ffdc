"""`fovea rebuild p.yaml`: make the index anew from the library."""

from __future__ import annotations

import argparse

from fovea.pipelines.cli.warned import add_quiet


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Rebuild, and say what there is now."""
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        pipeline.rebuild()
        facts = pipeline.corpus.index.describe()
    print("rebuilt:", ", ".join(f"{k} {v}" for k, v in facts.items()))
    return 0
