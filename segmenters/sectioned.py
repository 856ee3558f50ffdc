"""Sectioned: a text of which somebody said where its topics end, to train segmenters on and measure them against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fovea.segmenters.units import Units

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Sectioned:
    """A text in units, and where its sections end."""

    name: str
    units: Units
    boundaries: np.ndarray
    """Where a section ends: bool `(gaps,)`."""
    corpus: str = ""
    """The set it belongs to, as tables name it: `choi 3-11`, `qmsum`, `timeqa`."""
    split: Split = "test"
