"""`fovea bench mixers`: its arguments, and the tables it prints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.cli.bench_attention import natural, positive, svg
from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.pipelines.bench.mixers.network import Method, Plan
    from fovea.pipelines.evaluation.measurements import Row

TASKS = ("recall", "language", "speed")


def configure_mixers(one: argparse.ArgumentParser) -> None:
    """The bench's arguments."""
    one.add_argument("--methods", metavar="A,B,...", help="these only; {use: NAME, setting: value} sets something")
    one.add_argument("--tasks", default=",".join(TASKS), metavar="A,B", help=f"of {', '.join(TASKS)} (all)")
    one.add_argument("--width", type=positive, default=64, metavar="N", help="of the networks (64)")
    one.add_argument("--layers", type=positive, default=1, metavar="N", help="of the networks (1)")
    one.add_argument("--steps", type=positive, default=200, metavar="N", help="of training (200)")
    one.add_argument("--seconds", type=_above, metavar="N", help="of training, instead of steps: equal time")
    one.add_argument(
        "--batch", type=positive, default=32, metavar="N", help="texts in a step; of bytes, as many tokens (32)"
    )
    one.add_argument("--rate", type=_above, default=1e-2, metavar="X", help="the highest learning rate (0.01)")
    one.add_argument("--seeds", type=positive, default=1, metavar="N", help="networks a method and task (1)")
    one.add_argument("--seed", type=natural, default=0, help="the first of them (0)")
    one.add_argument(
        "--tokens", type=positive, default=32, metavar="N", help="of a text of which pairs are recalled (32)"
    )
    one.add_argument("--pairs", type=_sizes, default=(4,), metavar="N,M,...", help="of keys and values in it (4)")
    one.add_argument("--text", type=Path, metavar="PATH", help="whose bytes are modelled (made-up prose)")
    one.add_argument("--window", type=positive, default=128, metavar="N", help="bytes read at a time (128)")
    lengths = "tokens at which speed is measured (1024,4096)"
    one.add_argument("--lengths", type=_sizes, default=(1024, 4096), metavar="N,M,...", help=lengths)
    one.add_argument("--threads", type=positive, default=1, metavar="N", help="of torch (1)")
    one.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw recall against state")
    one.add_argument("--json", action="store_true", help="print the rows as JSON")
    add_quiet(one)


def mixers(args: argparse.Namespace) -> str:
    """The tables, or the JSON, of `fovea bench mixers`."""
    from fovea.pipelines.bench.attention_measure import threads
    from fovea.pipelines.bench.mixers.network import Plan
    from fovea.pipelines.evaluation.measurements import show
    from fovea.rag.errors import ConfigError, require

    svg(args.plot)
    require("torch", extra="models", needed_by="fovea bench mixers")
    tasks = [name.strip() for name in args.tasks.split(",")]
    if wrong := [name for name in tasks if name not in TASKS]:
        raise ConfigError(f"there is no task {wrong[0]!r}", where="--tasks", got=wrong[0], allowed=TASKS)
    if args.plot is not None and "recall" not in tasks:
        raise ConfigError("recall is drawn, and it is not measured", where="--plot", fix="--tasks recall")
    methods = chosen(args.methods, args.width)
    sizes = (args.width, args.layers, args.steps, args.seconds, args.batch, args.rate, args.seeds, args.seed)
    with threads(args.threads):
        found = _rows(args, tasks, methods, Plan(*sizes))
    if args.plot is not None:
        from fovea.pipelines.bench.mixers.plot import save

        save(args.plot, found)
    return show(found, as_json=args.json)


def _rows(args: argparse.Namespace, tasks: list[str], methods: list[Method], plan: Plan) -> list[Row]:
    from fovea.pipelines.bench.mixers import language, recall, speed
    from fovea.pipelines.cli.capture import text_of

    found: list[Row] = []
    if "recall" in tasks:
        for pairs in args.pairs:
            found += recall.rows(methods, plan, args.tokens, pairs)
    if "language" in tasks:
        plan = plan._replace(batch=max(1, args.batch * args.tokens // args.window))
        found += language.rows(methods, plan, None if args.text is None else text_of(args.text), args.window)
    if "speed" in tasks:
        found += speed.rows(methods, plan, args.lengths)
    return found


def chosen(text: str | None, width: int) -> list[Method]:
    """The mixers of `--methods`, or all; a wrong name, setting or width is said before anything is measured."""
    from fovea.pipelines.bench.mixers.network import Method
    from fovea.pipelines.bench.segmentation_methods import made, parsed
    from fovea.rag import registry
    from fovea.rag.mixer import Mixer

    asked = registry.names("mixer") if text is None else parsed(f"[{text}]", "--methods")
    found = []
    for each in asked:
        mixer = made(Mixer, each, "--methods")
        mixer.parts(width)
        given = {key: value for key, value in each.items() if key != "use"} if isinstance(each, dict) else {}
        found.append(Method(" ".join([mixer.name, *(f"{key}={value}" for key, value in given.items())]), mixer))
    return found


def _above(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return found


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(positive(part.strip()) for part in text.split(","))
