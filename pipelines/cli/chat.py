"""`fovea chat p.yaml`: questions one after another, each with what was said before."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from fovea.pipelines.cli.ask import add_query_options, answer_lines
from fovea.rag.printable import printable, shorten

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag.types import Answer, Turn

HELP = "a question a line; /sources shows the passages of the last answer, /new begins anew, ctrl-D ends"
PROMPT = "? "


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    add_query_options(parser)


def run(args: argparse.Namespace) -> int:
    """Answer line after line of standard input. A question that cannot be answered is said to be none, and the next is
    taken; then the exit code is that error's where no person was asking. With `--json`, an answer a line.
    """
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        pipeline.corpus.library.refuse_empty()
        return Chat(pipeline, args, asking=sys.stdin.isatty() and not args.json).run(sys.stdin)


class Chat:
    """A conversation with a pipeline: what was said, and the last answer."""

    def __init__(self, pipeline: Pipeline, args: argparse.Namespace, *, asking: bool) -> None:
        self.pipeline, self.args, self.asking = pipeline, args, asking
        self.said: list[Turn] = []
        self.answer: Answer | None = None
        self.code = 0

    def run(self, lines: TextIO) -> int:
        """Until the lines end."""
        if self.asking:
            print(HELP)
        for line in self._lines(lines):
            if line == "/new":
                self.said, self.answer = [], None
                self._tell("a new conversation")
            elif line == "/sources":
                self._sources()
            elif line.startswith("/") and line[1:].isalpha():
                self._tell(f"unknown command {line}; {HELP}")
            elif line:
                self._asked(line)
        if self.asking:
            print()
        return self.code

    def _lines(self, lines: TextIO) -> Iterator[str]:
        """Each line without white space around it; a person is prompted, and edits it where readline is there."""
        if not self.asking:
            yield from map(str.strip, lines)
            return
        with suppress(ImportError):
            import readline  # noqa: F401  # input() then edits lines
        while True:
            try:
                yield input(PROMPT).strip()
            except EOFError:
                return

    def _asked(self, question: str) -> None:
        from fovea.rag.errors import FoveaError
        from fovea.rag.types import Turn

        try:
            answer = self._streamed(question)
        except FoveaError as error:
            self.code = 0 if self.asking else error.exit_code
            print(printable(str(error), keep="\n"), file=sys.stderr)
            if self.args.json:
                print(_line({"error": str(error), "exit_code": error.exit_code}), flush=True)
            return
        except KeyboardInterrupt:
            if not self.asking:
                raise
            print("\nstopped; the conversation goes on without this question")
            return
        self.answer = answer
        self.said += [Turn("user", question), Turn("assistant", answer.text)]

    def _streamed(self, question: str) -> Answer:
        """The answer: to a person piece by piece as it comes, else once it is whole; then what it rests on."""
        from fovea.rag.types import Answer

        a = self.args
        for piece in self.pipeline.stream(question, a.k, where=a.where, as_of=a.as_of, history=self.said):
            if isinstance(piece, Answer):
                answer = piece
            elif self.asking:
                print(printable(piece, keep="\n\t"), end="", flush=True)
        if self.asking:
            print()
        self._show(answer)
        return answer

    def _show(self, answer: Answer) -> None:
        if self.args.json:
            print(_line(answer.to_dict()), flush=True)
            return
        if (asked := rewritten(answer)) and not self.args.quiet:
            print(f"(asked: {shorten(asked, 300)})")
        lines = support_lines(answer) if self.asking else answer_lines(answer)
        print(*lines, sep="\n", end="\n\n", flush=True)
        if self.args.explain and answer.trace:
            from fovea.pipelines.answering.explain import fate_lines, stage_lines

            print("why these chunks:", *fate_lines(answer.trace), sep="\n  ")
            print("stages:", *stage_lines(answer.trace, quiet=self.args.quiet), sep="\n  ", end="\n\n", flush=True)

    def _sources(self) -> None:
        if self.answer is None:
            self._tell("no answer yet")
            return
        for rank, hit in enumerate(self.answer.hits, 1):
            print(f"{rank}. {printable(hit.chunk.where)}\n   {shorten(hit.chunk.text, 300)}")
        print(flush=True)

    def _tell(self, what: str) -> None:
        print(what, file=sys.stdout if self.asking else sys.stderr, flush=True)


def support_lines(answer: Answer) -> list[str]:
    """What an answer that was printed as it came rests on, and the sentences that rest on nothing. Numbers in it are
    those of `/sources`."""
    from fovea.pipelines.answering.refusals import asserted

    found = [f"- {printable(c.where)} “{shorten(c.quote, 300)}”" for c in answer.citations]
    return found + [f"- no support found: {shorten(s.text, 300)}" for s in answer.unsupported if asserted(s.text)]


def _line(plain: Any) -> str:
    """JSON on one line that a terminal may show."""
    return json.dumps(plain).replace("\x7f", "\\u007f")


def rewritten(answer: Answer) -> str:
    """The question that was looked for, where it is not the one that was asked."""
    stages = answer.trace.stages if answer.trace else []
    notes = next((stage.notes for stage in stages if stage.name == "rewrite"), {})
    return "" if notes.get("standalone", True) else str(notes["rewritten"])
