"""Training of the sentence network: predict what a chunk goes on to say, at a given rate of chunks.

Each sentence's prediction must pick the mean of the `ahead` sentences from there on among those of the whole batch,

    loss = -log softmax_j(o_t . m_j / temperature)[t] + alpha * ratio loss

where j leaves out the neighbours of t in its own text, whose means share sentences. Half of the sequences are stretches
of one text, half are pieces of several texts joined, since the first kind alone has few changes of subject. Where
topics end is shown to neither: no label takes part in training, only in the development scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt

from segmenters.hnet_rule import centred
from segmenters.training.hnet_parts import ratio_loss
from segmenters.training.recipe import Recipe, Task
from segmenters.training.sentence_network import DILATIONS, SentenceNetwork

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from segmenters.sectioned import Sectioned


class HNetSentenceRecipe(Recipe):
    """Settings of the training of `hnet_sentence`."""

    method: ClassVar[str] = "hnet_sentence"

    steps: int = 1500
    weight_decay: float = 0.05
    chunk: Annotated[float, Field(gt=1)] = 7.0
    """Sentences that a chunk should hold."""
    alpha: PositiveFloat = 0.3
    """Weight of the ratio loss."""
    ahead: PositiveInt = 3
    """Sentences whose mean is predicted."""
    temperature: PositiveFloat = 0.1
    batch: PositiveInt = 16
    length: PositiveInt = 64
    """Sentences of a sequence at most."""
    spliced: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of sequences that are joined of pieces of several texts."""
    pieces: tuple[PositiveInt, PositiveInt] = (3, 14)
    """Sentences of such a piece, from and to."""
    width: PositiveInt = 128
    kernel: PositiveInt = 6

    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> SentenceTask:
        """Encode every text once."""
        texts = [one.units.vectors(encoder) for one in train]
        return SentenceTask(self, [t for t in texts if len(t) > self.ahead], dev, encoder, seed)


class SentenceTask(Task):
    """The network and the vectors of its texts."""

    def __init__(self, recipe, train, dev, encoder, seed) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.train, self.encoder = recipe, seed, train, encoder
        self.dev = [(one, one.units.vectors(encoder)) for one in dev]
        self.model = SentenceNetwork(encoder.dim, recipe.width, recipe.kernel)

    def loss(self, step: int) -> torch.Tensor:
        draw = np.random.default_rng((self.seed, step))
        sequences = [self._sequence(draw) for _ in range(self.recipe.batch)]
        vectors, mask = padded(sequences)
        read = self.model(vectors, mask)
        return contrast(read.predicted, vectors, mask, self.recipe.ahead, self.recipe.temperature) + self.recipe.alpha * ratio_loss(read.routed, mask, self.recipe.chunk)

    def _sequence(self, draw: np.random.Generator) -> np.ndarray:
        r = self.recipe
        if draw.random() >= r.spliced:
            return centred(self._piece(draw, r.length), "document")
        found, size = [], int(draw.integers(r.length // 2, r.length + 1))
        while sum(map(len, found)) < size:
            found.append(self._piece(draw, int(draw.integers(r.pieces[0], r.pieces[1] + 1))))
        return centred(np.concatenate(found)[:r.length], "document")

    def _piece(self, draw, size):
        text = self.train[draw.integers(len(self.train))]
        at = int(draw.integers(0, max(len(text) - size, 0) + 1))
        return text[at : at + size]

    def scores(self): return {}
    def arrays(self): return {}
    def about(self): return {}


def padded(sequences):
    longest = max(map(len, sequences))
    vectors = np.stack([np.pad(s, [(0, longest - len(s)), (0, 0)]) for s in sequences]).astype(np.float32)
    mask = np.arange(longest) < np.array([len(s) for s in sequences])[:, None]
    return torch.from_numpy(vectors), torch.from_numpy(mask)


def contrast(predicted, vectors, mask, ahead, temperature):
    total = torch.nn.functional.pad(vectors.cumsum(1), (0, 0, 1, ahead))
    total[:, -ahead:] = total[:, -ahead-1:-ahead]
    targets = torch.nn.functional.normalize(total[:, ahead:][:, :vectors.shape[1]] - total[:, :vectors.shape[1]], dim=-1)
    logits = predicted[mask] @ targets[mask].t() / temperature
    row, at = mask.nonzero(as_tuple=True)
    near = (row[:, None] == row) & ((at[:, None] - at).abs() < ahead) 
    near.fill_diagonal_(False)
    logits = logits.masked_fill(near, -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)))
