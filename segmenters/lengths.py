"""Lengths: how long sections are, as a prior for whoever decides where they end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt

from fovea.rag.written import Written

if TYPE_CHECKING:
    import numpy as np


class Lengths(Written):
    """P(length) for lengths 1, 2, ...

    geometric     p (1 - p)^(l - 1), p = 1 / mean          no memory: shifts what counts as a boundary, no more
    log_normal    in proportion to exp(-(log l - m)^2 / 2 s^2) / l, m = log(mean) - s^2 / 2, s = `spread`
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Annotated[float, Field(gt=1)]
    """Of the lengths."""
    shape: Literal["geometric", "log_normal"] = "log_normal"
    """Which of the two."""
    spread: Annotated[float, Field(gt=0)] = 0.7
    """Standard deviation of the lengths' logarithms, for `log_normal`."""
    longest: PositiveInt | None = None
    """No section is longer. Left out, ten times the mean, which is longer than one section in a thousand."""

    def log_probabilities(self) -> np.ndarray:
        """Of lengths 1 to the longest: float64 `(longest,)`."""
        import numpy as np

        lengths = np.arange(1, math.ceil(100 * self.mean) + 1, dtype=np.float64)
        if self.shape == "geometric":
            logs = (lengths - 1) * math.log1p(-1 / self.mean) - math.log(self.mean)
        else:
            centre = math.log(self.mean) - self.spread**2 / 2
            logs = -np.log(lengths) - (np.log(lengths) - centre) ** 2 / (2 * self.spread**2)
            logs -= np.log(np.exp(logs - logs.max()).sum()) + logs.max()
        longest = self.longest or math.ceil(10 * self.mean)
        return np.concatenate([logs, np.full(max(0, longest - len(logs)), logs[-1])])[:longest]
