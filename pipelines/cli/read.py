"""`fovea read p.yaml [SOURCE ...]`: let a local model read texts before it is asked about them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet
from fovea.rag.printable import counted, printable, to_json

if TYPE_CHECKING:
    from fovea.pipelines.reading import TextRead


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file; its generator says what is read: read: documents")
    parser.add_argument("source", nargs="*", help="names, folders or globs of sources; left out, all of them")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Read, a line a text; exit code 1 when one could not be kept. Killed, the same command goes on."""
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    shown = progress.shown(sys.stderr.isatty() and not args.quiet)
    with Pipeline.from_yaml(args.pipeline) as pipeline, shown:
        texts = pipeline.read(args.source, each=None if args.json else lambda text: print(_line(text), flush=True))
        shelved = pipeline.shelved()
    lost = [text for text in texts if not text.bytes]
    if args.json:
        print(to_json({"texts": [text.to_dict() for text in texts], "read_once": shelved.to_dict()}))
        return 1 if lost else 0
    read = sum(text.state == "read" for text in texts)
    print(
        f"{counted(read, 'texts')} read, {len(texts) - read:,} found, {len(lost):,} not kept; "
        f"{shelved.bytes:,} of {shelved.limit:,} bytes in {printable(shelved.folder)}"
    )
    return 1 if lost else 0


def _line(text: TextRead) -> str:
    kept = f"{text.bytes:>14,} bytes" if text.bytes else f"{'not kept':>20}"
    return f"{text.state:<6}{text.tokens:>9,} tokens{kept}{text.seconds:>9.1f} s  {printable(text.text)}"
