"""Training of SAGE's segmentation model: pairs of blocks, of one topic or of two.

A pair of one topic is two blocks that meet at a gap; what a pair of two topics is, is the whole difference:

    paragraphs   the blocks meet where a paragraph ends                                  recipe P
    sections     the blocks meet where a section ends                                    recipe S
    random       the second block comes from elsewhere, a share `same_article` of them   recipe R: positives=paragraph,
                 from the same text                                                      block=1; W3: block=3

Pairs across literal breaks teach the conventions of writing (how a paragraph begins), random ones teach subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import nn

from fovea.rag.errors import ConfigError
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.segmenters.gaps import Probability
from fovea.segmenters.sage import SageSegmenter, change, same_topic
from fovea.segmenters.training.measure import Best, Scored, auc, best_threshold, chosen, examples
from fovea.segmenters.training.recipe import SegmenterRecipe
from fovea.segmenters.training.sampling import Example, spliced
from fovea.segmenters.training.stacked import Stacked

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.sectioned import Sectioned

Part = Literal["paragraph", "section"]
Features = Literal["all", "difference", "product", "plain"]
DEV_PAIRS, DEV_SPLICES = 4000, 60
"""How many the development part is measured on."""


class SageRecipe(SegmenterRecipe):
    """SAGE's segmentation model: from the vectors of two neighbouring blocks, whether they are of one topic."""

    method: ClassVar[str] = "sage"

    steps: PositiveInt = 1600
    every: PositiveInt = 200
    weight_decay: float = 0.02
    negatives: Literal["paragraphs", "sections", "random"] = "random"
    """What pairs of two topics are made of."""
    positives: Part = "section"
    """What both blocks of a pair of one topic lie in."""
    block: PositiveInt = 4
    """Units in a block, at most; each is drawn between 1 and this."""
    same_article: Probability = 0.5
    """Of random negatives, how many are from the same text."""
    features: Features = "all"
    """What the network reads beside x1 and x2: x1 - x2, x1 * x2, both, or neither."""
    hidden: PositiveInt = 256
    """Width of the network."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of hidden numbers left out at a step."""
    batch: PositiveInt = 256
    """Pairs at a step, half of either kind."""

    def prepare(self, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int) -> Task:
        """Encode the texts, and make the network."""
        return SageTask(self, train, dev, encoder, seed)


