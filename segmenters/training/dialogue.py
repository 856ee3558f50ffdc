"""Training of the dialogue segmenter: weights of the features of gaps, by logistic regression.

Two regressions: one of texts as they are, which reads vectors too; one of these and of texts spliced of parts of
different texts of one corpus, whole ones where they are short, else runs of turns inside one topic. How often topics
end differs between corpora, and is for the prior on lengths to say; so the log odds of each corpus stand beside the
weights as a constant, and what the weights give is the log of the likelihood ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import nn
from torch.nn import functional

from fovea.rag.errors import ConfigError
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.segmenters.dialogue import SPLICED, WHOLE
from fovea.segmenters.dialogue_features import BLOCKS, COLUMNS, content, features
from fovea.segmenters.training.measure import auc
from fovea.segmenters.training.recipe import SegmenterRecipe
from fovea.segmenters.turns import turns
from fovea.segmenters.units import Units

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned

RUNS = ((3, 8), (4, 10), (5, 15), (8, 20))
"""Ranges of turns in a part of a splice."""
UNCUT, SHORT = 0.4, 40
"""Share of splices made of whole texts, and how many turns such a text has at most."""


class DialogueRecipe(SegmenterRecipe):
    """Logistic regression over the features of gaps between turns, of texts as they are and spliced."""

    method: ClassVar[str] = "dialogue"

    steps: int = 600
    every: int = 100
    patience: int = 2
    learning_rate: float = 1e-2
    weight_decay: float = 0.1
    batch: PositiveInt = 2048
    """Gaps of each kind at a step."""
    ridge: NonNegativeFloat = 2e-4
    """What the squared weights of vectors add to the loss."""
    splices: NonNegativeInt = 150
    """Spliced texts of each corpus to learn from; a third as many to stop by."""

    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> Task:
        """Encode the texts once, splice them, and read their gaps."""
        return DialogueTask(self, train, dev, encoder, seed)


class Talk(NamedTuple):
    """A text in turns, `vectors` `(turns, dim)`, and where topics end, bool `(gaps,)`."""

    words: list[str]
    vectors: np.ndarray
    boundaries: np.ndarray

    def part(self, start: int, stop: int) -> Talk:
        """The turns from `start` to before `stop`."""
        return Talk(self.words[start:stop], self.vectors[start:stop], self.boundaries[start : stop - 1])


class Gaps(NamedTuple):
    """Features `(gaps, COLUMNS)`, content `(gaps, BLOCKS * dim)` or `(gaps, 0)`, truth `(gaps,)` and the log odds of
    the corpus `(gaps,)`, all float32."""

    read: np.ndarray
    content: np.ndarray
    truth: np.ndarray
    odds: np.ndarray


class Regressions(nn.Module):
    """One of splices, one of whole texts."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.spliced, self.whole = nn.Linear(COLUMNS, 1), nn.Linear(COLUMNS, 1)
        self.kinds = self.spliced, self.whole
        self.content = nn.Linear(BLOCKS * dim, 1, bias=False)
        for weights in self.parameters():
            nn.init.zeros_(weights)


