"""The card of trained weights: what they are, of which data, by which command, with which scores."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.rag.models import sha256_of
from fovea.rag.write_whole import write_whole

if TYPE_CHECKING:
    from fovea.rag.training.train import Result

VERSIONS = ("fovea-rag", "torch", "numpy", "safetensors")
HEADING = "# Weights of the "
Table = Sequence[Mapping[str, str | float]]
"""Rows of cells by heading; a number stands with one digit behind the point unless it is text already."""


@dataclass(frozen=True)
class Data:
    """What was trained on and measured with."""

    digests: Mapping[str, str]
    """SHA-256 by name."""
    counts: Table
    """What it holds, by set and part."""
    licence: str = ""


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the lines `SHA-256  RELATIVE PATH` of its files in order."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    lines = (f"{sha256_of(p)}  {p.relative_to(path).as_posix()}\n" for p in files)
    return sha256("".join(lines).encode()).hexdigest()


def write(path: Path, result: Result, data: Data, *, command: str, heading: str) -> None:
    """Write the card as Markdown; `heading` says what the table of scores holds."""
    text = "\n".join(_lines(result, data, command, heading)) + "\n"
    write_whole(path, lambda part: part.write_text(text, "utf-8"))


def is_one(path: Path) -> bool:
    """Whether a file is a card."""
    with path.open("rb") as file:
        return file.read(len(HEADING)) == HEADING.encode()


def _lines(result: Result, data: Data, command: str, heading: str) -> Iterable[str]:
    recipe = result.recipe
    yield f"{HEADING}{recipe.kind} `{recipe.method}`\n"
    yield f"{(type(recipe).__doc__ or '').split(chr(10) + chr(10))[0]}\n"
    yield f"    {command}\n"
    yield "## Data\n"
    yield from _table([{"name": name, "SHA-256": found} for name, found in data.digests.items()])
    yield from _table(data.counts)
    yield f"Licence of the data: {data.licence or 'not stated'}\n"
    yield "## Training\n"
    yield f"- encoder: {result.encoder_name or 'none; the method reads text itself'}"
    yield f"- seed: {result.seed}"
    yield "- settings: " + ", ".join(f"`{key}={value}`" for key, value in recipe.model_dump(mode="json").items())
    yield f"- {result.steps} steps in {result.seconds:.0f} seconds; ended by {result.ended}; best at {result.best_step}"
    yield f"- versions: Python {platform.python_version()}, " + ", ".join(
        f"{name} {version(name)}" for name in VERSIONS
    )
    yield "\n## Scores\n"
    yield "What decided when to stop, on the development part: " + ", ".join(
        f"{name} {value:.4f}" for name, value in result.scores.items()
    )
    yield f"\n{heading}\n"
    yield from _table(result.table)


def _table(rows: Table) -> Iterable[str]:
    if rows:
        yield f"| {' | '.join(rows[0])} |"
        yield f"|{'---|' * len(rows[0])}"
        yield from (f"| {' | '.join(map(_cell, row.values()))} |" for row in rows)
        yield ""


def _cell(value: str | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
