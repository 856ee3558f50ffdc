"""`fovea watch p.yaml FOLDER...`: keep the store in step with folders while they change."""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from fovea.pipelines.cli.arguments import seconds
from fovea.pipelines.cli.warned import add_quiet, print_now
from fovea.rag.printable import printable, to_json

if TYPE_CHECKING:
    from fovea.pipelines.watching.watch import Watched


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folders of documents")
    parser.add_argument(
        "--settle", type=seconds, default=1.0, metavar="S", help="read what has not changed for so many seconds (1)"
    )
    parser.add_argument(
        "--poll", type=seconds, metavar="S", help="look at every file each S seconds, on disks that tell of no changes"
    )
    parser.add_argument("--forget", action="store_true", help="remove the sources of FOLDERs that go or stand empty")
    parser.add_argument("--json", action="store_true", help="print a line of JSON a round")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until SIGINT or SIGTERM, which let the current file end; a second one does not."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    stop = _stopped_by_signals()
    with Pipeline.from_yaml(args.pipeline) as pipeline, progress.shown(not args.quiet):
        rounds = pipeline.watch(args.folders, settle=args.settle, poll=args.poll, forget=args.forget, stop=stop)
        for number, watched in enumerate(rounds):
            print_now(quiet=args.quiet)
            _show(watched, args)
            if number == 0 and not (args.quiet or stop.is_set()):
                print("watching; Ctrl-C ends it", file=sys.stderr, flush=True)
    return 0


def _show(watched: Watched, args: argparse.Namespace) -> None:
    from fovea.pipelines.cli.ingest import summary

    if args.json:
        print(to_json(watched.to_dict(), indent=None), flush=True)
        return
    for problem in watched.problems:
        print(printable(problem, keep="\n"), file=sys.stderr, flush=True)
    if watched.report is None:
        return
    for reason in watched.report.failed.values():
        print("failed:", printable(reason, keep="\n"), file=sys.stderr, flush=True)
    print(f"{datetime.now():%H:%M:%S} {summary(watched.report)}", flush=True)


def _stopped_by_signals() -> Event:
    stop = Event()

    def ask(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    return stop