class Pairs(NamedTuple):
    """Pairs of blocks: float32 `(pairs, dim)` each, and whether they are of one topic, `(pairs,)`."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray


class Network(nn.Module):
    """sigmoid's argument of S, for blocks `(pairs, dim)`."""

    def __init__(self, dim: int, recipe: SageRecipe) -> None:
        super().__init__()
        self.hidden = nn.Linear(4 * dim, recipe.hidden)
        self.out = nn.Linear(recipe.hidden, 1)
        self.drop = nn.Dropout(recipe.dropout)
        self.reads: torch.Tensor
        reads = [1, 1, recipe.features in ("all", "difference"), recipe.features in ("all", "product")]
        self.register_buffer("reads", torch.tensor(reads, dtype=torch.float32).repeat_interleave(dim), persistent=False)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Float `(pairs,)`."""
        read = torch.cat([left, right, left - right, left * right], -1) * self.reads
        return self.out(self.drop(torch.relu(self.hidden(read))))[:, 0]


class SageTask(Task):
    """The network and its pairs."""

    model: Network

    def __init__(
        self, recipe: SageRecipe, train: Sequence[Sectioned], dev: Sequence[Sectioned], encoder: Encoder, seed: int
    ) -> None:
        self.recipe, self.seed = recipe, seed
        self.stacked = Stacked.of(examples(train, encoder))
        self.dev = [text for text in dev if len(text.units) > 1]
        found = examples(self.dev, encoder)
        rng = np.random.default_rng(seed_of(seed, -1))
        self.pairs = draw(Stacked.of(found), recipe, DEV_PAIRS, rng)
        self.whole = [example.vectors for example in found]
        self.spliced = [spliced(rng, found, marked=0) for _ in range(DEV_SPLICES)]
        torch.manual_seed(seed)
        self.model = Network(self.stacked.vectors.shape[1], recipe)

    def loss(self, step: int) -> torch.Tensor:
        """Cross-entropy."""
        pairs = draw(self.stacked, self.recipe, self.recipe.batch, np.random.default_rng(seed_of(self.seed, step)))
        left, right, same = map(torch.from_numpy, pairs)
        return nn.functional.binary_cross_entropy_with_logits(self.model(left, right), same)

    def scores(self) -> dict[str, float]:
        """Mean Pk at the best thresholds; 1 - AUC and errors over pairs."""
        logits = self.model(*map(torch.from_numpy, self.pairs[:2])).numpy()
        wrong = float(((logits > 0) != (self.pairs.same > 0)).mean())
        pk = float(np.mean([best.pk for best in self._thresholds().values()]))
        return {"pk": pk, "1 - auc": 1 - auc(logits, self.pairs.same), "wrong pairs": wrong}

    def arrays(self) -> dict[str, np.ndarray]:
        """The network in float16; columns of features it does not read are zero."""
        found = {name: value.detach().numpy() for name, value in self.model.state_dict().items()}
        found["hidden.weight"] = found["hidden.weight"] * self.model.reads.numpy()
        return {name: array.astype(np.float16) for name, array in found.items()}

    def about(self) -> dict[str, Any]:
        """The block and the thresholds to use."""
        best = self._thresholds()
        return {"block": self.recipe.block, "thresholds": {kind: found.threshold for kind, found in best.items()}}

    def _thresholds(self) -> dict[str, Best]:
        """For texts with paragraphs the best. For others a half, where the network sees one topic as likely as two:
        what is best for spliced texts of one's own is not so for those of others.
        """
        arrays = {name: array.astype(np.float32) for name, array in self.arrays().items()}

        def scored(texts: Sequence[Example | Sectioned], vectors: Sequence[np.ndarray]) -> list[Scored]:
            return [(same_topic(v, arrays, self.recipe.block), text) for text, v in zip(texts, vectors)]

        use = SageSegmenter()
        whole = scored(self.dev, self.whole)
        made = scored(self.spliced, [example.vectors for example in self.spliced])
        marked = [one for one in whole if use.at_paragraphs(one[1].units)]  # type: ignore[union-attr]

        def choose(threshold: float, one: Scored) -> np.ndarray:
            return chosen(use, change(one[0], threshold), one[1])

        anywhere = best_threshold(made, choose, [0.5])
        return {"paragraphs": best_threshold(marked, choose) if marked else anywhere, "all": anywhere}


def draw(stacked: Stacked, recipe: SageRecipe, count: int, rng: np.random.Generator) -> Pairs:
    """`count` pairs, the first half of one topic and the others of two."""
    half = count // 2
    gaps = _one_topic(stacked, recipe)
    gaps = gaps[rng.integers(len(gaps), size=half)]
    ones = _blocks(stacked, recipe, gaps, gaps + 1, rng)
    twos = _blocks(stacked, recipe, *_two_topics(stacked, recipe, half, rng), rng)
    left, right = (np.concatenate(both) for both in zip(ones, twos))
    return Pairs(left, right, np.repeat(np.array([1, 0], np.float32), half))


def _one_topic(stacked: Stacked, recipe: SageRecipe) -> np.ndarray:
    """Gaps that both blocks of a pair of one topic may meet at."""
    part = getattr(stacked, recipe.positives)
    return _some(np.flatnonzero(part[1:] == part[:-1]), f"a {recipe.positives} of two units")


def _two_topics(
    stacked: Stacked, recipe: SageRecipe, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where the left blocks end and the right ones begin: int `(count,)` each."""
    part = getattr(stacked, recipe.positives)
    if recipe.negatives == "random":
        return _from_elsewhere(stacked, part, recipe.same_article, count, rng)
    part = getattr(stacked, recipe.negatives.removesuffix("s"))
    gaps = _some(_breaks(stacked, part), f"a text of two {recipe.negatives}")
    gaps = gaps[rng.integers(len(gaps), size=count)]
    return gaps, gaps + 1


def _from_elsewhere(
    stacked: Stacked, part: np.ndarray, near: float, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of units of different parts, a share `near` of them in the same text."""
    if near > 0:
        _some(_breaks(stacked, part), "a text of two sections or paragraphs")
    if near < 1:
        _some(np.flatnonzero(np.diff(stacked.text)), "two texts", "more texts, or --set same_article=1")
    first, last = stacked.spans["text"]
    ends, starts = np.zeros((2, count), np.int64)
    same = rng.random(count) < near
    left = np.ones(count, bool)
    while left.any():
        ends[left] = rng.integers(len(stacked), size=left.sum())
        starts[left] = rng.integers(len(stacked), size=left.sum())
        inside = left & same
        starts[inside] = rng.integers(first[ends[inside]], last[ends[inside]])
        left = (part[ends] == part[starts]) | (same != (stacked.text[ends] == stacked.text[starts]))
    return ends, starts


def _breaks(stacked: Stacked, part: np.ndarray) -> np.ndarray:
    """The gaps inside texts where a part ends."""
    return np.flatnonzero((part[1:] != part[:-1]) & (stacked.text[1:] == stacked.text[:-1]))


def _blocks(
    stacked: Stacked, recipe: SageRecipe, ends: np.ndarray, starts: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The blocks that end at units `ends` and that begin at `starts`, of random sizes."""
    before, after = rng.integers(1, recipe.block + 1, (2, len(ends)))
    within = recipe.positives
    return stacked.blocks(ends, before, -1, within), stacked.blocks(starts, after, 1, within)


def _some(found: np.ndarray, what: str, fix: str = "") -> np.ndarray:
    if not len(found):
        raise ConfigError(f"the texts to train on hold no {what.removeprefix('a ')}", where="--data", fix=fix)
    return found
