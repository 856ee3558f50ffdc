"""`fovea schema`: the JSON Schema of pipeline YAML, and of study files."""

from __future__ import annotations

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--study", action="store_true", help="of study files, for fovea sweep")


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    if args.study:
        from fovea.pipelines.sweep.schema import study_schema as schema
    else:
        from fovea.pipelines.spec.schema import pipeline_schema as schema
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return 0
