"""Training of LexSemBridge's modulation on a frozen encoder: all vectors are made once, and A alone is learned, by
InfoNCE over the passages of a batch.

Queries are the collections' own questions, and keywords and parts of passages (`fovea.retrievers.training.queries`),
so that it learns from texts without questions too. Each brings passages that answer and some that the encoder takes
for answers (one in the paper).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch.nn import functional

from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.engines import load_torch
from fovea.rag.errors import ConfigError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.training.loop import seed_of
from fovea.rag.training.recipe import Task
from fovea.rag.wordpieces import ModelTokenizer
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.lexsembridge import SATURATED
from fovea.retrievers.modules.lexsembridge import LexSemBridge, Variant
from fovea.retrievers.training.asked import Asked
from fovea.retrievers.training.contrast import candidates_of, info_nce
from fovea.retrievers.training.queries import with_made
from fovea.retrievers.training.recipe import RetrieverRecipe

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection, Split

DEV_MADE = 2
"""Queries made of each passage of the development part: one of either kind."""
LONGEST = 64
"""Tokens of a query that are read in training; parts and questions are shorter."""


class LexSemBridgeRecipe(RetrieverRecipe):
    """LexSemBridge's modulation of the question's vector by its tokens; the encoder stays as it is."""

    method: ClassVar[str] = "lexsembridge"
    reads_questions: ClassVar[bool] = False

    steps: PositiveInt = 600
    every: PositiveInt = 50
    learning_rate: float = 2e-3
    """The highest. CLR, whose w is dense, needs a hundredth of it."""
    variant: Variant = "slr"
    """Where w comes from: the tokens, their states, or the question's vector."""
    vocabulary: PositiveInt = 3500
    """Tokens that have a row of A, at most: those that most training queries hold."""
    made: NonNegativeInt = 8
    """Queries made of each passage."""
    asked: float = Field(default=0.1, ge=0, le=1)
    """Share of a batch that is the collections' own questions, where they have some."""
    batch: PositiveInt = 256
    """Queries at a step."""
    negatives: NonNegativeInt = 3
    """Hard negatives a query: passages nearest to it that do not answer."""
    temperature: PositiveFloat = 0.05
    """Of InfoNCE."""

    def prepare(self, collections: Sequence[Collection], encoder: Encoder, seed: int) -> LexSemBridgeTask:
        """Make the queries, encode all, and make the module.

        Raises ConfigError for an encoder whose tokenizer does not number its tokens, and for data without queries.
        """
        train, dev = (Queries.of(self, collections, split, encoder, seed) for split in ("train", "dev"))
        return LexSemBridgeTask(self, train, dev, encoder, seed)


class Queries(NamedTuple):
    """Queries of one part, as the module reads them, and what answers them."""

    asked: Asked
    kinds: np.ndarray
    """"asked", "keywords" or "part", `(queries,)`."""
    features: dict[str, torch.Tensor]
    """Vectors `(queries, dim)`; token numbers, padded, and their mask; for LLR states in half precision."""

    @classmethod
    def of(
        cls, recipe: LexSemBridgeRecipe, collections: Sequence[Collection], split: Split, encoder: Encoder, seed: int
    ) -> Queries:
        """Make and encode the queries of a part."""
        rng = np.random.default_rng(seed_of(seed, -1 if split == "train" else -2))
        made = recipe.made if split == "train" else DEV_MADE
        both = [with_made(one, split, encoder.tokenizer, rng, made) for one in collections]
        kinds = np.array([kind for one, found in both if one.questions for kind in found])
        if not len(kinds):
            raise ConfigError(f"no question for {split!r}, and no passage to make one of", where="--data")
        parts = [one for one, _ in both]
        asked = Asked.of(parts, encoder, DenseRetriever(), recipe.negatives if split == "train" else 0)
        texts = [question.query.text for one in parts for question in one.questions]
        features = {"sentence_embedding": torch.from_numpy(asked.questions), **_tokens(texts, encoder, recipe.variant)}
        return cls(asked, kinds, features)

    def draw(self, count: int, share: float, rng: np.random.Generator) -> np.ndarray:
        """`count` queries, a share of them questions of the collections, where there are some of either."""
        asked, made = np.flatnonzero(self.kinds == "asked"), np.flatnonzero(self.kinds != "asked")
        few = round(count * share) if len(asked) and len(made) else count * bool(len(asked))
        return np.concatenate(
            [some[rng.integers(len(some), size=n)] for some, n in ((asked, few), (made, count - few)) if n]
        )

    def rows(self, at: np.ndarray | slice) -> dict[str, torch.Tensor]:
        """What the module reads of some queries, in float32."""
        found = {name: value[at] for name, value in self.features.items()}
        return {name: value.float() if value.is_floating_point() else value for name, value in found.items()}

    def places(self, products: np.ndarray) -> np.ndarray:
        """The place, from 0, of the best answer to each query among its collection's passages, by `products`
        `(queries, passages)`.
        """
        found = []
        for i, (row, relevant) in enumerate(zip(products, self.asked.relevant)):
            found.append((row[self.asked.homes == self.asked.home(i)] > row[relevant].max()).sum())
        return np.array(found)


