"""What a retriever, situator or re-ranker brings to the training loop of `fovea.rag.training`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fovea.rag import registry
from fovea.rag.training.recipe import Recipe, Task

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.rag.types import Hit
    from fovea.retrievers.collection import Collection


class RetrieverRecipe(Recipe):
    """How a retriever is trained, on the questions of split `train`; those of `dev` decide when to stop."""

    kind: ClassVar[str] = "retriever"
    reads_questions: ClassVar[bool] = True
    """Whether the method learns from questions; the others make their own of the passages."""

    @abstractmethod
    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> Task:
        """Encode once what is needed, and make the model with the seed."""

    def ranked(self, weights: str, collection: Collection, encoder: Encoder) -> list[list[Hit]]:
        """What the component finds with these weights for each question of a collection, ten hits, to measure them."""
        from fovea.retrievers.training.measure import ranked

        component = registry.find(self.kind, self.method).model_validate({"weights": weights})
        return ranked(component, collection, encoder)
