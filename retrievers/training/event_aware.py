"""Training of the event head: several losses, in two stages, on cached vectors.

    L = L_rel + event L_event + keep L_keep + time L_time

    L_rel    InfoNCE of (q' . c + what times add) over a question's answers and hard negatives, temperature 0.05
    L_event  InfoNCE of q' between the events of an answer that fit the time, and the other events looked at
    L_keep   1 - q . q' of questions to which no event has to do
    L_time   cross-entropy of a small network on [q'; c; q' * c]: is the passage of the time asked for?

The first stage is coarse: whatever the document of an answer tells of the time asked for is right, by rule. In the
second only the answers are, and the negatives hold what the model of the first got wrong. Hard negatives of both: the
same document at another time, the same time in another document, and what lies nearest to the question. Kinds of
questions and the events they look at: `fovea.retrievers.training.timed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from fovea.rag import trace
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.retrievers.event_aware import ALARM, DROWNED
from fovea.retrievers.training.event_net import EventHead, info_nce
from fovea.retrievers.training.recipe import RetrieverRecipe
from fovea.retrievers.training.timed import Asking, Askings, World, askings

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection

SHARES = {"dated": 0.4, "drifting": 0.4, "timeless": 0.2}
"""How much of a batch each kind of question is, of those there are."""


class EventAwareRecipe(RetrieverRecipe):
    """Cross-attention from a question to events that had begun when it was asked, or by the time that it asks of."""

    method = "event_aware"

    steps: int = 450
    every: int = 30
    patience: int = 6
    weight_decay: float = 0.1
    coarse: int = Field(default=120, ge=0)
    """Steps of the first stage."""
    batch: PositiveInt = 64
    """Questions a step."""
    heads: PositiveInt = 4
    width: PositiveInt = 48
    """Numbers of a key, per head."""
    rank: PositiveInt = 16
    """Numbers of a value, per head, beside the events' own vectors."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of values left out at a step."""
    unseen: float = Field(default=0.15, ge=0, lt=1)
    """Share of events hidden at a step."""
    temperature: PositiveFloat = 0.05
    event: NonNegativeFloat = 0.5
    keep: NonNegativeFloat = 0.3
    time: NonNegativeFloat = 0.2
    top_events: PositiveInt = 16
    """Events that a question looks at."""
    moments: PositiveInt = 6
    """Moments at which a question without its date is asked."""
    negatives: PositiveInt = 20
    """Hard negatives of each sort."""
    scope: NonNegativeFloat = 3.0
    """Deviations that a perfect fit is worth, as in the retriever."""
    half_life: PositiveFloat = 1826.0
    """Days, as in the retriever."""
    situated: bool = True
    """Passages hold half the vector of their title and headings."""

    def head(self, dim: int, *, questions: int) -> EventHead:
        """A head that has learnt nothing."""
        sizes = {"heads": self.heads, "width": self.width, "rank": self.rank}
        missed = torch.full((questions, self.negatives), -1)
        return EventHead(dim, missed=missed, **sizes, dropout=self.dropout, unseen=self.unseen)

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> EventTask:
        """Encode passages, events and questions of both parts."""
        made = []
        for split in ("train", "dev"):
            parts = [part for c in collections if (part := c.part(split)).questions]
            worlds = [World.of(part, encoder, situated=self.situated) for part in parts]
            made.append(askings(worlds, encoder, top=self.top_events, moments=self.moments, seed=seed_of(seed, -1)))
        return EventTask(self, *made, seed=seed)


