"""Scores of a model's heads, a row a layer: a number for each head, those of a kv head, and the best of all layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fovea.rag.errors import ConfigError

Scores = Sequence[Sequence[float]]


def rectangular(scores: Scores) -> Scores:
    """The same; raises ValueError where rows are missing or of different lengths."""
    if len({len(row) for row in scores}) != 1 or not scores[0]:
        raise ValueError("scores must be a row a layer, with as many numbers in each")
    return scores


def text_of(path: str, method: str, name: str) -> str:
    """What a file says, or the file `name` in a folder. Raises ValueError, which says what makes one."""
    file = Path(path).expanduser()
    file = file / name if file.is_dir() else file
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        made = f"`fovea train heads {method} --model MODEL --out FOLDER` writes a {name}"
        raise ValueError(f"{file}: {why}; {made}") from None


def numbers(text: str) -> list[list[float]]:
    """The table in a text, a line a layer, parted by tabs or spaces; raises ValueError for what is none."""
    try:
        rows = [[float(x) for x in line.split()] for line in text.splitlines() if line.strip()]
    except ValueError:
        rows = [[float("nan")]]
    if not all(math.isfinite(x) for row in rows for x in row):
        raise ValueError("the file is no table of numbers, a line a layer, parted by tabs")
    return rows


def check_shape(scores: Scores | str, layers: int, heads: int, command: str) -> None:
    """Raise ConfigError unless there are `layers` rows of `heads` numbers; `command` prints what would be right."""
    if isinstance(scores, str):
        what = "scores: auto takes those of the model's table, which a pipeline's generator reads"
        raise ConfigError(what, where="heads", fix=f"give the scores that `{command} --json` prints")
    got = [len(row) for row in scores]
    if got != [heads] * layers:
        shape = f"{len(got)} layers of {' or '.join(str(n) for n in sorted(set(got)))} heads"
        what = f"the scores of heads are of {shape}, the model has {layers} of {heads}"
        raise ConfigError(what, where="heads", fix=f"`{command}` makes those of a model")


def by_group(scores: Scores, kv_heads: int) -> np.ndarray:
    """The best of each kv head's group of query heads, (layers, kv heads)."""
    table = np.array(scores, np.float64)
    return np.asarray(table.reshape(len(table), kv_heads, -1).max(axis=2))


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Which of `scores` are the `count` largest, bool of the same shape; of equals, those that come first."""
    chosen = np.zeros(scores.size, bool)
    chosen[np.argsort(-scores, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(scores.shape)


def all_or(window: int, reads: np.ndarray, tokens: int) -> np.ndarray:
    """All `tokens` where `reads` (kv heads,), else the last `window`, (kv heads,) int64."""
    tokens = max(tokens, 1)
    return np.where(reads, tokens, min(window, tokens)).astype(np.int64)
