"""Training of SitEmb's adapter: the map of questions and the weights of what stands around a chunk, together.

InfoNCE over cached vectors; the candidates of a batch are the answers of its questions, chunks of the same documents,
and chunks drawn from all collections. Collections count alike in a batch, whatever their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import normalize

from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.retrievers.sitemb import SitEmbRetriever
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.retrievers.situators.sitemb import SitEmbSituator, headings_of, surroundings
from fovea.retrievers.training.contrast import info_nce
from fovea.retrievers.training.measure import KEPT
from fovea.retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.rag.types import Hit
    from fovea.retrievers.collection import Collection

FASTER = 5.0
"""By how much the two weights move faster than the entries of the map, which are far smaller."""


class Placed(NamedTuple):
    """A collection as vectors: float32 `(questions, dim)` and thrice `(chunks, dim)`."""

    questions: torch.Tensor
    own: torch.Tensor
    headings: torch.Tensor
    around: torch.Tensor
    documents: np.ndarray
    """Which document a chunk is of, `(chunks,)`, rising."""
    relevant: list[np.ndarray]
    """The chunks that answer each question."""


class SitEmbRecipe(RetrieverRecipe):
    """A map of questions, and what headings and neighbours weigh in chunks: SitEmb over a frozen encoder."""

    method = "sitemb"

    steps: int = 100
    every: int = 20
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    """Draws the map to the identity, and the weights to where they began."""
    batch: int = 64
    """Questions a step."""
    temperature: float = 0.05
    """Of InfoNCE."""
    near: int = 24
    """Candidates of every document that holds an answer, at most."""
    far: int = 1000
    """Candidates of all documents."""
    reach: int = 2
    """Neighbours on either side of a chunk."""
    begin: float = 0.5
    """What headings and neighbours weigh before training."""

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> SitEmbTask:
        """Encode chunks, headings and questions of both parts."""
        parts = [[c.part(split) for c in collections] for split in ("train", "dev")]
        train, dev = ([placed(one, encoder, self.reach) for one in part if one.questions] for part in parts)
        return SitEmbTask(self, train, dev, seed)

    def ranked(self, weights: str, collection: Collection, encoder: Encoder) -> list[list[Hit]]:
        """Ten hits for each question, of the retriever over the chunks as the situator places them."""
        vectors = situated(SitEmbSituator(weights=weights), collection, encoder)
        corpus = MemoryCorpus(collection.documents, collection.chunks, encoder, vectors=vectors)
        corpus.prepare([q.query.text for q in collection.questions])
        retriever = SitEmbRetriever(weights=weights)
        return [retriever.search(q.query, KEPT, corpus) for q in collection.questions]


class Adapter(torch.nn.Module):
    """`q + W q` for questions, `c + a_h h + a_n n` for chunks, scaled to unit length."""

    def __init__(self, dim: int, begin: float) -> None:
        super().__init__()
        self.map = torch.nn.Linear(dim, dim, bias=False)
        torch.nn.init.zeros_(self.map.weight)
        self.moves = torch.nn.Parameter(torch.zeros(2))
        self.begin = begin

    @property
    def weights(self) -> torch.Tensor:
        """Of heading and neighbours."""
        return self.begin + FASTER * self.moves

    def questions(self, given: torch.Tensor) -> torch.Tensor:
        """`(questions, dim)`."""
        return normalize(given + self.map(given), dim=1)

    def chunks(self, found: Placed, rows: np.ndarray | slice) -> torch.Tensor:
        """`(rows, dim)`."""
        heading, around = self.weights
        return normalize(found.own[rows] + heading * found.headings[rows] + around * found.around[rows], dim=1)


class SitEmbTask(Task):
    """The map zero at first, the weights at `begin`."""

    model: Adapter

    def __init__(self, recipe: SitEmbRecipe, train: Sequence[Placed], dev: Sequence[Placed], seed: int) -> None:
        self.recipe, self.train, self.dev, self.seed = recipe, train, dev, seed
        self.model = Adapter(train[0].own.shape[1], recipe.begin)

    def loss(self, step: int) -> torch.Tensor:
        """InfoNCE of a batch of questions, as many of each collection."""
        rng = np.random.default_rng(seed_of(self.seed, step))
        total = sum(len(found.own) for found in self.train)
        questions, candidates, answers = [], [], []
        for found in self.train:
            batch = rng.integers(len(found.questions), size=max(1, round(self.recipe.batch / len(self.train))))
            count = round(self.recipe.far * len(found.own) / total)
            rows = self._rows(found, batch.tolist(), count, rng)
            questions.append(self.model.questions(found.questions[batch]))
            candidates.append(self.model.chunks(found, rows))
            answers.append(np.stack([np.isin(rows, found.relevant[i]) for i in batch]))
        right = torch.block_diag(*(torch.from_numpy(a.astype(np.float32)) for a in answers)) > 0
        return info_nce(torch.cat(questions), torch.cat(candidates), right, self.recipe.temperature)

    def scores(self) -> dict[str, float]:
        """InfoNCE over all chunks of a question's collection, collections alike; MRR over them beside it."""
        found = [self._scores(one) for one in self.dev]
        return {name: float(np.mean([one[name] for one in found])) for name in ("loss", "MRR")}

    def arrays(self) -> dict[str, np.ndarray]:
        """The map in half precision, and the weights."""
        return {
            "map": self.model.map.weight.detach().numpy().astype(np.float16),
            "weights": self.model.weights.detach().numpy().astype(np.float32),
        }

    def about(self) -> dict[str, Any]:
        """How far neighbours reach."""
        return {"reach": self.recipe.reach}

    def _rows(self, found: Placed, batch: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray:
        """Candidates of a batch, rising: answers, chunks of their documents, chunks of any."""
        answers = np.unique(np.concatenate([found.relevant[i] for i in batch]))
        near = []
        for document in np.unique(found.documents[answers]):
            low, high = np.searchsorted(found.documents, [document, document + 1])
            near.append(low + rng.permutation(high - low)[: self.recipe.near])
        return np.unique(np.concatenate([answers, *near, rng.integers(len(found.own), size=count)]))

    def _scores(self, found: Placed) -> dict[str, float]:
        asked, chunks = self.model.questions(found.questions), self.model.chunks(found, slice(None))
        answers = torch.zeros((len(asked), len(chunks)), dtype=torch.bool)
        for i, rows in enumerate(found.relevant):
            answers[i, torch.from_numpy(rows)] = True
        products = asked @ chunks.T
        best = products.masked_fill(~answers, -torch.inf).amax(1, keepdim=True)
        places = (products > best).sum(1) + 1
        loss = info_nce(asked, chunks, answers, self.recipe.temperature)
        return {"loss": float(loss), "MRR": float(places.reciprocal().mean())}


def placed(collection: Collection, encoder: Encoder, reach: int) -> Placed:
    """Encode a collection: chunks, what stands above and around each, and questions."""
    own = encoder.encode([chunk.text for chunk in collection.chunks])
    heads, around, numbers = np.zeros_like(own), np.zeros_like(own), np.zeros(len(own), int)
    for number, (document, rows) in enumerate(spans(collection)):
        numbers[rows] = number
        heads[rows] = headings_of(HeadingSituator(), document, collection.chunks[rows], encoder)
        around[rows] = surroundings(own[rows], reach)
    places = {chunk.id: row for row, chunk in enumerate(collection.chunks)}
    relevant = [np.array([places[key] for key in q.relevant]) for q in collection.questions]
    asked = encoder.encode([q.query.text for q in collection.questions], "query")
    tensors = [torch.from_numpy(rows) for rows in (asked, own, heads, around)]
    return Placed(tensors[0], tensors[1], tensors[2], tensors[3], numbers, relevant)


def situated(situator: SitEmbSituator, collection: Collection, encoder: Encoder) -> np.ndarray:
    """The vectors of a collection's chunks as the situator places them, float32 `(chunks, dim)`."""
    own = encoder.encode([chunk.text for chunk in collection.chunks])
    for document, rows in spans(collection):
        own[rows] = situator.vectors(document, collection.chunks[rows], own[rows], encoder)
    return own


def spans(collection: Collection) -> list[tuple[Any, slice]]:
    """Every document that has chunks, in their order, with the rows these have."""
    documents = {document.id: document for document in collection.documents}
    owners = [chunk.document_id for chunk in collection.chunks]
    edges = [i for i, owner in enumerate(owners) if not i or owner != owners[i - 1]]
    return [(documents[owners[a]], slice(a, b)) for a, b in zip(edges, [*edges[1:], len(owners)])]
