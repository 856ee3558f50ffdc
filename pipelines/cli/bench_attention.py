"""`fovea bench attention --data DUMP`: its arguments, and the tables it prints."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.attention_retrieval.capture.dump import Dump
    from fovea.pipelines.bench.attention_heads import Plan
    from fovea.pipelines.bench.attention_methods import Method
    from fovea.pipelines.evaluation.measurements import Row


def configure_attention(one: argparse.ArgumentParser) -> None:
    """The bench's arguments."""
    dump = "a dump that fovea capture wrote; may be given several times"
    one.add_argument("--data", action="append", required=True, type=Path, metavar="DUMP", help=dump)
    one.add_argument("--engines", metavar="A,B,...", help="these only; {use: NAME, setting: value} sets something")
    one.add_argument("--correct", default="", metavar="A,B,...", help="engines also with these corrections")
    one.add_argument("--layers", type=numbers, metavar="A,B,...", help="of these layers only")
    one.add_argument("--heads", type=numbers, metavar="A,B,...", help="of these kv heads only")
    one.add_argument("--tokens", type=positive, metavar="N", help="of the first N tokens of the text only")
    one.add_argument("-k", type=positive, default=100, metavar="N", help="keys wanted by each query (100)")
    one.add_argument("--steps", type=positive, default=128, metavar="N", help="held-out positions a head (128)")
    one.add_argument("--sinks", type=natural, metavar="N", help="first tokens that are always read (128; windows: 0)")
    one.add_argument("--window", type=natural, metavar="N", help="last tokens that are always read (512; windows: 0)")
    one.add_argument("--store", choices=["bf16", "fp32", "int8"], default="bf16", help="how keys are kept (bf16)")
    one.add_argument("--sweep", action="store_true", help="engines at a quarter to four times their search setting too")
    one.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw recall against bytes; with --sweep, curves")
    one.add_argument("--growth", type=numbers, metavar="N,M,...", help="also at these lengths of the text")
    one.add_argument("--drift", type=positive, metavar="N", help="also with the last N keys inserted after the build")
    one.add_argument("--each", action="store_true", help="a table of each head too")
    one.add_argument("--repeat", type=positive, default=3, metavar="N", help="how often each search is timed (3)")
    one.add_argument("--threads", type=positive, default=1, metavar="N", help="of torch and faiss (1)")
    one.add_argument("--seed", type=natural, default=0, help="of what is drawn (0)")
    one.add_argument("--json", action="store_true", help="print the rows as JSON")
    add_quiet(one)


def attention(args: argparse.Namespace) -> str:
    """The tables, or the JSON, of `fovea bench attention`."""
    from fovea.attention_retrieval.capture.dump import Dump
    from fovea.pipelines.bench.attention_heads import Plan
    from fovea.pipelines.bench.attention_methods import chosen
    from fovea.pipelines.evaluation.measurements import show

    methods = chosen(args.engines, sweep=args.sweep, correct=args.correct)
    names = ("k", "steps", "tokens", "sinks", "window", "layers", "heads", "repeat", "threads", "seed")
    plan = Plan(dtype=args.store, **{name: getattr(args, name) for name in names})
    svg(args.plot)
    found: list[Row] = []
    for dump in [Dump.open(path) for path in args.data]:
        found += tables(args, dump, methods, plan)
    return show(found, as_json=args.json)


def tables(args: argparse.Namespace, dump: Dump, methods: list[Method], plan: Plan) -> list[Row]:
    """All rows of a dump."""
    from fovea.pipelines.bench.attention import at_equal_recall, label, rows
    from fovea.pipelines.bench.attention_growth import drift, growth
    from fovea.pipelines.bench.attention_plot import save

    def missing(why: str) -> None:
        print(why, file=sys.stderr)

    found = list(rows(dump, methods, plan, each=args.each, missing=missing))
    over_all = [row for row in found if row.data == label(dump, plan)]
    if args.sweep:
        found += at_equal_recall(over_all, plan)
    if args.plot is not None:
        path = args.plot if len(args.data) == 1 else args.plot.with_stem(f"{args.plot.stem}-{dump.path.stem}")
        save(path, over_all, plan.k, label(dump, plan))
    single = [replace(method, variants={}, corrections={}) for method in methods]
    if args.growth:
        found += growth(dump, single, plan, args.growth, missing)
    if args.drift:
        found += drift(dump, single, plan, args.drift)
    return found


def svg(path: Path | None) -> None:
    """Refuse another kind of picture, before anything is measured."""
    from fovea.rag.errors import ConfigError

    if path is not None and path.suffix.lower() != ".svg":
        raise ConfigError("pictures are drawn as SVG", where="--plot", got=str(path), fix=f"--plot {path.stem}.svg")


def positive(text: str) -> int:
    """A number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """A number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number from 0, got {text!r}")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    """Numbers from 0, with commas between."""
    return tuple(natural(part.strip()) for part in text.split(","))
