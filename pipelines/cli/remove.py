"""`fovea remove p.yaml SOURCE...`: take sources out of the store; the files themselves are left alone."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="names as `fovea status --all` lists them")


def run(args: argparse.Namespace) -> int:
    """Remove; an unknown name is an error, and then nothing is removed."""
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        print(f"{pipeline.remove(args.sources)} removed")
    return 0
