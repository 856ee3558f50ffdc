"""Training of TopicalChange's pair scorer: are two paragraphs of one section?

Which pairs it learns from (`pairs`), with up to `per_paragraph` of either kind for every paragraph:

    cp            two paragraphs of one section, and two of different sections of the same text
    rp            the second paragraph of a pair of two topics is from any text
    consecutive   neighbours in the text, as they are met in use; as many of either kind

D. Aumiller, S. Almasian, S. Lackner and M. Gertz, "Structural text segmentation of legal documents", 2021, whose labels
are headings shared by many documents; here a section is a label of its own, so that pairs of one topic never cross
texts, in `rp` either. A paragraph is never paired with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import nn

from fovea.rag.errors import ConfigError
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.segmenters.pairs import COSINES, Paragraphs, features, same_topic
from fovea.segmenters.topical_change import TopicalChangeSegmenter
from fovea.segmenters.training.measure import Best, auc, best_threshold, chosen, examples
from fovea.segmenters.training.recipe import SegmenterRecipe
from fovea.segmenters.training.sampling import Example

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned

Regime = Literal["cp", "rp", "consecutive"]


class TopicalChangeRecipe(SegmenterRecipe):
    """TopicalChange's pair scorer on frozen sentence vectors: whether two paragraphs are of one section."""

    method: ClassVar[str] = "topical_change"

    steps: PositiveInt = 600
    weight_decay: float = 0.1
    pairs: Regime = "consecutive"
    """Which pairs it learns from; `cp` and `rp` are the paper's."""
    per_paragraph: PositiveInt = 3
    """Pairs of either kind for each paragraph, at most."""
    hidden: PositiveInt = 64
    """Width of the network."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of numbers left out at a step, of what is read and of the hidden ones."""
    batch: PositiveInt = 256
    """Pairs at a step."""

    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> Task:
        """Encode the texts, draw the pairs, and make the network."""
        return TopicalChangeTask(self, train, dev, encoder, seed)


class Head(nn.Module):
    """The argument of the sigmoid, for `features` `(pairs, 2 * dim + 4)`."""

    def __init__(self, dim: int, recipe: TopicalChangeRecipe) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * dim + COSINES, recipe.hidden)
        self.out = nn.Linear(recipe.hidden, 1)
        self.cosines = nn.Linear(COSINES, 1, bias=False)
        self.drop = nn.Dropout(recipe.dropout)

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """Float `(pairs,)`."""
        hidden = torch.relu(self.hidden(self.drop(read)))
        return (self.out(self.drop(hidden)) + self.cosines(read[:, -COSINES:]))[:, 0]


class TopicalChangeTask(Task):
    """The head and its pairs."""

    model: Head

    def __init__(
        self,
        recipe: TopicalChangeRecipe,
        train: Sequence[Sectioned],
        dev: Sequence[Sectioned],
        encoder: Encoder,
        seed: int,
    ) -> None:
        self.recipe, self.seed = recipe, seed
        rng = np.random.default_rng(seed_of(seed, -1))
        self.paragraphs, text, section = stack(examples(train, encoder))
        self.drawn = sample(text, section, recipe.pairs, recipe.per_paragraph, rng)
        self.dev = [text for text in dev if len(text.units) > 1]
        self.dev_examples = examples(self.dev, encoder)
        paragraphs, text, section = stack(self.dev_examples)
        left, right, self.dev_same = sample(text, section, recipe.pairs, recipe.per_paragraph, rng)
        self.dev_read = features(paragraphs, left, right)
        torch.manual_seed(seed)
        self.model = Head(self.paragraphs.mean.shape[1], recipe)

    def loss(self, step: int) -> torch.Tensor:
        """Cross-entropy."""
        rows = np.random.default_rng(seed_of(self.seed, step)).integers(0, len(self.drawn[0]), self.recipe.batch)
        left, right, same = (part[rows] for part in self.drawn)
        read = torch.from_numpy(features(self.paragraphs, left, right))
        return nn.functional.binary_cross_entropy_with_logits(self.model(read), torch.from_numpy(same))

    def scores(self) -> dict[str, float]:
        """Pk at the best threshold; 1 - AUC and the share of wrong decisions over pairs."""
        logits = self.model(torch.from_numpy(self.dev_read)).numpy()
        wrong = float(((logits > 0) != (self.dev_same > 0)).mean())
        return {"pk": self._threshold().pk, "1 - auc": 1 - auc(logits, self.dev_same), "wrong pairs": wrong}

    def arrays(self) -> dict[str, np.ndarray]:
        """The head in float16."""
        return {name: value.detach().numpy().astype(np.float16) for name, value in self.model.state_dict().items()}

    def about(self) -> dict[str, Any]:
        """The threshold to use."""
        return {"threshold": self._threshold().threshold}

    def _threshold(self) -> Best:
        arrays = {name: array.astype(np.float32) for name, array in self.arrays().items()}
        scored = []
        for text, example in zip(self.dev, self.dev_examples):
            ends = _ends(example)
            paragraphs, change = Paragraphs.between(example.vectors, _edges(ends)), np.zeros(len(ends), np.float32)
            left = np.arange(len(paragraphs) - 1)
            change[ends] = 1 - same_topic(features(paragraphs, left, left + 1), arrays)
            scored.append((change, text))
        return best_threshold(scored, lambda t, one: chosen(TopicalChangeSegmenter(threshold=t), *one))


