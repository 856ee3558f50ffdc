"""Fewer bytes: the compositions that drop, round and share out rows, and what they cost, in order of their bytes.

    memory_ratio    bytes of keys, values and all beside them over what keys and values of all tokens take as bf16
    held            no task scores less than full attention does, top1 >= .98 and kl <= .02

A composition reads all that it holds, `select: {use: all}`, so that what is lost was lost by dropping and rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fovea.pipelines.evaluation.measurements import Row

HELD = "all"
"""The selection of every composition."""
TOP1, KL = 0.98, 0.02

_STREAM: Mapping[str, Any] = {"use": "retrieval_heads", "window": 256}
_SNAPKV: Mapping[str, Any] = {"use": "snapkv"}


def _composed(**own: Any) -> dict[str, Any]:
    return {"use": "retrieval", "select": {"use": HELD}, "sinks": 4, "window": 256, "dense_below": 300, **own}


def _snapkv(keep: float, **own: Any) -> dict[str, Any]:
    return _composed(evict={**_SNAPKV, "keep": keep}, **own)


def _heads(keep: float, **own: Any) -> dict[str, Any]:
    return _composed(heads={**_STREAM, "keep": keep}, **own)


def _middle(keep: float, window: int, *, compensated: bool = False, **own: Any) -> dict[str, Any]:
    """Heads that stream keep the best rows instead of the last ones: sinks wherever they stand."""
    evict: dict[str, Any] = {**_SNAPKV, "budget": "windows"}
    evict = {"use": "compensation", "of": evict} if compensated else evict
    return _composed(heads={**_STREAM, "keep": keep, "window": window}, evict=evict, **own)


COMPOSITIONS: Mapping[str, dict[str, Any]] = {
    "int8": _composed(dtype="int8"),
    "int4": _composed(dtype="int4"),
    "snapkv .5": _snapkv(0.5),
    "snapkv .25": _snapkv(0.25),
    "snapkv .1": _snapkv(0.1),
    "h2o .5": _composed(evict={"use": "h2o", "keep": 0.5, "window": 256}),
    "streaming 1024": _composed(evict={"use": "streaming", "window": 1024}),
    "compensation token": _composed(evict={"use": "compensation", "window": 1024}),
    "heads .75": _heads(0.75),
    "heads .5": _heads(0.5),
    "heads .5, best rows": _middle(0.5, 512),
    "heads .75, best rows": _middle(0.75, 512),
    "heads .5, best rows, token": _middle(0.5, 512, compensated=True),
    "snapkv .5 int4": _snapkv(0.5, dtype="int4"),
    "snapkv .5, token, int4": _composed(
        evict={"use": "compensation", "of": {**_SNAPKV, "keep": 0.5}}, dtype="int4"
    ),
    "heads .75, best rows, int4": _middle(0.75, 1024, dtype="int4"),
    "heads .75, best rows, token, int4": _middle(0.75, 1024, compensated=True, dtype="int4"),
    "heads .75, best rows, token, int8": _middle(0.75, 1024, compensated=True, dtype="int8"),
}  # fmt: skip
"""By name; `--methods memory` is all of them."""


def table(rows: Sequence[Row]) -> str:
    """Every method at every length, least bytes first, of what `fovea bench longcontext` has measured."""
    lines = []
    for length in lengths(rows):
        here = [row for row in rows if _length(row) == length]
        tasks = list(dict.fromkeys(str(row.settings["task"]) for row in here if "task" in row.settings))
        found = figures(rows, length)
        full = found.get("full", {})
        cells = [["method", "bytes", "top1", "kl", *tasks, "held"]]
        for name, mine in sorted(found.items(), key=lambda one: one[1].get("memory_ratio", 1.0)):
            if name == "full" or "memory_ratio" in mine:
                kept = "" if name == "full" else "yes" if held(mine, full, tasks) else "no"
                values = [mine.get(column) for column in ("memory_ratio", "top1", "kl", *tasks)]
                cells.append([name, *("-" if value is None else f"{value:.3f}" for value in values), kept])
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines += [f"{length} tokens: bytes as a share of bf16, and what is held of full attention", ""]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
        lines.append("")
    return "\n".join(lines)


def held(mine: Mapping[str, float], full: Mapping[str, float], tasks: Sequence[str]) -> bool:
    """Whether nothing measured is less than the bar."""
    told = all(mine.get(task, 0.0) >= full.get(task, 0.0) for task in tasks)
    return told and mine.get("top1", 1.0) >= TOP1 and mine.get("kl", 0.0) <= KL


def lengths(rows: Sequence[Row]) -> list[str]:
    """Tokens, as `data` says them, in the order of the rows."""
    return list(dict.fromkeys(_length(row) for row in rows))


def figures(rows: Sequence[Row], length: str) -> dict[str, dict[str, float]]:
    """Each method's figures at a length, in the order of the rows."""
    here = [row for row in rows if _length(row) == length]
    return {name: _of(here, name) for name in dict.fromkeys(row.method for row in rows)}


def _of(rows: Sequence[Row], name: str) -> dict[str, float]:
    """A method's figures by metric, and by task that task's score."""
    found: dict[str, float] = {}
    for row in rows:
        if row.method == name and row.value is not None:
            task = row.settings.get("task")
            if task is None:
                found[row.metric] = row.value
            elif row.metric not in ("same",) and not row.metric.startswith("depth") and "less" not in row.metric:
                found[str(task)] = row.value
    return found


def _length(row: Row) -> str:
    """As `data` says it."""
    return next((part.removesuffix(" tokens") for part in row.data.split(", ") if part.endswith(" tokens")), "")