class DialogueTask(Task):
    """The weights and the gaps they are learned from, by kind."""

    model: Regressions

    def __init__(
        self, recipe: DialogueRecipe, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int
    ) -> None:
        self.recipe, self.seed = recipe, seed
        self.train = gaps(train, encoder, recipe.splices, np.random.default_rng(seed_of(seed, -1)))
        self.dev = gaps(dev, encoder, recipe.splices // 3, np.random.default_rng(seed_of(seed, -2)))
        read = np.concatenate([kind.read for kind in self.train])
        self.mean, self.deviation = read.mean(0), read.std(0) + 1e-3
        self.model = Regressions(encoder.dim)

    def _logits(self, kind: int, found: Gaps) -> torch.Tensor:
        read = np.clip((found.read - self.mean) / self.deviation, -4, 4)
        logits = self.model.kinds[kind](torch.from_numpy(read))[:, 0] + torch.from_numpy(found.odds)
        return logits + self.model.content(torch.from_numpy(found.content))[:, 0] if kind == WHOLE else logits

    def loss(self, step: int) -> torch.Tensor:
        """Cross-entropy of both kinds, and the ridge."""
        rng = np.random.default_rng(seed_of(self.seed, step))
        loss = self.recipe.ridge * (self.model.content.weight**2).sum()
        for kind, found in enumerate(self.train):
            rows = rng.integers(0, len(found.truth), self.recipe.batch)
            some = Gaps(*(column[rows] for column in found))
            loss = loss + functional.binary_cross_entropy_with_logits(
                self._logits(kind, some), torch.from_numpy(some.truth)
            )
        return loss

    def scores(self) -> dict[str, float]:
        """Cross-entropy of both kinds, and 1 - AUC of each, over the gaps of the development part."""
        with torch.no_grad():
            logits = [self._logits(kind, found) for kind, found in enumerate(self.dev)]
        truths = [torch.from_numpy(found.truth) for found in self.dev]
        each = [functional.binary_cross_entropy_with_logits(*pair) for pair in zip(logits, truths, strict=True)]
        wrong = [1 - auc(a.numpy(), b.numpy()) for a, b in zip(logits, truths, strict=True)]
        return {"loss": float(sum(each)), "1 - auc, spliced": wrong[SPLICED], "1 - auc, whole": wrong[WHOLE]}

    def arrays(self) -> dict[str, np.ndarray]:
        """What `fovea.segmenters.dialogue.log_odds` reads."""
        kinds = self.model.kinds
        found = {
            "mean": self.mean,
            "deviation": self.deviation,
            "weight": np.concatenate([kind.weight.detach().numpy() for kind in kinds]),
            "bias": np.concatenate([kind.bias.detach().numpy() for kind in kinds]),
            "content": self.model.content.weight.detach().numpy()[0],
        }
        return {name: array.astype(np.float32) for name, array in found.items()}

    def about(self) -> dict[str, Any]:
        """Nothing beside the arrays."""
        return {}


def gaps(texts: Sequence[Sectioned], encoder: Encoder, splices: int, rng: np.random.Generator) -> tuple[Gaps, Gaps]:
    """The gaps of `splices` spliced texts of each corpus and of the texts that have boundaries, and those of the latter
    alone. Raises ConfigError where these show nothing.
    """
    corpora: dict[str, list[Talk]] = {}
    for text in texts:
        words = [turn.words for turn in turns(text.units.texts)]
        corpora.setdefault(text.corpus, []).append(Talk(words, Units.given(words).vectors(encoder), text.boundaries))
    whole = [[talk for talk in talks if talk.boundaries.any()] for talks in corpora.values()]
    made = [[spliced(rng, talks) for _ in range(splices)] for talks in corpora.values() if len(talks) > 1]
    made, whole = ([talks for talks in groups if talks] for groups in (made, whole))
    if not whole or all(talk.boundaries.all() for talks in whole for talk in talks):
        raise ConfigError(
            f"none of {len(texts)} texts has both gaps where a topic ends and gaps where it goes on",
            where="train segmenter dialogue",
            fix="dialogues of several turns a topic, some of several topics, in each part of the data",
        )
    return _joined([*made, *whole], with_content=False), _joined(whole, with_content=True)


def _joined(groups: Sequence[Sequence[Talk]], *, with_content: bool) -> Gaps:
    found = []
    for group in groups:
        truth = np.concatenate([talk.boundaries for talk in group]).astype(np.float32)
        share = np.clip(truth.mean(dtype=float), 0.5 / len(truth), 1 - 0.5 / len(truth))
        odds = np.full(len(truth), np.log(share / (1 - share)), np.float32)
        read = np.concatenate([features(talk.words, talk.vectors) for talk in group])
        vectors = [content(talk.words, talk.vectors) for talk in group] if with_content else [np.zeros((len(truth), 0))]
        found.append(Gaps(read, np.concatenate(vectors, dtype=np.float32), truth, odds))
    return Gaps(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def spliced(rng: np.random.Generator, talks: Sequence[Talk]) -> Talk:
    """3 to 8 parts of different texts, fewer where there are not so many."""
    whole, (low, high) = rng.random() < UNCUT, RUNS[int(rng.integers(len(RUNS)))]
    parts = []
    for number in rng.permutation(len(talks))[: int(rng.integers(3, 9))].tolist():
        talk = talks[number]
        edges = [0, *(np.flatnonzero(talk.boundaries) + 1).tolist(), len(talk.words)]
        topic = int(rng.integers(len(edges) - 1))
        first, last = edges[topic], edges[topic + 1]
        if whole and len(talk.words) <= SHORT and len(edges) == 2:
            parts.append(talk)
        else:
            size = min(last - first, int(rng.integers(low, high + 1)))
            start = first + int(rng.integers(last - first - size + 1))
            parts.append(talk.part(start, start + size))
    edge = np.ones(1, bool)
    inner = [np.zeros(len(part.words) - 1, bool) for part in parts]
    boundaries = np.concatenate([piece for gap in inner for piece in (edge, gap)][1:])
    return Talk([w for part in parts for w in part.words], np.concatenate([p.vectors for p in parts]), boundaries)
