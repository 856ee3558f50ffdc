"""`fovea bench longcontext --model NAME`: its arguments, and the tables it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines.cli.bench_attention import natural, numbers, positive, svg
from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.pipelines.bench.longcontext.methods import Method
    from fovea.pipelines.bench.longcontext.speed import Plan
    from fovea.pipelines.bench.longcontext.twins import Twins
    from fovea.pipelines.evaluation.measurements import Row


def configure_longcontext(one: argparse.ArgumentParser) -> None:
    """The bench's arguments."""
    one.add_argument("--model", required=True, help="a causal language model: a name of fovea models, a folder")
    methods = (
        "beside full and near: default (shipped settings; alone if left out), {use: retrieval, engine: ivf}, memory"
    )
    one.add_argument("--methods", metavar="A,B,...", help=methods)
    one.add_argument("--lengths", type=numbers, default=(2048, 4096), metavar="N,M,...", help="tokens (2048,4096)")
    reads = "shared: a text is read once for all; own: by each method; drawn: not at all, for speed alone (shared)"
    one.add_argument("--read", choices=["shared", "own", "drawn"], default="shared", help=reads)
    steps = "tokens decoded for speed and agreement; 0 for none (32)"
    one.add_argument("--decode", type=natural, default=32, metavar="N", help=steps)
    tasks = "needle, multi_key, variable_tracking, aggregation, qa, a task file, or none (all; qa with --data)"
    one.add_argument("--tasks", metavar="A,B,...", help=tasks)
    one.add_argument("--samples", type=positive, default=1, metavar="N", help="texts a task and length (1)")
    one.add_argument("--depths", type=_depths, metavar="X,Y,...", help="of facts, 0 to 1, instead of the tasks' own")
    one.add_argument("--text", type=Path, metavar="PATH", help="what facts are hidden in (made-up prose)")
    one.add_argument("--data", type=Path, metavar="PATH", help="questions with answers for qa: SQuAD's JSON, or JSONL")
    one.add_argument("--chunk", type=positive, default=512, metavar="N", help="tokens read at a time (512)")
    one.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the model (auto)")
    one.add_argument("--threads", type=positive, default=1, metavar="N", help="of torch and of searches (1)")
    told = "hold the caches of so many methods at a time; each set of them reads anew (all)"
    one.add_argument("--together", type=positive, metavar="N", help=told)
    one.add_argument("--seed", type=natural, default=0, help="of what is drawn (0)")
    told = "also a table by bytes: memory_ratio, agreement, tasks, and whether all is held"
    one.add_argument("--memory", action="store_true", help=told)
    told = "draw KL against bytes and against time, with the Pareto front: an .svg"
    one.add_argument("--plot", type=Path, metavar="FILE", help=told)
    one.add_argument("--json", action="store_true", help="print the rows as JSON")
    add_quiet(one)


def longcontext(args: argparse.Namespace) -> str:
    """The tables, or the JSON, of `fovea bench longcontext`."""
    from dataclasses import replace

    from fovea.pipelines.answering.probing import with_tables
    from fovea.pipelines.bench.attention_measure import threads
    from fovea.pipelines.bench.longcontext import files, front, haystacks, memory, speed
    from fovea.pipelines.bench.longcontext.methods import chosen
    from fovea.pipelines.bench.longcontext.twins import Twins
    from fovea.pipelines.cli.capture import text_of
    from fovea.pipelines.evaluation.measurements import show
    from fovea.rag.causal_lm import load

    svg(args.plot)
    chosen(args.methods, args.threads)  # a wrong name is said before the model is loaded
    tasks = files.chosen("none" if args.read == "drawn" and args.tasks is None else args.tasks, args.data, args.depths)
    haystack = haystacks.of(None if args.text is None else text_of(args.text))
    plan = speed.Plan(args.read, args.decode, args.chunk, args.threads, args.dtype, args.seed)
    twins = Twins(load(args.model, dtype=args.dtype, attention="sdpa"))
    methods = [
        replace(each, spec=each.spec and with_tables(each.spec, twins.lm, args.model))
        for each in chosen(args.methods, args.threads)
    ]
    with threads(args.threads):
        speed.warm(twins, methods, speed.text_ids(twins, haystack, 0, args.seed))
        found = list(_rows(args, twins, methods, plan, (tasks, haystack)))
    if args.plot is not None:
        front.save(args.plot, found)
    shown = show(found, as_json=args.json)
    return shown if args.json or not args.memory else f"{shown}\n\n{memory.table(found)}"


def _rows(
    args: argparse.Namespace, twins: Twins, methods: list[Method], plan: Plan, asked: tuple[list[Any], Any]
) -> list[Row]:
    from fovea.pipelines.bench.longcontext import answers, speed
    from fovea.pipelines.bench.longcontext.methods import FULL, NEAR
    from fovea.rag.errors import ConfigError

    def missing(why: str) -> None:
        print(why, file=sys.stderr)

    tasks, haystack = asked
    if tasks and plan.read == "drawn":
        raise ConfigError("answers want a text that was read", where="--read drawn", fix="--read shared")
    found: list[Row] = []
    for length in args.lengths:
        ids = speed.text_ids(twins, haystack, length + args.decode, args.seed) if args.decode else []
        for n, some in enumerate(_together(methods, args.together)):
            here = list(speed.rows(twins, some, ids, length, plan, missing)) if args.decode else []
            for task in tasks:
                asking = answers.Asking(task, length, args.samples, haystack, args.chunk, args.seed, plan.read == "own")
                here += answers.rows(twins, some, asking, missing, plan.settings)
            found += [row for row in here if not n or row.method not in (FULL, NEAR)]
    return found


def _together(methods: list[Method], size: int | None) -> list[list[Method]]:
    """So many at a time, each time beside full attention and `near`, with which they are compared."""
    from fovea.pipelines.bench.longcontext.methods import FULL, NEAR

    beside = [method for method in methods if method.name in (FULL, NEAR)]
    others = [method for method in methods if method not in beside]
    size = size or max(1, len(others))
    return [[*beside, *others[n : n + size]] for n in range(0, max(1, len(others)), size)]


def _depths(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [-1.0]
    if not all(0 <= depth <= 1 for depth in found):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 to 1 with commas between, got {text!r}")
    return found
