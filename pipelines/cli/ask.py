"""`fovea ask p.yaml "question"`: an answer with citations."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import printed
from fovea.rag.printable import printable, to_json

if TYPE_CHECKING:
    from fovea.rag.types import Answer


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("question", help="the question; - reads it from standard input")
    add_query_options(parser)


def add_query_options(parser: argparse.ArgumentParser) -> None:
    """Options of verbs that ask something."""
    parser.add_argument("-k", type=positive, help="how many passages")
    parser.add_argument(
        "--where", help="""keep passages whose fields match, e.g. "year >= 2020 and suffix == '.pdf'\""""
    )
    parser.add_argument("--as-of", metavar="TIME", help="the moment of asking, for time-aware stages: 2024-05-01T12:00")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--explain", action="store_true", help="why each chunk came back, which stage kept or dropped it"
    )


def positive(text: str) -> int:
    """A whole number from 1, as an argument."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 999,999,999, got {text[:40]!r}")
    return int(text)


def question_of(args: argparse.Namespace) -> str:
    """The question as given, or from standard input."""
    return sys.stdin.read() if args.question == "-" else args.question


def run(args: argparse.Namespace) -> int:
    """Answer; the text appears as the model writes it."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag.types import Answer

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        for piece in pipeline.stream(question_of(args), args.k, where=args.where, as_of=args.as_of):
            if isinstance(piece, Answer):
                show(piece, args)
            elif not args.json:
                print(printable(piece, keep="\n\t"), end="", flush=True)
    return 0


def show(answer: Answer, args: argparse.Namespace) -> None:
    """Print what follows the text: the support of each sentence, the citations, the stages."""
    from fovea.pipelines.answering.explain import fates, stage_lines

    assert answer.trace is not None
    if args.json:
        plain = answer.to_dict()
        if args.explain:
            plain["explain"] = [str(f) for f in fates(answer.trace)]
        print(to_json(plain))
        return
    print("\n")
    print(*support_lines(answer), sep="\n")
    if args.explain:
        print("\nwhy these chunks:", *fates(answer.trace), sep="\n  ")
    print("\nstages:", *stage_lines(answer.trace), sep="\n  ")
    printed(answer.trace.warnings)


def support_lines(answer: Answer) -> list[str]:
    """Each sentence of the answer with the numbers of its citations, then the citations."""
    cited = {c: n for n, c in enumerate(answer.citations, 1)}
    lines = ["rests on:"]
    for sentence in answer.sentences:
        marks = "".join(f"[{cited[c]}]" for c in sentence.citations) or "[no support found]"
        lines.append(f"  {marks} {shorten(sentence.text)}")
    lines += [f"  [{n}] {printable(c.where)}\n      “{shorten(c.quote, 200)}”" for c, n in cited.items()]
    return lines


def shorten(text: str, most: int = 100) -> str:
    """One line of at most `most` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"
