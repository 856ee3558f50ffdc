"""Training of the small re-ranker: logistic regression on evidence, every question's candidates together.

    loss = list * (- log softmax(logits)[answers], mean) + (1 - list) * binary cross-entropy(sigmoid(logits), answers)

The first part orders, the second calibrates. Candidates are what vectors and BM25 find, by calibrated fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from fovea.rag.progress import bar
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.evidence import NAMES, among, evidence
from fovea.retrievers.training.measure import READ
from fovea.retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.rag.types import Hit, Query
    from fovea.retrievers.collection import Collection


class Lists(NamedTuple):
    """Questions of one collection: evidence `(questions, candidates, 39)` and answers `(questions, candidates)`."""

    rows: torch.Tensor
    answers: torch.Tensor


class RerankerRecipe(RetrieverRecipe):
    """Forty weights on evidence of meaning, words and numbers: a re-ranker whose probabilities are calibrated."""

    method = "reranker"
    kind = "refiner"

    steps: int = 1000
    every: int = 50
    learning_rate: float = 1e-2
    weight_decay: float = 0.01
    batch: int = 16
    """Questions of each collection in a step: large collections count no more than small ones."""
    candidates: int = 20
    """Passages a question."""
    order: float = 0.5
    """Share of the loss that orders; the rest calibrates."""

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> RerankerTask:
        """Find the candidates of every question, and read the evidence."""
        parts = [[lists(c.part(split), encoder, self.candidates) for c in collections] for split in ("train", "dev")]
        train, dev = ([found for found in part if len(found.rows)] for part in parts)
        return RerankerTask(self, train, dev, seed)


class RerankerTask(Task):
    """A linear layer on evidence in standard deviations of the training part."""

    model: torch.nn.Linear

    def __init__(self, recipe: RerankerRecipe, train: Sequence[Lists], dev: Sequence[Lists], seed: int) -> None:
        self.recipe, self.train, self.dev, self.seed = recipe, train, dev, seed
        self.model = torch.nn.Linear(3 * len(NAMES), 1)
        torch.nn.init.zeros_(self.model.weight)
        # Collections weigh alike here too.
        means = torch.stack([found.rows.flatten(0, 1).mean(0) for found in train])
        squares = torch.stack([(found.rows.flatten(0, 1) ** 2).mean(0) for found in train])
        self.mean = means.mean(0)
        self.scale = (squares.mean(0) - self.mean**2).clamp_min(1e-12).sqrt().clamp_min(1e-3)

    def loss(self, step: int) -> torch.Tensor:
        """Of a batch of every collection."""
        rng = np.random.default_rng(seed_of(self.seed, step))
        losses = []
        for found in self.train:
            batch = torch.from_numpy(rng.choice(len(found.rows), min(self.recipe.batch, len(found.rows)), False))
            losses.append(self._loss(Lists(found.rows[batch], found.answers[batch])))
        return torch.stack(losses).mean()

    def scores(self) -> dict[str, float]:
        """The loss on the development part, collections alike; MRR of the candidates beside it."""
        losses = torch.stack([self._loss(found).detach() for found in self.dev])
        return {"loss": float(losses.mean()), "MRR": float(np.mean([self._mrr(found) for found in self.dev]))}

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights, and what evidence is scaled by."""
        found = {"weight": self.model.weight[0], "bias": self.model.bias[0], "mean": self.mean, "scale": self.scale}
        return {name: value.detach().numpy().astype(np.float32) for name, value in found.items()}

    def about(self) -> dict[str, Any]:
        """The names of the evidence."""
        return {"evidence": list(NAMES)}

    def _logits(self, rows: torch.Tensor) -> torch.Tensor:
        return self.model((rows - self.mean) / self.scale)[..., 0]

    def _loss(self, found: Lists) -> torch.Tensor:
        logits = self._logits(found.rows)
        right = found.answers.sum(1)
        orders = -(torch.log_softmax(logits, 1) * found.answers).sum(1)[right > 0] / right[right > 0]
        sure = torch.nn.functional.binary_cross_entropy_with_logits(logits, found.answers, reduction="none").sum(1)
        share = self.recipe.order
        return share * (orders.mean() if len(orders) else logits.sum() * 0) + (1 - share) * sure.mean()

    def _mrr(self, found: Lists) -> float:
        logits = self._logits(found.rows)
        best = logits.masked_fill(found.answers == 0, -torch.inf).amax(1, keepdim=True)
        places = (logits > best).sum(1) + 1.0
        return float(torch.where(found.answers.any(1), 1 / places, torch.zeros(())).mean())


def lists(collection: Collection, encoder: Encoder, count: int) -> Lists:
    """The candidates of every question that has at least `count`, whether or not one of them answers."""
    corpus = MemoryCorpus(collection.documents, collection.chunks, encoder)
    corpus.prepare([q.query.text for q in collection.questions])
    rows, answers = [], []
    with bar(f"evidence of {collection.name}", len(collection.questions)) as progress:
        for question in collection.questions:
            hits = hybrid(question.query, corpus)[:count]
            if len(hits) == count:
                rows.append(among(evidence(question.query, hits, corpus)))
                answers.append([float(hit.chunk.id in question.relevant) for hit in hits])
            progress.advance()
    shape = (-1, count, 3 * len(NAMES))
    return Lists(torch.tensor(np.array(rows, np.float32)).reshape(shape), torch.tensor(answers).reshape(-1, count))


def hybrid(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    """What a pipeline's default retrievers find, by calibrated fusion."""
    lists = {r.name: r.search(query, READ, corpus) for r in (DenseRetriever(), BM25Retriever())}
    return CalibratedFuser().fuse(lists, READ, query, corpus)
