"""Training of LexSemBridge's modulation on a frozen encoder: all vectors are made once, and A alone is learned.

    loss = -log exp(q' . p+ / t) / sum over the candidates p of exp(q' . p / t)

Candidates are the passages of the whole batch: for each query one that answers it and, as in the paper, one that the
encoder takes for an answer and that is none. Queries are the collections' own questions, and keywords and parts of the
passages of documents that are to train on (`retrievers.training.queries`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch.nn import functional

from rag.encoders.sentence_transformer import SentenceTransformerEncoder
from rag.engines import load_torch
from rag.errors import ConfigError
from rag.remember import RememberingEncoder
from rag.training.loop import seed_of
from rag.training.recipe import Task
from rag.wordpieces import ModelTokenizer
from retrievers.lexsembridge import SATURATED
from retrievers.modules.lexsembridge import LexSemBridge, Variant
from retrievers.training.pool import Pool
from retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from retrievers.collection import Collection

DEV_MADE = 2
"""Queries made of each passage of the development part: one of either kind."""
LLR_LONGEST = 64
"""Tokens of a query whose states are kept for training; parts and questions are shorter."""


class LexSemBridgeRecipe(RetrieverRecipe):
    """LexSemBridge's modulation of the question's vector by its tokens; the encoder stays as it is."""

    method: ClassVar[str] = "lexsembridge"

    steps: PositiveInt = 600
    every: PositiveInt = 50
    learning_rate: float = 5e-3
    variant: Variant = "slr"
    """Where w comes from: the tokens, their states, or the question's vector."""
    vocabulary: PositiveInt = 3500
    """Tokens that have a row of A, at most: those that most training queries hold."""
    made: PositiveInt = 3
    """Queries made of each passage."""
    asked: float = Field(default=0.25, ge=0, le=1)
    """Share of a batch that is questions of the collections, where they have some."""
    batch: PositiveInt = 256
    """Queries at a step."""
    hard: PositiveInt = 8
    """The wrong passage is one of so many that are nearest to the query."""
    temperature: PositiveFloat = 0.05
    """t of the loss."""

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> Task:
        """Make the queries, encode all, and make the module.

        Raises ConfigError for an encoder whose tokenizer does not number its tokens, and where a part has no passages.
        """
        if not isinstance(encoder.tokenizer, ModelTokenizer):
            raise ConfigError(
                f"LexSemBridge reads token numbers, which the tokenizer of {encoder.name} does not give",
                where="--encoder",
                fix="--encoder '{use: sentence_transformer, ...}'",
            )
        train = Pool.of(collections, "train", encoder, np.random.default_rng(seed_of(seed, -1)), self.made)
        dev = Pool.of(collections, "dev", encoder, np.random.default_rng(seed_of(seed, -2)), DEV_MADE)
        return LexSemBridgeTask(self, train, dev, encoder, seed)


@dataclass(frozen=True)
class Inputs:
    """Queries as the module reads them."""

    features: dict[str, torch.Tensor]

    @classmethod
    def of(cls, pool: Pool, variant: Variant, encoder: Encoder) -> Inputs:
        """Vectors `(queries, dim)`, and token numbers, padded, with their states where the variant reads them."""
        tokenizer = encoder.tokenizer
        assert isinstance(tokenizer, ModelTokenizer)
        if variant != "llr":
            rows = [np.array(row, np.int64) for row in tokenizer.ids(pool.queries)]
        else:
            found = encoder.token_states(pool.queries, "query")
            rows = [one.ids[:LLR_LONGEST] for one in found]
        longest = max(map(len, rows))
        features = {
            "sentence_embedding": torch.from_numpy(pool.asked),
            "input_ids": torch.zeros(len(rows), longest, dtype=torch.int64),
            "attention_mask": torch.zeros(len(rows), longest, dtype=torch.int64),
        }
        for i, row in enumerate(rows):
            features["input_ids"][i, : len(row)] = torch.from_numpy(row)
            features["attention_mask"][i, : len(row)] = 1
        if variant == "llr":
            features["token_embeddings"] = torch.zeros(len(rows), longest, found[0].states.shape[1], dtype=torch.half)
            for i, row in enumerate(rows):
                features["token_embeddings"][i, : len(row)] = torch.from_numpy(found[i].states[: len(row)])
        return cls(features)

    def rows(self, at: np.ndarray | slice) -> dict[str, torch.Tensor]:
        """Some of the queries, in float32."""
        return {
            name: value[at].float() if value.is_floating_point() else value[at] for name, value in self.features.items()
        }


