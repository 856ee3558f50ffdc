"""`fovea bench NAME --data DIR`: measure, and print a table, or rows of JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments: one set a bench."""
    benches = parser.add_subparsers(title="benches", metavar="NAME", dest="bench", required=True)
    one = benches.add_parser("segmentation", help="how well segmenters find where topics end")
    what = "Choi's set, QMSum, TimeQA, or Markdown of one's own; may be given several times"
    one.add_argument("--data", action="append", required=True, type=Path, metavar="DIR", help=what)
    one.add_argument("--methods", metavar="A,B,...", help="these only; {use: NAME, setting: value} sets something")
    one.add_argument("--split", choices=["test", "dev", "train", "all"], default="test", help="which texts (test)")
    one.add_argument("--limit", type=_positive, metavar="N", help="the first N documents of each corpus")
    one.add_argument("--encoder", default="sentence_transformer", help="a name, or {use: NAME, ...}")
    one.add_argument("--level", type=_positive, default=2, help="the deepest Markdown heading of a section (2)")
    one.add_argument("--cache", type=Path, metavar="DIR", help="keep vectors here, for the next run")
    one.add_argument("--seed", type=int, default=0, help="of the random reference (0)")
    one.add_argument("--json", action="store_true", help="print the rows as JSON")
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Measure; what a run had to warn of goes to standard error."""
    from rag import progress
    from rag.trace import Trace

    trace = Trace()
    with progress.shown(not args.quiet), trace.stage("bench"):
        print(BENCHES[args.bench](args))
    for warning, times in trace.warnings.items():
        print(f"warning: {warning} ({times})", file=sys.stderr)
    return 0


def segmentation(args: argparse.Namespace) -> str:
    """The table, or the JSON, of `fovea bench segmentation`."""
    from pipelines.bench.segmentation import corpora, rows
    from pipelines.bench.segmentation_methods import chosen, chosen_encoder, references
    from pipelines.measurements import show
    from segmenters.corpora.read import read

    methods = [*references(args.seed), *chosen(args.methods)]
    encoder = chosen_encoder(args.encoder)
    texts = [text for data in args.data for text in read(data, level=args.level)]
    found = corpora(texts, args.split, args.limit)
    measured = rows(found, methods, encoder, cache=args.cache, missing=lambda why: print(why, file=sys.stderr))
    return show(measured, as_json=args.json)


BENCHES: dict[str, Callable[[argparse.Namespace], str]] = {"segmentation": segmentation}
