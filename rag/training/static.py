"""Distilling an encoder into a table of token vectors (`encoder: {use: static}`).

    row(t) starts as  w(t) P e(t)      e(t) the encoder's vector of the token alone, w(t) = a / (a + p(t)), p its share
    loss              1 - cos(mean of the rows of a text's tokens, P e(text))

P keeps the `dim` directions that hold most of the texts' vectors, so products are nearly the encoder's. Weights are
those of smooth inverse frequency (S. Arora et al., "A simple but tough-to-beat baseline for sentence embeddings",
2017); the start is model2vec's, and the loss that of its `tokenlearn` (S. Tulkens and T. van Dongen, 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt

from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Recipe, Task
from fovea.rag.windows import scaled

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.rag.wordpieces import ModelTokenizer

NEAREST = 10
"""Texts of the development part that are nearest to one, by either encoder."""


class StaticRecipe(Recipe):
    """A vector for each token of an encoder's vocabulary: a text is encoded by a table, not by a network."""

    kind = "encoder"
    method = "static"

    steps: int = 2000
    every: int = 250
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    batch: PositiveInt = 256
    """Texts a step."""
    dim: PositiveInt = 256
    """Length of a vector, at most that of the encoder's."""
    texts: PositiveInt = 30_000
    """Texts that are read, at most: sentences, and runs of up to eight."""
    frequency: PositiveFloat = 1e-3
    """a: tokens with a larger share of the text than this weigh less than half."""


@dataclass(frozen=True)
class Part:
    """Texts as their tokens, and what the encoder makes of them."""

    ids: Sequence[Sequence[int]]
    vectors: np.ndarray
    """P e(text), unit rows: float32 `(texts, dim)`."""

    def bags(self, which: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens of some texts in a row, and where each begins."""
        some = [self.ids[i] for i in which]
        starts = np.cumsum([0, *map(len, some[:-1])])
        return torch.tensor([t for ids in some for t in ids]), torch.from_numpy(starts)


class StaticTask(Task):
    """The table."""

    model: torch.nn.EmbeddingBag

    def __init__(
        self, recipe: StaticRecipe, texts: Sequence[str], held: Sequence[str], encoder: Encoder,
        tokenizer: ModelTokenizer, seed: int,
    ) -> None:  # fmt: skip
        """`held` are texts of the development part."""
        self.recipe, self.seed = recipe, seed
        whole = encoder.encode(texts)
        kept = min(recipe.dim, whole.shape[1])
        directions = np.linalg.eigh(whole.T.astype(np.float64) @ whole)[1][:, ::-1][:, :kept].astype(np.float32)

        def part(of: Sequence[str], vectors: np.ndarray) -> Part:
            ids = tokenizer.ids(of)
            some = [i for i, found in enumerate(ids) if found]
            return Part([ids[i] for i in some], scaled(vectors[some] @ directions))

        self.train, self.dev = part(texts, whole), part(held, encoder.encode(held))
        rows = _start(encoder, tokenizer, directions) * self._weights(tokenizer.size)[:, None]
        self.model = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(rows), freeze=False, mode="mean")

    def loss(self, step: int) -> torch.Tensor:
        """Of a batch of texts."""
        rng, count = np.random.default_rng(seed_of(self.seed, step)), len(self.train.ids)
        which = rng.choice(count, min(self.recipe.batch, count), replace=False).tolist()
        return 1 - self._likeness(self.train, which).mean()

    def scores(self) -> dict[str, float]:
        """The loss, and the share of the ten nearest texts of each that both encoders agree on."""
        every = range(len(self.dev.ids))
        mine = torch.nn.functional.normalize(self.model(*self.dev.bags(every)), dim=1)
        theirs = torch.from_numpy(self.dev.vectors)
        nearest = [_nearest(vectors).tolist() for vectors in (mine, theirs)]
        agreed = np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(*nearest)])
        return {"1 - cosine": float(1 - (mine * theirs).sum(1).mean()), f"same {NEAREST} nearest": float(agreed)}

    def arrays(self) -> dict[str, np.ndarray]:
        """By sentence-transformers' name of it."""
        return {"embedding.weight": self.model.weight.detach().numpy()}

    def about(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def _likeness(self, part: Part, which: Sequence[int]) -> torch.Tensor:
        return torch.cosine_similarity(self.model(*part.bags(which)), torch.from_numpy(part.vectors[which]))

    def _weights(self, size: int) -> np.ndarray:
        """w of each token, by its share of the texts."""
        counts = np.bincount([t for ids in self.train.ids for t in ids], minlength=size)
        share = (counts / max(1, counts.sum())).astype(np.float32)
        return np.asarray(self.recipe.frequency / (self.recipe.frequency + share), np.float32)


def _start(encoder: Encoder, tokenizer: ModelTokenizer, directions: np.ndarray) -> np.ndarray:
    """P e of each token alone, zero of those that stand for no text: float32 `(tokens, dim)`."""
    said = tokenizer.said(range(tokenizer.size))
    rows = np.zeros((len(said), directions.shape[1]), np.float32)
    some = [i for i, text in enumerate(said) if text.strip() and i not in tokenizer.special_ids]
    rows[some] = scaled(encoder.encode([said[i] for i in some]) @ directions)
    return rows


def _nearest(vectors: torch.Tensor) -> torch.Tensor:
    """The nearest others of each, `(texts, NEAREST)`."""
    products = vectors @ vectors.T
    products.fill_diagonal_(-torch.inf)
    return products.topk(min(NEAREST, len(vectors) - 1)).indices
