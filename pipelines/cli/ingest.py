"""`fovea ingest p.yaml PATH...`: bring the store in step with files and folders."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet, printed
from fovea.rag.printable import counted, printable, to_json

if TYPE_CHECKING:
    from fovea.pipelines.ingest import IngestReport


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files, folders and globs")
    parser.add_argument("--rebuild", action="store_true", help="throw the store away first (for another encoder)")
    parser.add_argument(
        "--forget",
        action="store_true",
        help="remove the sources of PATHs that are gone, empty or nearly so",
    )
    parser.add_argument(
        "--workers", default="1", metavar="N", help="processes that read and encode (1), or ray, or ray:N"
    )
    add_report_options(parser)


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Options of verbs that report on an ingestion."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Ingest; exit code 1 if a file could not be read."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    with Pipeline.from_yaml(args.pipeline) as pipeline, progress.shown(not args.quiet):
        report = pipeline.ingest(args.paths, rebuild=args.rebuild, forget=args.forget, workers=args.workers)
    return show(report, args)


def show(report: IngestReport, args: argparse.Namespace) -> int:
    """Print the report of an ingestion."""
    from fovea.pipelines.answering.explain import stage_lines

    if args.json:
        print(to_json(report.to_dict()))
        return 0 if report.ok else 1
    print(summary(report))
    if report.skipped:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in report.skipped.most_common())
        print(f"{counted(report.skipped.total(), 'files')} of unknown type skipped: {kinds} (fovea status names them)")
    print(*stage_lines(report.trace, quiet=args.quiet), sep="\n")
    printed(report.trace.warnings)
    if report.gone:
        print(f"{len(report.gone)} other sources have no file any more, and still answer: fovea status {args.pipeline}")
    for reason in report.failed.values():
        print("failed:", printable(reason, keep="\n"), file=sys.stderr)
    if report.failed:
        others = "the others are in; " if report.added or report.changed or report.unchanged else ""
        print(f"{others}mend these, then: fovea retry {args.pipeline}", file=sys.stderr)
    return 0 if report.ok else 1


def summary(report: IngestReport) -> str:
    """What an ingestion did, in a line."""
    moved = f"{len(report.moved)} moved, " if report.moved else ""
    return (
        f"{len(report.added)} added, {len(report.changed)} changed, {report.unchanged} unchanged, {moved}"
        f"{len(report.removed)} removed, {len(report.failed)} failed; "
        f"{counted(report.chunks, 'chunks')} written, {counted(report.encoded, 'texts')} encoded, "
        f"{counted(report.reused, 'vectors')} re-used"
    )
