"""Files of a model's heads, as `fovea train heads METHOD` writes them: a table of numbers, or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo

from fovea.rag.placed import placed

FILES = {
    "duo": "full_attention_heads.tsv", "moa": "moa_alpha_beta.json", "act": "act_heads.json", "sale": "sale_tau.tsv",
}  # fmt: skip
"""The file of each method in a training's folder; the first two as the papers' authors name theirs."""


def rectangular(rows: Sequence[Sequence[float]], what: str = "scores") -> Sequence[Sequence[float]]:
    """The same; raises ValueError where rows are missing or of different lengths."""
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(f"{what} must be a row a layer, with as many numbers in each")
    return rows


def table_of(path: str, method: str, info: ValidationInfo) -> list[list[float]]:
    """The table in a file, a line a layer, parted by tabs or spaces; raises ValueError for what is none."""
    file = _file(path, method, info)
    text = _text(file, method)
    try:
        rows = [[float(x) for x in line.split()] for line in text.splitlines() if line.strip()]
    except ValueError:
        rows = [[math.nan]]
    if not all(math.isfinite(x) for row in rows for x in row):
        raise ValueError(f"{file} is no table of numbers, a line a layer, parted by tabs")
    rectangular(rows or [[]], str(file))
    return rows


def json_of(path: str, method: str, info: ValidationInfo, what: str) -> Any:
    """What a JSON file holds; raises ValueError, with `what` it should be, for one that is none."""
    file = _file(path, method, info)
    text = _text(file, method)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{file} is no JSON of {what}") from None


def _file(path: str, method: str, info: ValidationInfo) -> Path:
    """The file, or the method's own in a folder."""
    file = placed(path, info)
    return file / FILES[method] if file.is_dir() else file


def _text(file: Path, method: str) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        data = " --data FILE.jsonl" if method == "act" else ""
        made = f"`fovea train heads {method} --model MODEL{data} --out FOLDER` writes {FILES[method]}"
        raise ValueError(f"{file}: {why}; {made}") from None
