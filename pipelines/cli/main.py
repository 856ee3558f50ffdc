"""`fovea VERB ...`: a table of verbs, each in a file of its own that is imported only when it is called."""

from __future__ import annotations

import argparse
import errno
import sys
from importlib import import_module
from types import ModuleType

from fovea.pipelines.cli.arguments import Parser

VERBS = {
    "init": "write a commented pipeline YAML to start from",
    "check": "check a pipeline YAML, what it needs of this machine, and its store",
    "schema": "print the JSON Schema of pipeline YAML, for editors",
    "ingest": "bring the store in step with files and folders",
    "watch": "keep the store in step with folders while they change",
    "retry": "take the files again that could not be read",
    "remove": "take sources out of the store",
    "train": "train a segmenter, a retriever or an encoder on data, or heads or gates of a model",
    "read": "let a local model read the texts that it will be asked about",
    "ask": "answer a question, with citations",
    "chat": "answer questions one after another, each with what was said before",
    "search": "show the passages for a question",
    "export": "write an answer as a page to send to somebody",
    "serve": "answer over HTTP: search, cited answers, an OpenAI-compatible endpoint",
    "mcp": "serve the pipeline's tools to assistants (Model Context Protocol)",
    "status": "what is in the store, and what could not be read",
    "studio": "a page to look at documents, answers, attention and studies",
    "rebuild": "make the index anew from the library; nothing is encoded",
    "compact": "give back the space of what was removed or replaced",
    "capture": "dump a model's queries, keys and values of a text",
    "eval": "ask questions with gold, and measure quality, time and cost",
    "make-questions": "draft questions with gold spans from documents, for review",
    "tune": "fit the fusion of several retrievers to gold questions",
    "sweep": "search the settings of a pipeline over gold questions",
    "bench": "measure on data: segmentation, retrieval, attention, longcontext",
    "models": "list, fetch and find the models that have a short name",
    "heads": "which heads of a local model point at evidence",
    "doctor": "what is here and what is missing: versions, back-ends, GPU, caches",
    "docs": "the pages of documentation that came with this version",
}

ASKING = (
    "ask",
    "chat",
    "check",
    "docs",
    "doctor",
    "export",
    "init",
    "mcp",
    "schema",
    "search",
    "serve",
    "status",
    "studio",
)
"""Verbs that commit nothing one could go on from."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk says, with no file's name where one was being written."""


def main(argv: list[str] | None = None) -> int:
    """Run one verb; errors a person can cause become a message and an exit code that is not 0."""
    args = list(sys.argv[1:] if argv is None else argv)
    if odd := next((arg for arg in args if not _is_text(arg)), None):
        print(f"an argument is no text: {odd!r}", file=sys.stderr)
        return 2
    verb = args[0] if args and args[0] in VERBS else None
    parser = _parser(verb)
    parsed = parser.parse_args(args)
    if verb is None:
        parser.print_help()
        return 2
    return _run(verb, parsed)


def _is_text(arg: str) -> bool:
    """Whether it could be a name of a file: no NUL, and no half of a surrogate pair but those of odd bytes."""
    try:
        return b"\0" not in arg.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """Of one verb, or of all where none was given: only then are they listed, and thirty parsers take their time."""
    parser = Parser(
        prog="fovea",
        description="From documents to cited answers.",
        epilog="fovea VERB --help says what a verb takes.",
    )
    parser.add_argument("--version", action="version", version=f"fovea {_version()}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb")
    for name in VERBS if verb is None else (verb,):
        what = VERBS[name]
        sub = verbs.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        if name == verb:
            _module(name).configure(sub)
    return parser


def _module(verb: str) -> ModuleType:
    return import_module(f"fovea.pipelines.cli.{verb.replace('-', '_')}")


def _version() -> str:
    from fovea.rag.version import __version__

    return __version__


def _run(verb: str, args: argparse.Namespace) -> int:
    from fovea.pipelines.cli.warned import counted
    from fovea.rag.errors import FoveaError
    from fovea.rag.printable import printable, to_json

    try:
        with counted(quiet=getattr(args, "quiet", False)):
            return int(_module(verb).run(args))
    except FoveaError as error:
        print(printable(str(error), keep="\n"), file=sys.stderr)
        if getattr(args, "json", False):
            print(to_json({"error": str(error), "exit_code": error.exit_code}))
        return error.exit_code
    except KeyboardInterrupt:
        goes_on = "" if verb in ASKING else "; what was committed stays, the same command goes on from there"
        print(f"interrupted{goes_on}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.filename is None and error.errno not in DISK:
            raise
        where = f"{printable(str(error.filename))}: " if error.filename else ""
        print(f"{where}{error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
