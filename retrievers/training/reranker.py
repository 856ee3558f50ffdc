"""Training of the small re-ranker: weights that raise nDCG itself, collections alike, and probabilities that are right.

    gain(q) = approx nDCG@10 of the new order - that of the first stage's order
    loss = mean over collections of (-gain + hurt * max(0, -gain)) + plain * |w| + binary cross-entropy(p, answers)

ApproxNDCG (T. Qin, T.-Y. Liu and H. Li, 2010, "A general approximation framework for direct optimization of information
retrieval measures"): the rank of a passage is 1 + sum over the others of sigmoid((their score - its score) / softness).
A collection that loses counts twice and more, so that what helps one kind of questions and harms another is not
learned. Cross-entropy moves the probabilities alone, never the order. Candidates are what vectors and BM25 find, by
adaptive fusion, which are the hard negatives of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from fovea.rag.progress import bar
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.retrievers.adaptive import AdaptiveFuser
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.evidence import AGAINST, NAMES, evidence
from fovea.retrievers.reranker import LISTED, in_deviations, listed
from fovea.retrievers.training.measure import READ
from fovea.retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from fovea.rag.corpus import Corpus
    from fovea.rag.encoder import Encoder
    from fovea.rag.types import Hit, Query
    from fovea.retrievers.collection import Collection, Split

DEPTH, ABSENT = 10, -99.0
"""Ranks that count; the score of what fills up a short list."""


class Lists(NamedTuple):
    """Questions of one collection, of `k` candidates each: `scores`, `answers` `(questions, k)`, evidence `rows`
    `(questions, k, 15)`, what is known of the hits `(questions, 6)`, and the highest DCG `(questions,)`.
    """

    scores: torch.Tensor
    rows: torch.Tensor
    answers: torch.Tensor
    listed: torch.Tensor
    ideal: torch.Tensor

    def of(self, chosen: torch.Tensor) -> Lists:
        """The same with some of the questions."""
        return Lists(*(each[chosen] for each in self))


class RerankerRecipe(RetrieverRecipe):
    """Evidence beside the first stage's score, in a few numbers: a re-ranker whose probabilities are calibrated."""

    method = "reranker"
    kind = "refiner"

    steps: int = 120
    every: int = 20
    learning_rate: float = 2e-2
    weight_decay: float = 0.0
    batch: int = 64
    """Questions of each collection in a step: large collections count no more than small ones."""
    candidates: int = 20
    """Passages a question."""
    softness: float = 0.6
    """Deviations over which one passage passes another."""
    hurt: float = 1.0
    """How much more a collection counts that loses."""
    plain: float = 3e-4
    """What a weight costs."""

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> RerankerTask:
        """Find the candidates of every question, and read the evidence."""
        train, dev = (list(self._lists(collections, encoder, split)) for split in ("train", "dev"))
        return RerankerTask(self, train, dev, seed)

    def _lists(self, collections: Sequence[Collection], encoder: Encoder, split: Split) -> Iterator[Lists]:
        for part in (one.part(split) for one in collections):
            if part.questions and len((found := lists(part, _corpus(part, encoder), self.candidates)).rows):
                yield found

    def ranked(self, weights: str, collection: Collection, encoder: Encoder) -> list[list[Hit]]:
        """Ten hits for each question, of those that vectors and BM25 find together."""
        from fovea.retrievers.reranker import Reranker

        corpus, reranker = _corpus(collection, encoder), Reranker(weights=weights)
        asked = [question.query for question in collection.questions]
        return [reranker.refine(query, hybrid(query, corpus), corpus)[:DEPTH] for query in asked]


class Weights(torch.nn.Module):
    """Roots of the weights, which keeps their signs, and the calibration."""

    signs: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.roots = torch.nn.Parameter(torch.full((len(NAMES),), 0.2))
        self.sharpness = torch.nn.Parameter(torch.tensor(1.0))
        self.level = torch.nn.Parameter(torch.zeros(len(LISTED)))
        self.bias = torch.nn.Parameter(torch.tensor(0.0))
        self.register_buffer("signs", torch.tensor([-1.0 if name in AGAINST else 1.0 for name in NAMES]))

    def weight(self) -> torch.Tensor:
        """`w`, one a kind of evidence."""
        return self.roots**2 * self.signs

    def forward(self, found: Lists, scale: torch.Tensor) -> torch.Tensor:
        """`r`, `(questions, k)`."""
        return found.scores + (found.rows / scale) @ self.weight()


