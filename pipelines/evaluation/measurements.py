"""One way to print a measurement: a table for people, and with `--json` one list of flat rows.

A row is `{"bench", "data", "method", "settings", "metric", "value", "low", "high", "n", "seconds"}`; `low` and `high`
are the 95 % bootstrap interval, null where there is none.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from fovea.pipelines.evaluation.value import wilson

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Row:
    """One measured value of one method."""

    bench: str
    data: str
    method: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seconds: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """An end that is not a number is none."""
        for end in ("low", "high"):
            if (value := getattr(self, end)) is not None and isnan(value):
                object.__setattr__(self, end, None)


def interval(
    values: Sequence[float] | np.ndarray, *, draws: int = 2000, seed: int = 0, shares: bool = False
) -> tuple[float, float, float]:
    """Mean of `values` and its 95 % percentile bootstrap interval: `(mean, low, high)`. Values that do not vary, and
    one alone, say nothing of others: both ends are NaN; of `shares`, which lie in 0 to 1, that are all 0 or all 1, the
    ends are Wilson's (`fovea.pipelines.evaluation.value`).

    For a paired difference of two methods pass the differences. O(draws * n).
    """
    import numpy as np

    found = np.asarray(values, dtype=np.float64)
    if (found == found[0]).all():
        mean, n = float(found[0]), len(found)
        return (mean, *wilson(round(mean) * n, n)) if shares and n > 1 and mean in (0, 1) else (mean, nan, nan)
    draw = np.random.default_rng(seed).integers(0, len(found), (draws, len(found)))
    low, high = np.quantile(found[draw].mean(axis=1), [0.025, 0.975])
    return float(found.mean()), float(low), float(high)


def show(rows: Iterable[Row], *, as_json: bool = False) -> str:
    """The rows as JSON, or as one table per data set: methods down, metrics across."""
    rows = list(rows)
    if as_json:
        return json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
    parts = [machine()]
    for data in dict.fromkeys(row.data for row in rows):
        parts.append(_table(data, [row for row in rows if row.data == data]))
    return "\n\n".join(parts)


def _table(data: str, rows: list[Row]) -> str:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    cells = {(row.method, row.metric): _cell(row) for row in rows}
    lines = [[data, *metrics], *([m, *(cells.get((m, x), "") for x in metrics)] for m in methods)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(metrics) + 1)]
    text = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))) for line in lines
    ]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])


def _cell(row: Row) -> str:
    if row.value is None:
        return "missing"
    value = f"{row.value:,.0f}" if abs(row.value) >= 1000 else f"{row.value:.4g}"
    return value if row.low is None or row.high is None else f"{value} [{row.low:.3g}, {row.high:.3g}]"


def machine() -> str:
    """What was measured on, in a line: a number without its machine is no measurement."""
    versions = []
    for package in ("fovea-rag", "torch", "onnxruntime", "sentence-transformers", "faiss-cpu"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}; " + (
        ", ".join(versions)
    )
