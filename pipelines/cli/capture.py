"""`fovea capture --model NAME --text PATH --out dump.safetensors`: a model's own queries, keys and values of a text."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.attention_retrieval.capture.causal_lm import Plan
    from fovea.attention_retrieval.capture.dump import Facts
    from fovea.rag.loader import Loader


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--model", required=True, help="a folder or hub name: a causal language model, or an encoder")
    parser.add_argument("--text", required=True, type=Path, metavar="PATH", help="a file or folder to read")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the dump")
    asked = "questions to read after the text, one a line; for an encoder a text, queries of which are held out"
    parser.add_argument("--ask", type=Path, metavar="FILE", help=asked)
    parser.add_argument("--layers", type=_numbers, metavar="A,B,...", help="from 0 (six, spread evenly)")
    parser.add_argument("--tokens", type=_positive, default=32768, metavar="N", help="of the text (32768)")
    parser.add_argument("--chunk", type=_positive, default=512, metavar="N", help="tokens prefilled at a time (512)")
    parser.add_argument("--blocks", type=_positive, default=1, metavar="N", help="prefill in N parts by themselves (1)")
    spoken = "tokens the model says after each question or continuation (32)"
    parser.add_argument("--decode", type=_natural, default=32, metavar="N", help=spoken)
    held = "tokens of the text's continuation, where --ask is not given; queries of an encoder (512)"
    parser.add_argument("--held-out", type=_positive, default=512, metavar="N", help=held)
    share = "of the prefill's queries kept, from all over it (0.02)"
    parser.add_argument("--share", type=_part, default=0.02, metavar="X", help=share)
    parser.add_argument("--last", type=_part, default=0.25, metavar="X", help="and all of the last part (0.25)")
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16", help="of the dump (bf16)")
    parser.add_argument("--seed", type=_natural, default=0, metavar="N", help="of what is drawn (0)")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Read, and write the dump; what there was to warn of goes to standard error."""
    from fovea.attention_retrieval.capture.causal_lm import Plan
    from fovea.rag import progress
    from fovea.rag.trace import Trace
    from fovea.rag.write_whole import refuse_unwritable

    refuse_unwritable(args.out)
    names = ("tokens", "layers", "chunk", "decode", "held_out", "share", "last", "blocks", "dtype", "seed")
    plan, trace = Plan(**{name: getattr(args, name) for name in names}), Trace()
    with progress.shown(not args.quiet), trace.stage("capture"):
        facts = captured(args, plan)
    for warning, times in trace.warnings.items():
        print(f"warning: {warning} ({times})", file=sys.stderr)
    print(said(args.out, facts))
    return 0


def captured(args: argparse.Namespace, plan: Plan) -> Facts:
    """The dump of a causal model or of an encoder, as the model's configuration has it."""
    from fovea.rag.errors import ConfigError

    text = text_of(args.text)
    if is_encoder(args.model):
        from fovea.attention_retrieval.capture.encoder import capture_windows, load_encoder

        if args.ask is None:
            what = "an encoder's held-out queries are those of another text"
            raise ConfigError(what, where="--ask", fix="--ask FILE, a text")
        return capture_windows(load_encoder(args.model), text, text_of(args.ask), args.out, plan)
    from fovea.attention_retrieval.capture.causal_lm import capture
    from fovea.rag.causal_lm import load

    questions = [] if args.ask is None else [line for line in text_of(args.ask).splitlines() if line.strip()]
    return capture(load(args.model), text, args.out, plan, questions)


def said(out: Path, facts: Facts) -> str:
    """What was captured, in lines."""
    ways = {"prefill": "", "block-prefill": f", block-prefill in {facts.blocks} blocks"}
    way = ways.get(facts.source, f", {facts.blocks:,} windows")
    runs = [f"{run.decoded - run.start} + {run.stop - run.decoded}" for run in facts.runs]
    kind = facts.runs[0].kind if facts.runs else ""
    more = f", then by {kind} and the model's own words: {', '.join(runs)}" if runs else ""
    layers = ", ".join(map(str, facts.layers))
    return (
        f"{facts.model}: layers {layers}; {facts.heads} heads on {facts.kv_heads} kv heads of {facts.d}\n"
        f"{facts.tokens:,} tokens{way}{more}\n"
        f"{out}: {out.stat().st_size / 1e6:,.1f} MB"
    )


def text_of(path: Path) -> str:
    """The text of a file, or of all files of a folder in order, joined by blank lines."""
    from fovea.pipelines.loaders.select import Selection, loader_for
    from fovea.rag import registry

    loaders: list[Loader] = [cls() for cls in registry.components("loader").values()]  # type: ignore[misc]
    documents = (d for file in Selection([path], loaders).files() for d in loader_for(file, loaders).load(file))
    return "\n\n".join(document.text for document in documents)


def is_encoder(model: str) -> bool:
    """Whether a model's configuration names no architecture that goes on with a text."""
    from fovea.rag.causal_lm import ORGANISATION
    from fovea.rag.models import locate

    config = json.loads((locate(model, organisation=ORGANISATION).path / "config.json").read_text("utf-8"))
    made: Iterator[str] = iter(config.get("architectures") or ["ForCausalLM"])
    return not any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in made)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number from 0, got {text!r}")
    return int(text)


def _part(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_natural(part.strip()) for part in text.split(","))