class LexSemBridgeTask(Task):
    """The module, queries and passages."""

    model: LexSemBridge

    def __init__(self, recipe: LexSemBridgeRecipe, train: Pool, dev: Pool, encoder: Encoder, seed: int) -> None:
        self.recipe, self.seed, self.train, self.dev = recipe, seed, train, dev
        self.inputs, self.dev_inputs = (Inputs.of(pool, recipe.variant, encoder) for pool in (train, dev))
        self.wrong = train.nearest_wrong(recipe.hard)
        self.vectors, self.dev_vectors = torch.from_numpy(train.vectors), torch.from_numpy(dev.vectors)
        tokenizer = encoder.tokenizer
        assert isinstance(tokenizer, ModelTokenizer)
        self.tokenizer = tokenizer
        words = torch.from_numpy(word_vectors(encoder)) if recipe.variant == "clr" else None
        states = self.inputs.features.get("token_embeddings")
        width = states.shape[2] if states is not None else 0
        torch.manual_seed(seed)
        self.model = LexSemBridge.of(recipe.variant, self._kept(), encoder.dim, words=words, width=width)

    def _kept(self) -> list[int]:
        ids, mask = self.inputs.features["input_ids"].numpy(), self.inputs.features["attention_mask"].numpy() > 0
        held = Counter(i for row, there in zip(ids, mask) for i in set(row[there].tolist()))
        common = sorted(held.keys() - self.tokenizer.special_ids, key=lambda i: (-held[i], i))
        return common[: self.recipe.vocabulary]

    def loss(self, step: int) -> torch.Tensor:
        """Cross-entropy over the candidates; other passages that answer a query too are none of its candidates."""
        self.model.clip()
        rng = np.random.default_rng(seed_of(self.seed, step))
        at = self.train.draw(self.recipe.batch, self.recipe.asked, rng)
        right = self.train.one_right(at, rng)
        wrong = self.wrong[at, rng.integers(self.wrong.shape[1], size=len(at))]
        candidates = np.concatenate([right, wrong])
        scores = self._turned(self.inputs, at) @ self.vectors[candidates].T / self.recipe.temperature
        also = torch.from_numpy(self.train.answers(at, candidates))
        also[torch.arange(len(at)), torch.arange(len(at))] = False
        return functional.cross_entropy(scores.masked_fill(also, -torch.inf), torch.arange(len(at)))

    def scores(self) -> dict[str, float]:
        """1 - MRR@10, the mean of the kinds of queries, and each of them; how many questions are saturated."""
        places = self.dev.places((self._turned(self.dev_inputs, slice(None)) @ self.dev_vectors.T).numpy())
        found = 1 - np.where(places < 10, 1 / (1 + places), 0)
        kinds = {kind: float(found[self.dev.kinds == kind].mean()) for kind in dict.fromkeys(self.dev.kinds.tolist())}
        most = self.model.shares(self.dev_inputs.rows(slice(None))).max(-1).values
        saturated = float((most > SATURATED / self.model.dim).float().mean())
        by_kind = {f"1 - MRR@10 {kind}": value for kind, value in kinds.items()}
        return {"1 - MRR@10": float(np.mean([*kinds.values()])), **by_kind, "saturated": saturated}

    def arrays(self) -> dict[str, np.ndarray]:
        """The module; matrices of a row a token in 8 bits, other matrices in float16."""
        return packed({name: value.detach().numpy() for name, value in self.model.state_dict().items()})

    def about(self) -> dict[str, Any]:
        """The variant, and whose tokens it reads."""
        names = {"tokenizer": self.tokenizer.identity, "tokenizer_name": self.tokenizer.label}
        return {"variant": self.recipe.variant, **names}

    def _turned(self, inputs: Inputs, at: np.ndarray | slice) -> torch.Tensor:
        return functional.normalize(self.model(inputs.rows(at), task="query")["sentence_embedding"], dim=-1)


def packed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays for the disk: rows of A and E in 8 bits under their name, with a scale a row under `NAME.scale`."""
    found = {name: array.astype(np.float16) if array.ndim == 2 else array for name, array in arrays.items()}
    found["tokens"] = found["tokens"].astype(np.int32)
    for name in ("matrix", "words"):
        if name in arrays:
            scale = np.abs(arrays[name]).max(1) / 127
            rows = np.round(arrays[name] / np.maximum(scale, 1e-12)[:, None])
            found[name], found[f"{name}.scale"] = rows.astype(np.int8), scale.astype(np.float32)
    return found


def word_vectors(encoder: Encoder) -> np.ndarray:
    """The input embeddings of the encoder's model, float32 `(vocabulary, width)`."""
    while isinstance(encoder, RememberingEncoder):
        encoder = encoder.behind
    if not isinstance(encoder, SentenceTransformerEncoder):
        raise ConfigError(
            f"CLR needs the word vectors of a transformer, which {encoder.name} does not have",
            where="--set variant=clr",
        )
    return load_torch(encoder.recipe.path)[0].auto_model.get_input_embeddings().weight.detach().float().numpy()
