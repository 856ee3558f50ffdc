"""The retrieval heads of a model, as a small file: made once, kept beside Fovea's other caches, and never stale.

    {"model": identity, "kind": "question", "probe": digest, "scores": [[...], ...]}

A table is of the very weights it was made with, and of the probes it was made by: other files, or other probes, are
another table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fovea.rag.causal_lm import ORGANISATION
from fovea.rag.content import content_of
from fovea.rag.models import cache_dir
from fovea.rag.packaged import named
from fovea.rag.write_whole import write_whole

Kind = Literal["copy", "question"]
SHIPPED = Path(__file__).with_name("tables")
"""Tables of models with a short name, made by the same command."""


@dataclass(frozen=True)
class HeadTable:
    """How well each query head does at a kind of probe: `scores` (layers, heads), 0 to 1, rounded."""

    model: str
    kind: Kind
    probe: str
    scores: tuple[tuple[float, ...], ...]

    @cached_property
    def array(self) -> np.ndarray:
        """`scores`, (layers, heads)."""
        return np.array(self.scores, np.float64)

    def strongest(self, count: int) -> list[tuple[int, int]]:
        """The `count` heads with the largest scores as (layer, head), best first; of equals, those of lower layers."""
        best = np.argsort(-self.array, axis=None, kind="stable")[:count]
        return [divmod(int(at), self.array.shape[1]) for at in best]


def identity(model: str) -> str:
    """What a model is by its content: of one with a short name the hash of the published file, else of its folder."""
    packaged = named(model)
    return packaged.sha256 if packaged else content_of(model, organisation=ORGANISATION)


def find(model: str, kind: Kind, probe: str) -> HeadTable | None:
    """The table of a model that was made by the probes of that digest: shipped, or made here; None where there is none.

    A file that is torn or foreign is none.
    """
    of = identity(model)
    for path in _places(of, kind):
        with suppress(OSError, ValueError, TypeError, KeyError):
            table = _read(path)
            if (table.model, table.kind, table.probe) == (of, kind, probe):
                return table
    return None


def keep(table: HeadTable, path: Path | None = None) -> Path:
    """Write a table to where `find` looks, or to `path`, whole or not at all; raises OSError where that cannot be."""
    path = path or cache_dir() / "heads" / _name(table.model, table.kind)
    write_whole(path, lambda part: part.write_text(json.dumps(asdict(table)) + "\n", "utf-8"))
    return path


def _places(of: str, kind: Kind) -> Iterator[Path]:
    yield cache_dir() / "heads" / _name(of, kind)
    yield SHIPPED / _name(of, kind)


def _name(of: str, kind: Kind) -> str:
    return f"{of[:16]}-{kind}.json"


def _read(path: Path) -> HeadTable:
    """Raises ValueError, TypeError or KeyError for what is no table."""
    said = json.loads(path.read_text("utf-8"))
    rows = tuple(tuple(float(score) for score in row) for row in said["scores"])
    if said["kind"] not in get_args(Kind) or not rows or len({len(row) for row in rows}) != 1:
        raise ValueError(f"{path} is no table of heads")
    return HeadTable(str(said["model"]), said["kind"], str(said["probe"]), rows)
