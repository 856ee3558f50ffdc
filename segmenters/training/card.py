"""The card of trained weights: what they are, of which data, by which command, with which scores."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rag.models import sha256_of, write_whole
from rag.sentences import sentences

if TYPE_CHECKING:
    from segmenters.sectioned import Sectioned
    from segmenters.training.train import Result

VERSIONS = ("fovea", "torch", "numpy", "safetensors")


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the lines `SHA-256  RELATIVE PATH` of its files in order."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    lines = (f"{sha256_of(p)}  {p.relative_to(path).as_posix()}\n" for p in files)
    return sha256("".join(lines).encode()).hexdigest()


def write(
    path: Path,
    result: Result,
    texts: Sequence[Sectioned],
    *,
    command: str,
    data: Mapping[str, str],
    licence: str = "",
) -> None:
    """Write the card as Markdown; `data` is SHA-256 by name."""
    text = "\n".join(_lines(result, texts, command, data, licence)) + "\n"
    write_whole(path, lambda part: part.write_text(text, "utf-8"))


def _lines(
    result: Result, texts: Sequence[Sectioned], command: str, data: Mapping[str, str], licence: str
) -> Iterable[str]:
    recipe = result.recipe
    yield f"# Weights of the segmenter `{recipe.method}`\n"
    yield f"{(type(recipe).__doc__ or '').split(chr(10) + chr(10))[0]}\n"
    yield f"    {command}\n"
    yield "## Data\n"
    yield from _table([{"name": name, "SHA-256": found} for name, found in data.items()])
    yield from _table(_counts(texts))
    yield f"Licence of the data: {licence or 'not stated'}\n"
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
    yield "\nWith the settings that the weights bring, the number of sections unknown:\n"
    yield from _table([{k: f"{v:.1f}" if isinstance(v, float) else str(v) for k, v in r.items()} for r in result.table])


def _counts(texts: Sequence[Sectioned]) -> list[dict[str, str]]:
    """Texts, units, sentences and sections by corpus and split."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for text in texts:
        count = found.setdefault((text.corpus, text.split), Counter())
        count.update(texts=1, units=len(text.units), sections=int(text.boundaries.sum()) + 1)
        count.update(sentences=sum(max(1, len(sentences(unit))) for unit in text.units.texts))
    return [
        {"corpus": corpus, "split": split, **{key: f"{number:,}" for key, number in count.items()}}
        for (corpus, split), count in sorted(found.items())
    ]


def _table(rows: Sequence[Mapping[str, str]]) -> Iterable[str]:
    if rows:
        yield f"| {' | '.join(rows[0])} |"
        yield f"|{'---|' * len(rows[0])}"
        yield from (f"| {' | '.join(row.values())} |" for row in rows)
        yield ""