def stack(texts: Sequence[Example]) -> tuple[Paragraphs, np.ndarray, np.ndarray]:
    """The paragraphs of all texts, and of each its text and its section: int `(paragraphs,)`, both rising."""
    parts, text, section, sections = [], [], [], 0
    for number, one in enumerate(texts):
        ends = _ends(one) | (one.boundaries > 0)
        parts.append(Paragraphs.between(one.vectors, _edges(ends)))
        own = np.concatenate([[0], np.cumsum(one.boundaries[ends] > 0)])
        text.append(np.full(len(own), number))
        section.append(own + sections)
        sections += int(own[-1]) + 1
    return Paragraphs.joined(parts), np.concatenate(text), np.concatenate(section)


def sample(
    text: np.ndarray, section: np.ndarray, regime: Regime, per_paragraph: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of paragraphs, the earlier one first, int `(pairs,)` each, and whether they are of one section, float32
    `(pairs,)`: as many are as are not. Raises ConfigError where there are none of either kind.
    """
    if regime == "consecutive":
        ones, twos = _neighbours(text, section, rng)
    else:
        ones, twos = _drawn(text, section, regime, per_paragraph, rng)
    if not len(ones):
        raise ConfigError(
            f"the texts give no pairs of paragraphs for {regime!r}",
            where="--data",
            fix="texts with several paragraphs in a section, and several sections",
        )
    pairs = np.sort(np.concatenate([ones, twos]), 1)
    return pairs[:, 0], pairs[:, 1], np.repeat(np.array([1, 0], np.float32), [len(ones), len(twos)])


def _neighbours(text: np.ndarray, section: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    gaps = np.flatnonzero(text[1:] == text[:-1])
    same = section[gaps] == section[gaps + 1]
    kinds = [gaps[same], gaps[~same]]
    count = min(map(len, kinds))
    ones, twos = (np.sort(rng.choice(kind, count, replace=False)) for kind in kinds)
    return np.stack([ones, ones + 1], 1), np.stack([twos, twos + 1], 1)


def _drawn(
    text: np.ndarray, section: np.ndarray, regime: Regime, per_paragraph: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    ones: list[tuple[int, int]] = []
    twos: list[tuple[int, int]] = []
    begin, end = (np.searchsorted(section, section, side) for side in ("left", "right"))
    first, last = (np.searchsorted(text, text, side) for side in ("left", "right"))
    if regime == "rp":
        first, last = np.zeros_like(first), np.full_like(last, len(text))
    for anchor, (a, b, f, z) in enumerate(zip(begin.tolist(), end.tolist(), first.tolist(), last.tolist())):
        count = min(per_paragraph, b - a - 1, (z - f) - (b - a))
        # Places among the others, made numbers of paragraphs by stepping over the anchor, or over its section.
        alike = a + rng.choice(b - a - 1, count, replace=False) if count else np.zeros(0, int)
        other = f + rng.choice((z - f) - (b - a), count, replace=False) if count else np.zeros(0, int)
        ones += [(anchor, int(p) + (p >= anchor)) for p in alike]
        twos += [(anchor, int(p) + (b - a if p >= a else 0)) for p in other]
    return np.array(ones, int).reshape(-1, 2), np.array(twos, int).reshape(-1, 2)


def _ends(text: Example) -> np.ndarray:
    """Where paragraphs end: bool `(gaps,)`; everywhere, in a text that marks none."""
    return text.breaks > 0 if text.breaks.any() else np.ones(len(text.breaks), bool)


def _edges(ends: np.ndarray) -> list[int]:
    return [0, *(np.flatnonzero(ends) + 1).tolist(), len(ends) + 1]