class RerankerTask(Task):
    """Evidence in units of how far it differs among the hits of a question, collections alike."""

    model: Weights

    def __init__(self, recipe: RerankerRecipe, train: Sequence[Lists], dev: Sequence[Lists], seed: int) -> None:
        self.recipe, self.train, self.dev, self.seed, self.model = recipe, train, dev, seed, Weights()
        squares = [((f.rows - f.rows.mean(1, keepdim=True)) ** 2).mean((0, 1)) for f in train]
        self.scale = torch.stack(squares).mean(0).sqrt().clamp_min(1e-2)

    def loss(self, step: int) -> torch.Tensor:
        """Of a batch of every collection."""
        rng = np.random.default_rng(seed_of(self.seed, step))
        batches = []
        for found in self.train:
            count = len(found.rows)
            batches.append(found.of(torch.from_numpy(rng.permutation(count)[: self.recipe.batch])))
        return self._loss(batches)

    def scores(self) -> dict[str, float]:
        """The loss on the development part; what nDCG@10 gains beside it, exactly, in mean over collections."""
        gains = [(ndcg(self.model(f, self.scale), f) - ndcg(f.scores, f)).mean() for f in self.dev]
        return {"loss": float(self._loss(self.dev).detach()), "gain": float(torch.stack(gains).mean().detach())}

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights, and what evidence is divided by."""
        found = {**dict(self.model.named_parameters()), "weight": self.model.weight(), "scale": self.scale}
        return {n: v.detach().numpy().astype(np.float32) for n, v in found.items() if n != "roots"}

    def about(self) -> dict[str, Any]:
        """The names of the evidence, and of what is known of a list."""
        return {"evidence": list(NAMES), "listed": list(LISTED)}

    def _loss(self, parts: Sequence[Lists]) -> torch.Tensor:
        gains, wrong = [], []
        for found in parts:
            ranked = self.model(found, self.scale)
            before = approx_ndcg(found.scores, found, self.recipe.softness)
            gains.append((approx_ndcg(ranked, found, self.recipe.softness) - before).mean())
            wrong.append(self._wrong(ranked.detach(), found))
        gain = torch.stack(gains)
        order = (self.recipe.hurt * torch.relu(-gain) - gain).mean()
        return order + self.recipe.plain * self.model.weight().abs().sum() + torch.stack(wrong).mean()

    def _wrong(self, ranked: torch.Tensor, found: Lists) -> torch.Tensor:
        there = found.scores > ABSENT
        level = found.listed @ self.model.level + self.model.bias
        logits = self.model.sharpness * (ranked - ranked.amax(1, keepdim=True)) + level[:, None]
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[there], found.answers[there])


def approx_ndcg(scores: torch.Tensor, found: Lists, softness: float) -> torch.Tensor:
    """A smooth nDCG@10 of each question, `(questions,)`. O(k^2) each."""
    ranks = torch.sigmoid((scores[:, None, :] - scores[:, :, None]) / softness).sum(2) + 0.5
    return (found.answers / torch.log2(1 + ranks) * torch.sigmoid(2 * (DEPTH + 0.5 - ranks))).sum(1) / found.ideal


def ndcg(scores: torch.Tensor, found: Lists) -> torch.Tensor:
    """nDCG@10 of each question, gains 0 or 1."""
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :DEPTH]
    right = found.answers.gather(1, order)
    return right @ torch.from_numpy(_discounts(right.shape[1])) / found.ideal


def lists(collection: Collection, corpus: Corpus, count: int) -> Lists:
    """The candidates of every question for which anything is found, whether or not one of them answers."""
    found = []
    with bar(f"evidence of {collection.name}", len(collection.questions)) as progress:
        for question in collection.questions:
            if hits := hybrid(question.query, corpus)[:count]:
                found.append(_row(question.query, hits, question.relevant.keys(), corpus, count))
            progress.advance()
    shapes = (count,), (count, len(NAMES)), (count,), (len(LISTED),), ()
    columns = list(zip(*found)) or [[] for _ in shapes]
    return Lists(*(torch.tensor(np.array(c, np.float32).reshape(-1, *s)) for c, s in zip(columns, shapes)))


def _row(query: Query, hits: Sequence[Hit], gold: Any, corpus: Corpus, count: int) -> tuple[np.ndarray, ...]:
    scores, lacking = in_deviations(hits, corpus), count - len(hits)
    rows = evidence(query, hits, scores, corpus)
    answers = [float(hit.chunk.id in gold) for hit in hits]
    filled = np.concatenate([rows, np.repeat(rows[-1:], lacking, 0)])
    ideal = _discounts(min(DEPTH, len(gold))).sum()
    return (
        np.pad(scores, (0, lacking), constant_values=ABSENT), filled, np.pad(answers, (0, lacking)),
        listed(scores, rows), ideal,
    )  # fmt: skip


def _corpus(collection: Collection, encoder: Encoder) -> MemoryCorpus:
    corpus = MemoryCorpus(collection.documents, collection.chunks, encoder)
    corpus.prepare([question.query.text for question in collection.questions])
    return corpus


def _discounts(ranks: int) -> np.ndarray:
    return (1 / np.log2(np.arange(2, ranks + 2))).astype(np.float32)


def hybrid(query: Query, corpus: Corpus) -> list[Hit]:
    """What a pipeline's default retrievers find, by its default fusion."""
    found = {r.name: r.search(query, READ, corpus) for r in (DenseRetriever(), BM25Retriever())}
    return AdaptiveFuser().fuse(found, READ, query, corpus)
