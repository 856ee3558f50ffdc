"""The retrieval heads of a model, as a small file: made once, kept beside Fovea's other caches, and never stale.

    {"model": identity, "kind": "evidence", "probe": digest, "scores": {"question": [[...], ...], ...}}

A table is of the very weights it was made with, and of the probes it was made by: other files, or other probes, are
another table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fovea.rag.causal_lm import ORGANISATION
from fovea.rag.content import content_of
from fovea.rag.models import cache_dir
from fovea.rag.packaged import named
from fovea.rag.write_whole import write_whole

SHIPPED = Path(__file__).with_name("tables")
"""Tables of models with a short name, made by the same command."""


ROWS = {
    "evidence": {"question", "answer"},
    "copy": {"copy"},
    "repeats": {"echo", "induction"},
    "duo": {"duo"},
    "influence": {"influence"},
}
"""Rows of each kind of probe."""


@dataclass(frozen=True)
class HeadTable:
    """How well each query head does at a kind of probe: for each kind of rows (layers, heads), rounded.

    From 0 to 1, but for an influence, which is a share of the loss.
    """

    model: str
    kind: str
    probe: str
    scores: Mapping[str, list[list[float]]]

    def strongest(self, rows: str, count: int, *, near: float = 0.0) -> list[tuple[int, int]]:
        """The `count` heads with the largest scores as (layer, head), best first; of equals, those of lower layers.
        None of them has less than `near` times the best one's.
        """
        scores = np.array(self.scores[rows])
        best = np.argsort(-scores, axis=None, kind="stable")[:count]
        return [divmod(int(at), scores.shape[1]) for at in best if scores.flat[at] >= near * scores.max()]


def identity(model: str) -> str:
    """What a model is by its content: of one with a short name the hash of the published file, else of its folder."""
    packaged = named(model)
    return packaged.sha256 if packaged else content_of(model, organisation=ORGANISATION)


def find(model: str, kind: str, probe: str) -> HeadTable | None:
    """The table of a model that was made by the probes of that digest: made here, or shipped; None where there is none.

    A file that is torn or foreign is none.
    """
    of = identity(model)
    for folder in (kept(), SHIPPED):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            table = read(folder / name_of(of, kind))
            if (table.model, table.kind, table.probe) == (of, kind, probe):
                return table
    return None


def kept() -> Path:
    """Where tables are kept."""
    return cache_dir() / "heads"


def name_of(model: str, kind: str) -> str:
    """The file's name for a model's identity."""
    return f"{model.replace('/', '-')[:16]}-{kind}.json"


def keep(table: HeadTable, folder: Path | None = None) -> Path:
    """Write a table to where `find` looks, or to `folder`, whole or not at all; raises OSError where that cannot be."""
    path = (folder or kept()) / name_of(table.model, table.kind)
    text = json.dumps(asdict(table), separators=(",", ":")) + "\n"
    write_whole(path, lambda part: part.write_text(text, "utf-8"))
    return path


def read(path: Path) -> HeadTable:
    """The table in a file; raises what `find` passes over for what is none."""
    said = json.loads(path.read_text("utf-8"))
    scores = {str(rows): [[float(x) for x in row] for row in each] for rows, each in said["scores"].items()}
    tables = [np.array(each) for each in scores.values()]
    if any(each.ndim != 2 or each.shape != tables[0].shape or not each.size for each in tables):
        raise ValueError(f"{path} is no table of heads")
    if set(scores) != ROWS[said["kind"]] or not all(np.isfinite(each).all() for each in tables):
        raise ValueError(f"{path} has other rows or numbers than a table of heads")
    return HeadTable(str(said["model"]), str(said["kind"]), str(said["probe"]), scores)