class EventTask(Task):
    """The head, and the questions of both parts."""

    model: EventHead

    def __init__(self, recipe: EventAwareRecipe, train: Askings, dev: Askings, *, seed: int) -> None:
        self.recipe, self.train, self.dev, self.seed = recipe, train, dev, seed
        torch.manual_seed(seed)
        self.model = recipe.head(train.events[0].shape[1], questions=len(train.askings))
        self.kinds = {k: [i for i, a in enumerate(train.askings) if a.kind == k] for k in SHARES}
        self.kinds = {kind: rows for kind, rows in self.kinds.items() if rows}
        self.candidates = [self._candidates(asking) for asking in train.askings]
        self.last_pull = 0.0

    def loss(self, step: int) -> torch.Tensor:
        """The four losses of a batch."""
        recipe, coarse = self.recipe, step < self.recipe.coarse
        if step == recipe.coarse:
            self._look_again()
        rng = np.random.default_rng(seed_of(self.seed, step))
        shares = np.array([SHARES[kind] for kind in self.kinds])
        kinds = rng.choice(len(shares), recipe.batch, p=shares / shares.sum())
        rows = [int(rng.choice(list(self.kinds.values())[kind])) for kind in kinds]
        batch = [self.train.askings[row] for row in rows]
        asked = torch.from_numpy(np.stack([asking.vector for asking in batch]))
        moved, gates, _ = self.model(asked, *self._events(self.train, batch))
        total = torch.zeros(())
        for i, (row, one) in enumerate(zip(rows, batch)):
            total = total + self._losses(row, one, asked[i], moved[i], gates[i], coarse=coarse)
        return total / len(batch)

    def _losses(
        self, row: int, one: Asking, asked: torch.Tensor, moved: torch.Tensor, gates: torch.Tensor, *, coarse: bool
    ) -> torch.Tensor:
        world, recipe = self.train.worlds[one.world], self.recipe
        missed = self.model.missed[row].numpy()
        found = np.union1d(self.candidates[row], missed[missed >= 0])
        gains, near = self._gains(self.train, one, found)
        right = np.isin(found, one.answers)
        if coarse and one.kind != "timeless":
            at_home = np.isin(world.documents[found], world.documents[one.answers])
            right |= at_home & (near.numpy() > 0.99)
        passages = torch.from_numpy(world.passages[found])
        logits = passages @ moved + self._added(one, gains, gates, world.spread)
        loss = info_nce(logits / recipe.temperature, torch.from_numpy(right))
        matching = torch.from_numpy(self._matching(self.train, one))
        if matching.any() and not matching.all():
            vectors = torch.from_numpy(self.train.events[0][one.events])
            loss = loss + recipe.event * info_nce(vectors @ moved / recipe.temperature, matching)
        if one.kind == "timeless":
            return loss + recipe.keep * (1 - moved @ asked)
        read = torch.cat([moved.expand_as(passages), passages, passages * moved], -1)
        inside = torch.nn.functional.binary_cross_entropy_with_logits(
            self.model.inside(read)[:, 0], (near > 0.99).float()
        )
        return loss + recipe.time * inside

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """InfoNCE over all passages of a question's world, mean of the kinds; MRR of each kind; mean gate and pull."""
        moved, gates, pulls = self._all(self.dev)
        losses: dict[str, list[float]] = {}
        places: dict[str, list[float]] = {}
        for one, vector, gate in zip(self.dev.askings, moved, gates):
            world = self.dev.worlds[one.world]
            every = np.arange(len(world.passages))
            gains, _ = self._gains(self.dev, one, every)
            logits = torch.from_numpy(world.passages) @ vector + self._added(one, gains, gate, world.spread)
            right = torch.zeros(len(every), dtype=torch.bool)
            right[torch.from_numpy(one.answers)] = True
            losses.setdefault(one.kind, []).append(float(info_nce(logits / self.recipe.temperature, right)))
            places.setdefault(one.kind, []).append(1 / (1 + int((logits > logits[right].max()).sum())))
        self.last_pull = float(pulls.mean())
        means = {f"MRR {kind}": float(np.mean(found)) for kind, found in places.items()}
        loss = float(np.mean([np.mean(found) for found in losses.values()]))
        return {"loss": loss, **means, "gate": float(gates[:, 0].mean()), "pull": self.last_pull}

    def arrays(self) -> dict[str, np.ndarray]:
        """The head in half precision."""
        return {name: value.detach().numpy().astype(np.float16) for name, value in self.model.used().items()}

    def about(self) -> dict[str, Any]:
        """The mean pull of events in the development part; a warning where they drown the questions."""
        trace.warn(DROWNED, self.last_pull > ALARM)
        return {"pull": round(self.last_pull, 3)}

    def _candidates(self, one: Asking) -> np.ndarray:
        """Answers and hard negatives: rows of the world's passages, rising."""
        world, count = self.train.worlds[one.world], self.recipe.negatives
        alike = world.passages @ one.vector
        same = np.isin(world.documents, world.documents[one.answers])
        near = world.spans.near(one.first, one.at)
        sorts = (alike, np.where(same, alike, -2), np.where(~same & (near > 0.99), alike, -2))
        return np.unique(np.concatenate([one.answers, *(np.argsort(-s, kind="stable")[:count] for s in sorts)]))

    def _look_again(self) -> None:
        """Keep what the model of the first stage puts highest and should not: in the model, so that a training that
        goes on from a checkpoint has the very same.
        """
        moved, gates, _ = self._all(self.train)
        for row, (one, vector, gate) in enumerate(zip(self.train.askings, moved, gates)):
            world = self.train.worlds[one.world]
            gains, _ = self._gains(self.train, one, np.arange(len(world.passages)))
            scores = torch.from_numpy(world.passages) @ vector + self._added(one, gains, gate, world.spread)
            scores[torch.from_numpy(one.answers)] = -9
            best = scores.topk(min(self.recipe.negatives, len(scores))).indices
            self.model.missed[row, : len(best)] = best

    def _all(self, askings: Askings) -> tuple[torch.Tensor, ...]:
        """q', gates and pulls of all questions of a part, as they are used."""
        was = self.model.training
        self.model.eval()
        with torch.no_grad():
            asked = torch.from_numpy(np.stack([asking.vector for asking in askings.askings]))
            parts = [
                self.model(asked[at : at + 256], *self._events(askings, askings.askings[at : at + 256]))
                for at in range(0, len(asked), 256)
            ]
        self.model.train(was)
        return tuple(map(torch.cat, zip(*parts)))

    def _events(self, askings: Askings, batch: Sequence[Asking]) -> tuple[torch.Tensor, ...]:
        """Vectors `(n, top, dim)`, tau and which are there, of the events that questions look at."""
        vectors, _, _ = askings.events
        found = np.zeros((len(batch), askings.top, vectors.shape[1]), np.float32)
        there = np.zeros((len(batch), askings.top), bool)
        for i, one in enumerate(batch):
            found[i, : len(one.events)], there[i, : len(one.events)] = vectors[one.events], True
        times = np.stack([askings.features(one) for one in batch])
        return torch.from_numpy(found), torch.from_numpy(times), torch.from_numpy(there)

    def _gains(self, askings: Askings, one: Asking, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """What times say of passages: T `(1, n)` of a dated question, `near` and R `(2, n)` of another; and `near`."""
        spans = askings.worlds[one.world].spans
        near = spans.near(one.first, one.at)[rows]
        if one.kind == "dated":
            gains = [spans.fit(one.first, one.at)[rows]]
        else:
            gains = [near, spans.recency(one.at, self.recipe.half_life)[rows]]
        return torch.from_numpy(np.stack(gains)), torch.from_numpy(near)

    def _added(self, one: Asking, gains: torch.Tensor, gates: torch.Tensor, spread: float) -> torch.Tensor:
        """What is added to the inner products, `(n,)`."""
        if one.kind == "dated":
            return self.recipe.scope * spread * gains[0]
        return gates[1] * spread * (self.model.scaled()["moment"] @ gains)

    def _matching(self, askings: Askings, one: Asking) -> np.ndarray:
        """Which of the events looked at an answer tells of, and are of the time asked for: bool `(events,)`."""
        if one.kind == "timeless":
            return np.zeros(len(one.events), bool)
        world, rows = askings.worlds[one.world], one.events - askings.before[one.world]
        of_time = (world.starts[rows] <= one.at) & (world.ends[rows] >= one.first)
        return of_time & np.isin(world.told_by[rows], one.answers)
