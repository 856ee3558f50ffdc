"""What a retriever, situator or re-ranker brings to the training loop of `rag.training`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rag.training.recipe import Recipe, Task

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from retrievers.collection import Collection


class RetrieverRecipe(Recipe):
    """How a retriever is trained, on the questions of split `train`; those of `dev` decide when to stop."""

    kind: ClassVar[str] = "retriever"
    """Of the component that uses the weights."""

    @abstractmethod
    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> Task:
        """Encode once what is needed, and make the model with the seed."""
