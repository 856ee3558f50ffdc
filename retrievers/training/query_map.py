"""Training of the query map: InfoNCE over cached vectors, answers and hard negatives of a batch as its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import field_validator

from fovea.rag import registry
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.retrievers.training.asked import Asked
from fovea.retrievers.training.contrast import candidates_of, info_nce
from fovea.retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection


class QueryMapRecipe(RetrieverRecipe):
    """One matrix that moves questions to the passages that answer them: the control of every learned retriever."""

    method = "query_map"

    steps: int = 300
    every: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    """Draws the map to the identity."""
    batch: int = 64
    """Questions a step."""
    temperature: float = 0.05
    """Of InfoNCE."""
    negatives: int = 10
    """Hard negatives a question."""
    miner: str = "dense"
    """The retriever that finds them."""

    @field_validator("miner")
    @classmethod
    def _known(cls, miner: str) -> str:
        registry.find("retriever", miner)
        return miner

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> QueryMapTask:
        """Encode questions and passages of both parts, and mine negatives for those trained on."""
        miner: Any = registry.find("retriever", self.miner)()
        train = Asked.of([c.part("train") for c in collections], encoder, miner, self.negatives)
        return QueryMapTask(self, train, Asked.of([c.part("dev") for c in collections], encoder), seed)


class QueryMapTask(Task):
    """A matrix added to the identity, zero at first."""

    model: torch.nn.Linear

    def __init__(self, recipe: QueryMapRecipe, train: Asked, dev: Asked, seed: int) -> None:
        self.recipe, self.train, self.dev, self.seed = recipe, train, dev, seed
        dim = train.questions.shape[1]
        self.model = torch.nn.Linear(dim, dim, bias=False)
        torch.nn.init.zeros_(self.model.weight)

    def loss(self, step: int) -> torch.Tensor:
        """InfoNCE of a batch of questions."""
        rng, count = np.random.default_rng(seed_of(self.seed, step)), len(self.train.questions)
        batch = rng.choice(count, min(self.recipe.batch, count), replace=False)
        rows, answers = candidates_of(self.train, batch.tolist())
        moved = self._moved(self.train.questions[batch])
        passages = torch.from_numpy(self.train.passages[rows])
        return info_nce(moved, passages, torch.from_numpy(answers), self.recipe.temperature)

    def scores(self) -> dict[str, float]:
        """InfoNCE over all passages of a question's collection; MRR over them beside it."""
        moved, passages = self._moved(self.dev.questions), torch.from_numpy(self.dev.passages)
        homes = np.array([self.dev.home(i) for i in range(len(moved))])
        apart = torch.from_numpy(homes[:, None] != self.dev.homes)
        answers = torch.zeros(apart.shape, dtype=torch.bool)
        for i, relevant in enumerate(self.dev.relevant):
            answers[i, torch.from_numpy(relevant)] = True
        loss = info_nce(moved, passages, answers, self.recipe.temperature, apart)
        products = (moved @ passages.T).masked_fill(apart, -torch.inf)
        best = products.masked_fill(~answers, -torch.inf).amax(1, keepdim=True)
        places = (products > best).sum(1) + 1
        return {"loss": float(loss), "MRR": float(places.reciprocal().mean())}

    def arrays(self) -> dict[str, np.ndarray]:
        """The matrix, in half precision."""
        return {"map": self.model.weight.detach().numpy().astype(np.float16)}

    def about(self) -> dict[str, Any]:
        """Nothing beside what all weights say."""
        return {}

    def _moved(self, questions: np.ndarray) -> torch.Tensor:
        given = torch.from_numpy(questions)
        return torch.nn.functional.normalize(given + self.model(given), dim=1)
