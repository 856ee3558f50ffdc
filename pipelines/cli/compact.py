"""`fovea compact p.yaml`: give back the space of what was removed or replaced."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from fovea.pipelines.cli.warned import add_quiet
from fovea.rag.printable import counted


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    add_quiet(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Compact, and say what it brought."""
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        found = pipeline.compact()
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        texts = f", {counted(found.texts, 'texts')} read once that changed or went" if found.texts else ""
        print(f"{found.vectors:,} unused vectors{texts} dropped; {found.before:,} bytes before, {found.after:,} after")
    return 0
