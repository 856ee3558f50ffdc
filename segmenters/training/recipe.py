"""What a segmenter brings to the training loop of `fovea.rag.training`, beside what every method does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fovea.rag.training.recipe import Recipe, Task

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned


class SegmenterRecipe(Recipe):
    """How a segmenter is trained."""

    kind: ClassVar[str] = "segmenter"
    reads_sections: ClassVar[bool] = True
    """Whether the method learns from where sections end; the others take any text."""

    @abstractmethod
    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> Task:
        """Read the texts once, and make the model with the seed."""
