"""`fovea status p.yaml`: what is in the store, what could not be read, and what has changed since."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fovea.pipelines.cli.warned import add_quiet
from fovea.rag.printable import counted, printable, to_json

if TYPE_CHECKING:
    from fovea.pipelines.reading import Shelved
    from fovea.pipelines.sources.survey import Survey
    from fovea.retrievers.library.library import SourceRow

SHOWN = 20
"""Files of one kind that are named; the rest are counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--all", action="store_true", help="list every source, not only the failed ones")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Print the state; exit code 1 when a source has failed."""
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        found, path, shelved = pipeline.survey(), pipeline.spec.store.path, pipeline.shelved()
    if args.json:
        print(to_json({"store": str(path), **found.to_dict(), "read_once": shelved.to_dict()}))
        return 1 if found.failed else 0
    documents, chunks = sum(r.documents for r in found.rows), sum(r.chunks for r in found.rows)
    parts = counted(len(found.rows), "sources"), counted(documents, "documents"), counted(chunks, "chunks")
    print(f"{path}: {', '.join(parts)}, {len(found.failed)} failed")
    for row in found.rows if args.all else found.failed:
        print(*_row(row), sep="\n")
    for line in (*_since(found, args.pipeline), *_read_once(shelved, args.pipeline)):
        print(line)
    if found.failed:
        print(f"when mended: fovea retry {args.pipeline}")
    return 1 if found.failed else 0


def _row(row: SourceRow) -> Iterator[str]:
    documents, chunks = counted(row.documents, "documents"), counted(row.chunks, "chunks")
    yield f"{row.status:<7}{documents:>16} {chunks:>14}  {printable(row.name)}"
    if row.error:
        indented = printable(row.error, keep="\n").replace("\n", "\n       ")
        yield f"       attempt {row.attempts}: {indented}"


def _since(found: Survey, pipeline: str) -> Iterator[str]:
    """What is not as it was when it was taken in, and the command for each."""
    places = [f"{place} ({n} sources)" if n > 1 else place for place, n in found.missing.items()]
    yield from _some("gone, and still answering", places)
    if places:
        names = " ".join(map(shlex.quote, list(found.missing)[:SHOWN]))
        yield printable(f"  if moved, ingest the new place; to remove them: fovea remove {pipeline} {names}")
    yield from _some("changed since", found.changed)
    if found.changed:
        yield f"  fovea ingest {pipeline} PATH... brings them in step: their files, or the folder"
    yield from _some("of unknown type, not read", found.unknown)
    yield from _some("cannot be looked at", [f"{name}: {reason}" for name, reason in found.unseen.items()])
    if found.settings:
        yield f"{counted(n := len(found.outdated), 'sources')} {'was' if n == 1 else 'were'} {found.settings}"


def _read_once(shelved: Shelved, pipeline: str) -> Iterator[str]:
    """The texts that lie read, and how many of them are of no use any more."""
    if not shelved.texts:
        return
    models = ", ".join(f"{counted(n, 'texts')} by {name}" for name, n in shelved.models.items())
    yield printable(f"read once: {models}; {shelved.bytes:,} of {shelved.limit:,} bytes in {shelved.folder}")
    yield from _some("read once, and changed or gone since", shelved.stale)
    if shelved.stale:
        yield f"  fovea compact {pipeline} drops {'it' if len(shelved.stale) == 1 else 'them'}"


def _some(what: str, names: Sequence[str]) -> Iterator[str]:
    yield from (printable(f"{what}: {name}") for name in names[:SHOWN])
    if len(names) > SHOWN:
        yield f"{what}: {len(names) - SHOWN} more"
