"""`fovea schema`: the JSON Schema of pipeline YAML."""

from __future__ import annotations

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    from pipelines.schema import pipeline_schema

    print(json.dumps(pipeline_schema(), indent=2, ensure_ascii=False))
    return 0
