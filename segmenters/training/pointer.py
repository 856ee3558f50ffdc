"""Training of the pointer segmenter: gaps by cross-entropy, and from every unit the end of its segment.

Half of a batch is cut out of sectioned texts, some with their paragraphs taken away; the rest is spliced of several.
The score that decides when to stop is Pk, averaged over the kinds of text of the development part as they are, with
their paragraphs taken away, and spliced; each at the threshold that serves texts with or without paragraphs best. Both
thresholds go with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.nn import functional

from fovea.rag.training.recipe import Task
from fovea.segmenters import pointer_network
from fovea.segmenters.blocks import centred
from fovea.segmenters.training.measure import kinds, offered, pk
from fovea.segmenters.training.pointer_net import PointerNet
from fovea.segmenters.training.recipe import SegmenterRecipe
from fovea.segmenters.training.sampling import Example, cropped, shaken, spliced, unmarked

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned

THRESHOLDS = np.arange(0.1, 0.75, 0.05)
KNOWN = 2 * 5 + 1
SPLICED = 80
"""Spliced texts to measure on, of each kind."""


class PointerRecipe(SegmenterRecipe):
    """The pointer network, on sentence vectors: sections of texts as they are, unmarked, and spliced of several."""

    method: ClassVar[str] = "pointer"

    steps: int = 1500
    every: int = 150
    patience: int = 6
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    batch: int = 16
    """Texts in a batch."""
    width: int = 80
    """Numbers in a state."""
    reach: int = 48
    """Units among which a segment's end is looked for."""
    drop: float = 0.3
    """Dropout."""
    noise: float = 0.6
    """How far vectors are moved, as a share of their length."""
    spliced: float = 0.4
    """Share of spliced texts in a batch."""
    pointing: float = 0.1
    """Weight of the pointer's loss beside that of the gaps."""

    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> Task:
        """Encode the texts once."""
        return PointerTask(self, kinds(train, encoder), kinds(dev, encoder), encoder, seed)


class PointerTask(Task):
    """The network with its texts, by kind."""

    def __init__(
        self,
        recipe: PointerRecipe,
        train: dict[str, list[Example]],
        dev: dict[str, list[Example]],
        encoder: Encoder,
        seed: int,
    ) -> None:
        self.recipe, self.seed = recipe, seed
        self.kinds = list(train.values())
        sections = np.array([sum(e.boundaries.sum() + 1 for e in found) for found in self.kinds])
        self.share = sections / sections.sum()
        rng = np.random.default_rng([seed, 1])
        self.dev = {
            **dev,
            **{f"unmarked {kind}": [unmarked(e) for e in found] for kind, found in dev.items() if _marked(found)},
            **{
                f"spliced {kind}": [spliced(rng, found, marked=0) for _ in range(SPLICED)]
                for kind, found in dev.items()
            },
        }
        self.model = PointerNet(encoder.dim, KNOWN, recipe.width, recipe.reach, recipe.drop)
        self.thresholds = {"paragraphs": 0.5, "all": 0.5}

    def loss(self, step: int) -> torch.Tensor:
        """Cross-entropy of gaps, and `pointing` times that of ends."""
        rng = np.random.default_rng([self.seed, 0, step])
        drawn = [shaken(rng, self._draw(rng), self.recipe.noise) for _ in range(self.recipe.batch)]
        both, known, lengths = inputs(drawn)
        gaps, ends = self.model(both, known, lengths)
        truth = torch.zeros_like(gaps)
        real = torch.arange(gaps.shape[1]) < lengths[:, None] - 1
        for row, example in enumerate(drawn):
            truth[row, : len(example.boundaries)] = torch.from_numpy(example.boundaries)
        alone = functional.binary_cross_entropy_with_logits(gaps[real], truth[real])
        wanted = torch.from_numpy(offsets(drawn, both.shape[1], self.recipe.reach))
        pointed = functional.cross_entropy(ends.flatten(0, 1), wanted.flatten(), ignore_index=-1)
        return alone + self.recipe.pointing * pointed

    def _draw(self, rng: np.random.Generator) -> Example:
        """One text, of a kind drawn by how many sections it has; the parts of a spliced one are of one kind too."""
        found = self.kinds[int(rng.choice(len(self.kinds), p=self.share))]
        if rng.random() < self.recipe.spliced:
            return spliced(rng, found)
        example = cropped(rng, found[int(rng.integers(len(found)))], 20, 140)
        return unmarked(example) if rng.random() < 0.25 else example

    def scores(self) -> dict[str, float]:
        """Pk in percent on average, and for each kind of text."""
        net = self._parameters()
        found = {
            kind: [(e, offered(e, pointer_network.scores(e.vectors, e.breaks, net))) for e in texts]
            for kind, texts in self.dev.items()
        }
        tables = {
            kind: np.array([[pk(e, s > t) for t in THRESHOLDS] for e, s in texts]) for kind, texts in found.items()
        }
        each: dict[str, float] = {}
        for where in self.thresholds:
            group = {k: t.mean(axis=0) for k, t in tables.items() if _marked(self.dev[k]) == (where == "paragraphs")}
            if group:
                best = int(np.mean(list(group.values()), axis=0).argmin())
                self.thresholds[where] = float(round(THRESHOLDS[best], 2))
                each |= {f"Pk % {kind}": 100 * float(row[best]) for kind, row in group.items()}
        return {"Pk %": float(np.mean(list(each.values()))), **each}

    def arrays(self) -> dict[str, np.ndarray]:
        """Every parameter under its name, in half precision."""
        return {name: value.astype(np.float16) for name, value in self._parameters().items()}

    def _parameters(self) -> dict[str, np.ndarray]:
        return {name: value.detach().numpy() for name, value in self.model.state_dict().items()}

    def about(self) -> dict[str, Any]:
        """The thresholds that served the development part best."""
        return {"thresholds": dict(self.thresholds)}


def inputs(drawn: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors with their centred ones, features, and lengths of a batch, padded with zeros."""
    lengths = [len(e.vectors) for e in drawn]
    both = np.zeros((len(drawn), max(lengths), 2 * drawn[0].vectors.shape[1]), np.float32)
    known = np.zeros((len(drawn), max(lengths), KNOWN), np.float32)
    for row, example in enumerate(drawn):
        both[row, : lengths[row]] = np.concatenate([example.vectors, centred(example.vectors)], axis=1)
        known[row, : lengths[row]] = pointer_network.features(example.vectors, example.breaks)
    return torch.from_numpy(both), torch.from_numpy(known), torch.tensor(lengths)


def offsets(drawn: Sequence[Example], units: int, reach: int) -> np.ndarray:
    """How many units on the segment of each unit ends: int64 `(texts, units)`; -1 past the text or out of reach."""
    found = np.full((len(drawn), units), -1, np.int64)
    for row, example in enumerate(drawn):
        n = len(example.vectors)
        ends = np.append(np.flatnonzero(example.boundaries), n - 1)
        far = ends[np.searchsorted(ends, np.arange(n))] - np.arange(n)
        found[row, :n] = np.where(far < reach, far, -1)
    return found


def _marked(texts: Sequence[Example]) -> bool:
    """Whether these texts have paragraphs."""
    return any(e.breaks.any() for e in texts)
