"""`fovea status p.yaml`: what is in the store, and what could not be read."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--all", action="store_true", help="list every source, not only the failed ones")
    parser.add_argument("--json", action="store_true", help="print every source as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the state; exit code 1 when a source has failed."""
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        rows = pipeline.status()
        path = pipeline.spec.store.path
    failed = [row for row in rows if row.status != "ok"]
    if args.json:
        print(json.dumps({"store": str(path), "sources": [asdict(row) for row in rows]}, ensure_ascii=False, indent=2))
        return 1 if failed else 0
    documents, chunks = sum(r.documents for r in rows), sum(r.chunks for r in rows)
    print(f"{path}: {len(rows)} sources, {documents} documents, {chunks} chunks, {len(failed)} failed")
    for row in rows if args.all else failed:
        print(f"{row.status:<7}{row.documents:>6} documents {row.chunks:>7} chunks  {row.name}")
        if row.error:
            print(f"       attempt {row.attempts}: {row.error}")
    if failed:
        print(f"when mended: fovea retry {args.pipeline}")
    return 1 if failed else 0
