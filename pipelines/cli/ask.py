"""`fovea ask p.yaml "question"`: an answer with citations."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet, printed
from fovea.rag.printable import printable, shorten, to_json

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag.look import Look
    from fovea.rag.types import Answer, Citation, Sentence


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
        "--explain",
        action="store_true",
        help="each chunk's text, why it came back, which stage dropped it",
    )
    add_quiet(parser)


def positive(text: str) -> int:
    """A whole number from 1, as an argument."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 999,999,999, got {text[:40]!r}")
    return int(text)


def question_of(args: argparse.Namespace) -> str:
    """The question as given, or from standard input."""
    return sys.stdin.read() if args.question == "-" else args.question


def run(args: argparse.Namespace) -> int:
    """Answer. What the answer rests on is known once the model is done, so nothing is printed before."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress
    from fovea.rag.types import Answer

    shown = progress.shown(sys.stderr.isatty() and not args.quiet)
    question = args.question = question_of(args)
    with Pipeline.from_yaml(args.pipeline) as pipeline, shown, progress.bar("pieces written") as bar:
        for piece in pipeline.stream(question, args.k, where=args.where, as_of=args.as_of):
            if isinstance(piece, Answer):
                answer = piece
            bar.advance()
        looks = looked(pipeline, question, answer, args.as_of) if args.explain else []
    show(answer, args, looks)
    return 0


def looked(pipeline: Pipeline, question: str, answer: Answer, as_of: str | None) -> list[Look]:
    """Where a local model looked; that it cannot be known is a warning, since the answer is there."""
    from fovea.rag.errors import FoveaError

    assert answer.trace is not None
    with answer.trace.stage("look") as stage:
        try:
            return pipeline.looks(question, answer, as_of=as_of)
        except FoveaError as error:
            stage.warn(f"where the model looked is not known: {error.what}")
            return []


def show(answer: Answer, args: argparse.Namespace, looks: Sequence[Look] = ()) -> None:
    """Print the answer and its citations, and with `--explain` where the model looked, the chunks and the stages."""
    from fovea.pipelines.answering.explain import fate_lines, fates, look_lines, stage_lines

    assert answer.trace is not None
    if args.json:
        plain = {"question": args.question, **answer.to_dict()}
        if args.explain:
            plain["explain"] = [str(f) for f in fates(answer.trace)]
            plain["looks"] = [look.to_dict() for look in looks]
        print(to_json(plain))
        return
    print(*answer_lines(answer), sep="\n")
    if args.explain:
        print(*look_lines(looks), sep="\n", end="\n" if looks else "")
        print("\nwhy these chunks:", *fate_lines(answer.trace), sep="\n  ")
        print("\nstages:", *stage_lines(answer.trace, quiet=args.quiet), sep="\n  ")
        printed(answer.trace.warnings)


def answer_lines(answer: Answer) -> list[str]:
    """The answer, behind each sentence the numbers of its citations, then the citations: where, and the quote unless
    the answer says just that."""
    cited = {c: n for n, c in enumerate(answer.citations, 1)}
    lines, at = [""], 0
    for sentence in answer.sentences:
        lines[0] += answer.text[at : sentence.end] + _marks(sentence, cited)
        at = sentence.end
    lines[0] = printable(lines[0] + answer.text[at:], keep="\n\t")
    said = {" ".join(sentence.text.split()) for sentence in answer.sentences}
    for c, n in cited.items():
        word_for_word = " ".join(c.quote.split()) in said
        lines += [""] * (n == 1) + [f"[{n}] {printable(c.where)}" + ", word for word" * word_for_word]
        lines += [] if word_for_word else [f"    “{shorten(c.quote, 300)}”"]
    return lines


def _marks(sentence: Sentence, cited: Mapping[Citation, int]) -> str:
    from fovea.pipelines.answering.refusals import asserted

    found = "".join(f"[{cited[c]}]" for c in sentence.citations)
    return f" {found}" if found else " [no support found]" if asserted(sentence.text) else ""
