"""Training of the sentence network: at a given rate of chunks, predict what the text goes on to say.

Two predictions must each pick the right one, t's own, among those of all sequences of the batch but its own:

    agree    -log softmax_j(cos(W_q f_{t-1}, W_k g_j) / temperature)[t]     from before a gap, what comes after it
    say      -log softmax_j(o_t . m_j / temperature)[t]                     from the chunk, m_t = the mean of `ahead`
    loss   = agree + say_weight * say + alpha * ratio loss                  sentences from t on

Half of the sequences are stretches of one text, half are pieces of several texts joined, since the first kind alone has
few changes of subject. Where topics end is shown to neither: no label takes part, not even in when to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from fovea.rag.errors import ConfigError
from fovea.rag.training.recipe import Task
from fovea.segmenters.hnet_rule import centred
from fovea.segmenters.training.hnet_parts import ratio_loss
from fovea.segmenters.training.recipe import SegmenterRecipe
from fovea.segmenters.training.sentence_network import Read, SentenceNetwork

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned

DEV_BATCHES = 8


class HNetSentenceRecipe(SegmenterRecipe):
    """H-Net over sentence vectors, trained on texts whose topics nobody has marked."""

    method: ClassVar[str] = "hnet_sentence"
    reads_sections: ClassVar[bool] = False

    steps: PositiveInt = 600
    learning_rate: PositiveFloat = 2e-3
    weight_decay: float = 0.05
    chunk: Annotated[float, Field(gt=1)] = 5.0
    """Sentences that a chunk should hold."""
    alpha: PositiveFloat = 10.0
    """Weight of the ratio loss."""
    say_weight: PositiveFloat = 1.5
    """Weight of the prediction from chunks."""
    ahead: PositiveInt = 3
    """Sentences whose mean the chunk must say."""
    temperature: PositiveFloat = 0.1
    """What cosines are divided by."""
    batch: PositiveInt = 16
    """Sequences in a step."""
    length: PositiveInt = 64
    """Sentences of a sequence, at most."""
    spliced: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of sequences that are joined of pieces of several texts."""
    pieces: tuple[PositiveInt, PositiveInt] = (2, 24)
    """Sentences of such a piece, from and to."""
    width: PositiveInt = 128
    """Of the network over chunks."""
    reach: PositiveInt = 12
    """Sentences that a state looks at in its direction."""

    def prepare(
        self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int
    ) -> SentenceTask:
        """Encode every text once. Raises ConfigError where fewer than two texts have two sentences."""
        texts, others = ([one.units.vectors(encoder) for one in part if len(one.units) > 1] for part in (train, dev))
        for name, part in (("training", texts), ("development", others)):
            if len(part) < 2:
                raise ConfigError(
                    f"the {name} part has {len(part)} texts of two sentences, two are needed", where="data"
                )
        return SentenceTask(self, texts, others, encoder.dim, seed)


class SentenceTask(Task):
    """The network, and the vectors of its texts."""

    def __init__(
        self, recipe: HNetSentenceRecipe, train: list[np.ndarray], dev: list[np.ndarray], dim: int, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.train = recipe, seed, train
        self.model = SentenceNetwork(dim, recipe.width, recipe.reach)
        draw = np.random.default_rng(seed)
        self.dev = [self._batch(dev, draw) for _ in range(DEV_BATCHES)]

    def loss(self, step: int) -> Tensor:
        """Both predictions and the ratio loss."""
        vectors, mask = self._batch(self.train, np.random.default_rng((self.seed, step)))
        return self._loss(vectors, mask, self.model(vectors, mask))

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """The loss first, then sentences a chunk."""
        reads = [self.model(vectors, mask) for vectors, mask in self.dev]
        losses = [self._loss(vectors, mask, read).item() for (vectors, mask), read in zip(self.dev, reads)]
        symbols, chunks = (
            sum(int(x.sum()) for x in xs) for xs in ([m for _, m in self.dev], [r.routed.b for r in reads])
        )
        return {"loss": float(np.mean(losses)), "sentences a chunk": symbols / chunks}

    def arrays(self) -> dict[str, np.ndarray]:
        """What segmenting needs, the encoder and the router, in half precision."""
        names = ("weights", "shift_back", "shift_ahead", "query", "key")
        return {name: getattr(self.model, name).detach().numpy().astype(np.float16) for name in names}

    def about(self) -> dict[str, Any]:
        """The rate it was trained for."""
        return {"chunk": self.recipe.chunk}

    def _loss(self, vectors: Tensor, mask: Tensor, read: Read) -> Tensor:
        r, inner = self.recipe, mask[:, 1:]
        rows = inner.nonzero()[:, 0]
        queries = F.normalize(read.queries[:, :-1][inner], dim=-1)
        agree = pick(queries, F.normalize(read.keys[:, 1:][inner], dim=-1), rows, r.temperature)
        say = pick(read.predicted[:, 1:][inner], following(vectors, r.ahead)[:, 1:][inner], rows, r.temperature)
        return agree + r.say_weight * say + r.alpha * ratio_loss(read.routed, mask, r.chunk)

    def _batch(self, texts: list[np.ndarray], draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Vectors `(B, T, d)`, zero where padded, and their mask."""
        sequences = [centred(self._sequence(texts, draw), "document") for _ in range(self.recipe.batch)]
        sizes = np.array([len(s) for s in sequences])
        vectors = np.stack([np.pad(s, [(0, sizes.max() - len(s)), (0, 0)]) for s in sequences])
        mask = np.arange(sizes.max()) < sizes[:, None]
        return torch.from_numpy(vectors.astype(np.float32)), torch.from_numpy(mask)

    def _sequence(self, texts: list[np.ndarray], draw: np.random.Generator) -> np.ndarray:
        r = self.recipe
        if draw.random() >= r.spliced:
            return _piece(texts, r.length, draw)
        found: list[np.ndarray] = []
        size = int(draw.integers(r.length // 2, r.length + 1))
        while sum(map(len, found)) < size:
            found.append(_piece(texts, int(draw.integers(r.pieces[0], r.pieces[1] + 1)), draw))
        return np.concatenate(found)[: r.length]


def pick(guesses: Tensor, targets: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """How far each of `(n, d)` guesses is from picking its own of `(n, d)` targets; others of its row do not count."""
    own = (rows[:, None] == rows) & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    chances = (guesses @ targets.t() / temperature).masked_fill(own, -torch.inf)
    return F.cross_entropy(chances, torch.arange(len(rows), device=rows.device))


def following(vectors: Tensor, ahead: int) -> Tensor:
    """The direction of the mean of `ahead` vectors from each on, fewer at the end: `(B, T, d)`."""
    total = F.pad(vectors.cumsum(dim=1), (0, 0, 1, 0))
    at = torch.arange(vectors.shape[1], device=vectors.device)
    return F.normalize(total[:, (at + ahead).clamp(max=len(at))] - total[:, at], dim=-1)


def _piece(texts: list[np.ndarray], size: int, draw: np.random.Generator) -> np.ndarray:
    text = texts[draw.integers(len(texts))]
    at = int(draw.integers(0, max(len(text) - size, 0) + 1))
    return text[at : at + size]
