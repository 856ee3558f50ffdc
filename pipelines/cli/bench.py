"""`fovea bench NAME --data DIR`: measure, and print a table, or rows of JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.cli.bench_attention import attention, configure_attention
from fovea.pipelines.cli.bench_longcontext import configure_longcontext, longcontext
from fovea.pipelines.cli.bench_mixers import configure_mixers, mixers
from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.measurements import Row


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments: one set a bench."""
    benches = parser.add_subparsers(title="benches", metavar="NAME", dest="bench", required=True)
    one = benches.add_parser("segmentation", help="how well segmenters find where topics end")
    _common(one, data="Choi's set, QMSum, TimeQA, or Markdown of one's own; may be given several times")
    one.add_argument("--limit", type=_positive, metavar="N", help="the first N documents of each corpus")
    one.add_argument("--level", type=_positive, default=2, help="the deepest Markdown heading of a section (2)")
    one = benches.add_parser("retrieval", help="how well retrievers find the passages that answer")
    _common(one, data="a folder of BEIR, TimeQA, SQuALITY or XQuAD; may be given several times")
    tasks = "queries (if left out), keyword3, pop16, ...: by K salient words of a passage, or a part of it of K tokens"
    one.add_argument("--tasks", default="queries", metavar="A,B,...", help=tasks)
    one.add_argument("--limit", type=_positive, metavar="N", help="the first N questions; of made ones 600 if left out")
    configure_attention(benches.add_parser("attention", help="what engines find among a model's own keys"))
    configure_longcontext(benches.add_parser("longcontext", help="a model's speed and answers by methods of attention"))
    configure_mixers(benches.add_parser("mixers", help="what token mixers recall, for what state, at what speed"))


def _common(one: argparse.ArgumentParser, *, data: str) -> None:
    one.add_argument("--data", action="append", required=True, type=Path, metavar="DIR", help=data)
    one.add_argument("--methods", metavar="A,B,...", help="these only; {use: NAME, setting: value} sets something")
    one.add_argument("--split", choices=["test", "dev", "train", "all"], default="test", help="which part (test)")
    one.add_argument("--encoder", default="sentence_transformer", help="a name, or {use: NAME, ...}")
    one.add_argument("--cache", type=Path, metavar="DIR", help="keep vectors here, for the next run")
    one.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    one.add_argument("--json", action="store_true", help="print the rows as JSON")
    add_quiet(one)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Measure; what a run had to warn of goes to standard error."""
    from fovea.rag import progress

    with progress.shown(not args.quiet):
        print(BENCHES[args.bench](args))
    return 0


def segmentation(args: argparse.Namespace) -> str:
    """The table, or the JSON, of `fovea bench segmentation`."""
    from fovea.pipelines.bench.segmentation import corpora, rows
    from fovea.pipelines.bench.segmentation_methods import chosen, chosen_encoder, references
    from fovea.pipelines.evaluation.measurements import show
    from fovea.segmenters.corpora.read import read

    methods = [*references(args.seed), *chosen(args.methods)]
    encoder = chosen_encoder(args.encoder)
    texts = [text for data in args.data for text in read(data, level=args.level)]
    found = corpora(texts, args.split, args.limit)
    measured = rows(found, methods, encoder, cache=args.cache, missing=lambda why: print(why, file=sys.stderr))
    return show(measured, as_json=args.json)


def retrieval(args: argparse.Namespace) -> str:
    """The table, or the JSON, of `fovea bench retrieval`."""
    from fovea.pipelines.bench.retrieval import part, rows, shared, task
    from fovea.pipelines.bench.retrieval_methods import chosen
    from fovea.pipelines.bench.segmentation_methods import chosen_encoder
    from fovea.pipelines.evaluation.measurements import show
    from fovea.rag.errors import require
    from fovea.retrievers.collections.read import read

    require("ir_measures", extra="bench", needed_by="fovea bench retrieval")
    methods, encoder = chosen(args.methods), chosen_encoder(args.encoder)
    measured: list[Row] = []
    for data in args.data:
        found = part(read(data), None if args.split == "all" else args.split)
        reader = shared(found, encoder, args.cache)
        tasks = [task(name.strip(), found, encoder, args.seed, args.limit) for name in args.tasks.split(",")]
        for one in tasks:
            measured += rows(one, methods, reader, missing=lambda why: print(why, file=sys.stderr))
    return show(measured, as_json=args.json)


BENCHES: dict[str, Callable[[argparse.Namespace], str]] = {
    "segmentation": segmentation,
    "retrieval": retrieval,
    "attention": attention,
    "longcontext": longcontext,
    "mixers": mixers,
}