class LexSemBridgeTask(Task):
    """The module, queries and passages."""

    model: LexSemBridge

    def __init__(self, recipe: LexSemBridgeRecipe, train: Queries, dev: Queries, encoder: Encoder, seed: int) -> None:
        self.recipe, self.train, self.dev, self.seed = recipe, train, dev, seed
        self.tokenizer = _numbering(encoder)
        words = torch.from_numpy(word_vectors(encoder)) if recipe.variant == "clr" else None
        states = train.features.get("token_embeddings")
        width = states.shape[2] if states is not None else 0
        torch.manual_seed(seed)
        self.model = LexSemBridge.of(recipe.variant, self._kept(), encoder.dim, words=words, width=width)

    def _kept(self) -> list[int]:
        """The tokens that most queries hold."""
        ids, mask = self.train.features["input_ids"].numpy(), self.train.features["attention_mask"].numpy() > 0
        held = Counter(i for row, there in zip(ids, mask) for i in set(row[there].tolist()))
        common = sorted(held.keys() - self.tokenizer.special_ids, key=lambda i: (-held[i], i))
        return common[: self.recipe.vocabulary]

    def loss(self, step: int) -> torch.Tensor:
        """InfoNCE of a batch of queries."""
        self.model.clip()
        at = self.train.draw(self.recipe.batch, self.recipe.asked, np.random.default_rng(seed_of(self.seed, step)))
        rows, answers = candidates_of(self.train.asked, at.tolist())
        passages = torch.from_numpy(self.train.asked.passages[rows])
        return info_nce(self.turned(self.train, at), passages, torch.from_numpy(answers), self.recipe.temperature)

    def scores(self) -> dict[str, float]:
        """1 - MRR@10, the mean of the kinds of queries, and each of them; how many questions are saturated."""
        products = self.turned(self.dev, slice(None)) @ torch.from_numpy(self.dev.asked.passages).T
        places = self.dev.places(products.numpy())
        missed = 1 - np.where(places < 10, 1 / (1 + places), 0)
        kinds = {kind: float(missed[self.dev.kinds == kind].mean()) for kind in sorted({*self.dev.kinds.tolist()})}
        most = self.model.shares(self.dev.rows(slice(None))).max(-1).values
        saturated = float((most > SATURATED / self.model.dim).float().mean())
        by_kind = {f"1 - MRR@10 {kind}": value for kind, value in kinds.items()}
        return {"1 - MRR@10": float(np.mean([*kinds.values()])), **by_kind, "saturated": saturated}

    def arrays(self) -> dict[str, np.ndarray]:
        """The module; matrices with a row a token in 8 bits, other matrices in float16."""
        return packed({name: value.detach().numpy() for name, value in self.model.state_dict().items()})

    def about(self) -> dict[str, Any]:
        """The variant, and whose tokens it reads."""
        names = {"tokenizer": self.tokenizer.identity, "tokenizer_name": self.tokenizer.label}
        return {"variant": self.recipe.variant, **names}

    def turned(self, queries: Queries, at: np.ndarray | slice) -> torch.Tensor:
        """The vectors of some queries after the modulation, of unit length."""
        return functional.normalize(self.model(queries.rows(at), task="query")["sentence_embedding"], dim=-1)


def _tokens(texts: Sequence[str], encoder: Encoder, variant: Variant) -> dict[str, torch.Tensor]:
    """Token numbers and mask `(texts, longest)`, and for LLR states `(texts, longest, width)`."""
    tokenizer = _numbering(encoder)
    states = [one.states for one in encoder.token_states(texts, "query")] if variant == "llr" else []
    rows = [torch.tensor(row[:LONGEST], dtype=torch.int64) for row in tokenizer.ids(texts)]
    pad = torch.nn.utils.rnn.pad_sequence
    found = {"input_ids": pad(rows, True), "attention_mask": pad([torch.ones_like(row) for row in rows], True)}
    if states:
        found["token_embeddings"] = pad([torch.from_numpy(one[:LONGEST]).half() for one in states], True)
    return found


def _numbering(encoder: Encoder) -> ModelTokenizer:
    tokenizer = encoder.tokenizer
    if not isinstance(tokenizer, ModelTokenizer):
        raise ConfigError(
            f"LexSemBridge reads token numbers, which the tokenizer of {encoder.name} does not give",
            where="--encoder",
            fix="--encoder '{use: sentence_transformer, ...}'",
        )
    return tokenizer


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
