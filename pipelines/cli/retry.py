"""`fovea retry p.yaml`: take the files again that could not be read."""

from __future__ import annotations

import argparse

from fovea.pipelines.cli.ingest import add_report_options, show


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    add_report_options(parser)


def run(args: argparse.Namespace) -> int:
    """Retry; exit code 1 if a file still cannot be read."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    with Pipeline.from_yaml(args.pipeline) as pipeline, progress.shown(not args.quiet):
        return show(pipeline.retry(), args)
