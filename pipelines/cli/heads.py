"""`fovea heads MODEL`: which heads of a local model point at evidence, copy, or look far: made once and kept."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from fovea.pipelines.cli.ask import positive
from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.attention_retrieval.heads.table import HeadTable

KINDS = ("evidence", "copy", "repeats", "duo", "influence")


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", help="a name of `fovea models`, a folder, or a hub name ORG/NAME")
    kinds = "what is asked: to point at the sentence that answers (evidence), to copy a line (copy), to find random "
    kinds += "tokens again (repeats), how far a head looks (duo), how much worse the model reads without it (influence)"
    parser.add_argument("--kind", choices=KINDS, default="evidence", help=kinds)
    parser.add_argument("--top", type=positive, default=8, metavar="N", help="heads that are listed, of each row (8)")
    parser.add_argument("--anew", action="store_true", help="make the table also where there is one")
    parser.add_argument("--json", action="store_true", help="print the whole table as JSON")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Find or make the table, and print the strongest heads."""
    import sys

    from fovea.attention_retrieval.heads import table
    from fovea.pipelines.answering import probing
    from fovea.rag import progress
    from fovea.rag.causal_lm import load
    from fovea.rag.errors import ConfigError

    began = time.perf_counter()
    found = None if args.anew else table.find(args.model, args.kind, probing.digest(args.kind))
    fresh = found is None
    if found is None:
        with progress.shown(sys.stderr.isatty() and not args.quiet):
            found = probing.made(load(args.model), args.model, args.kind)
        try:
            table.keep(found)
        except OSError as error:
            what = f"the table of heads cannot be kept: {error.strerror}"
            raise ConfigError(what, where=str(error.filename), fix="FOVEA_CACHE=a folder that can be written") from None
    show(found, args, fresh, time.perf_counter() - began)
    return 0


def show(found: HeadTable, args: argparse.Namespace, fresh: bool, seconds: float) -> None:
    """As JSON, or as a line of heads for each kind of rows."""
    best = {rows: found.strongest(rows, args.top) for rows in found.scores}
    if args.json:
        said = {"model": args.model, "identity": found.model, "kind": found.kind, "probe": found.probe}
        said |= {"made": fresh, "seconds": round(seconds, 3), "strongest": best, "scores": dict(found.scores)}
        print(json.dumps(said, ensure_ascii=False))
        return
    print(f"{args.model}: {'made in' if fresh else 'found in'} {seconds:.1f} s; layer.head and score, best first")
    for rows, heads in best.items():
        digits = 4 if rows == "influence" else 2
        listed = ", ".join(f"{layer}.{head} {found.scores[rows][layer][head]:.{digits}f}" for layer, head in heads)
        print(f"  {rows:<9} {listed}")
