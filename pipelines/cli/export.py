"""`fovea export page answer.json`: one answer as an HTML file to send to somebody."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    what = parser.add_subparsers(dest="what", metavar="page", required=True)
    page = what.add_parser("page", help="a self-contained page, which needs neither scripts nor a network")
    page.add_argument("answer", help="what `fovea ask --json` printed; - reads it from standard input")
    page.add_argument("--out", metavar="FILE", help="the page (beside the answer, ending in .html); - prints it")


def run(args: argparse.Namespace) -> int:
    """Write the page, whole, and say where."""
    from fovea.pipelines.studio.exported.answer_file import read, read_file
    from fovea.pipelines.studio.exported.html import html
    from fovea.rag.errors import DocumentError
    from fovea.rag.printable import printable
    from fovea.rag.write_whole import write_whole

    answer = read(sys.stdin.read(), "standard input") if args.answer == "-" else read_file(Path(args.answer))
    made = html(answer)
    if args.out == "-":
        print(made, end="")
        return 0
    out = Path(args.out or ("answer.html" if args.answer == "-" else Path(args.answer).with_suffix(".html")))
    if args.answer != "-" and out.exists() and out.samefile(args.answer):
        raise DocumentError("the page would take the place of the answer", where=str(out), fix="--out another.html")
    write_whole(out, lambda part: part.write_text(made, encoding="utf-8"))
    print(printable(str(out)))
    return 0
