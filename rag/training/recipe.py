"""Recipe and Task: what a method brings to the training loop (`fovea.rag.training.loop`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict

from fovea.rag.written import Written

if TYPE_CHECKING:
    import numpy as np
    import torch


class Task(ABC):
    """A model and its data, ready to be trained."""

    model: torch.nn.Module

    @abstractmethod
    def loss(self, step: int) -> torch.Tensor:
        """The loss of the batch of `step`. The batch is drawn by a generator of (seed, step), so a training that was
        interrupted goes on with the very batches it would have had.
        """

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """Measures on the development part; the first, the lower the better, decides when to stop and what to keep."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The model as named arrays for `fovea.rag.trained.save`."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What using the weights needs to know, as plain data: at least what the method's component reads."""


class Recipe(Written, ABC):
    """How one method is trained: its fields are the settings of `fovea train KIND METHOD`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    """Of the component that uses the weights."""
    method: ClassVar[str]
    reads_vectors: ClassVar[bool] = True
    """Whether the method reads an encoder's vectors (the byte network reads none)."""

    steps: int = 1000
    """Steps at most."""
    every: int = 100
    """Steps between two measurements, each of which is a checkpoint."""
    patience: int = 4
    """Measurements without improvement after which training stops."""
    learning_rate: float = 1e-3
    """The highest; it rises over the first tenth of the steps and falls by a cosine."""
    weight_decay: float = 0.01
