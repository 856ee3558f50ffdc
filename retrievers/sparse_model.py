"""A model of learned sparse vectors: how much each term of its vocabulary says of a text, most of them nothing.

SPLADE (Formal et al., 2021, arXiv:2109.10086) reads a text with a masked language model of logits w_tj for token t at
place j, and takes `max over j of log(1 + relu(w_tj))`. Models without inference for questions (Geng et al., 2024,
arXiv:2411.04403) look the terms of a question up in a table. Both, and others, are what sentence-transformers calls a
`SparseEncoder`; vectors are those of its `encode_query` and `encode_document`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fovea.rag import trace
from fovea.rag.encoder import Role
from fovea.rag.encoders.by_texts import reading
from fovea.rag.engines import load_torch
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.recipe import Recipe
from fovea.rag.windows import text_windows
from fovea.rag.wordpieces import readable

if TYPE_CHECKING:
    import numpy as np


class Weights(NamedTuple):
    """What a text says, by terms."""

    terms: np.ndarray
    """Numbers of terms of the vocabulary, int32, rising."""
    weights: np.ndarray
    """Float32, none of them 0."""


def check_kind(recipe: Recipe, name: str) -> None:
    """Raise ModelError for a model that says that it is none of sparse vectors; one that says nothing is tried."""
    if (recipe.path / "modules.json").exists() and recipe.model_type != "SparseEncoder":
        raise ModelError(
            f"{name} is a {recipe.model_type}, whose vectors are not sparse",
            where="retrieve learned_sparse",
            fix="a SparseEncoder, such as naver/splade-v3; or encoder: {use: sentence_transformer, model: ...}",
        )


class SparseModel:
    """A loaded model; raises ModelError where there is none that can be loaded."""

    def __init__(self, folder: Path, device: str, batch_size: int, max_active_dims: int | None) -> None:
        self._model = load_torch(folder, kind="SparseEncoder", device=device)
        self._batch_size, self._most = batch_size, max_active_dims or self._model.max_active_dims

    def weights(self, texts: Sequence[str], role: Role) -> list[Weights]:
        """One for each text. A text longer than the model reads is read in windows, of which each term's highest weight
        counts, as it does within one.
        """
        tokenizer, room = reading(self._model, role)
        if room is not None:
            room -= tokenizer.count(self._model.prompts.get(role) or "")
            if room < 1:
                raise ConfigError(f"the model's {role} prompt fills its window", where="retrieve learned_sparse")
        parts = [text_windows(readable(text), tokenizer, room) for text in texts]
        long = sum(len(found) > 1 for found in parts)
        trace.warn(f"texts longer than the {room} tokens that the sparse model reads were read in windows", long)
        rows = iter(self._rows([part for found in parts for part in found], role))
        return [_highest([next(rows) for _ in found], self._most) for found in parts]

    def _rows(self, texts: list[str], role: Role) -> list[Weights]:
        encode: Any = self._model.encode_query if role == "query" else self._model.encode_document
        try:
            found = encode(
                texts, batch_size=self._batch_size, show_progress_bar=False, save_to_cpu=True,
                max_active_dims=self._most,
            ).coalesce()  # fmt: skip
        except Exception as error:  # a model's own modules fail in as many ways as there are modules
            raise ModelError(f"the sparse model cannot encode: {type(error).__name__}: {error}") from error
        rows, terms = found.indices().numpy()
        return _by_row(rows, terms.astype("int32"), found.values().float().numpy(), len(texts))


def _by_row(rows: np.ndarray, terms: np.ndarray, weights: np.ndarray, count: int) -> list[Weights]:
    import numpy as np

    if not np.isfinite(weights).all():
        raise ModelError("the sparse model gave numbers that are not finite")
    edges = np.searchsorted(rows, np.arange(count + 1))
    return [Weights(terms[a:b], weights[a:b]) for a, b in pairwise(edges)]


def _highest(rows: Sequence[Weights], most: int | None) -> Weights:
    """Each term's highest weight over windows, and of those the `most` highest."""
    import numpy as np

    if len(rows) == 1:
        return rows[0]
    terms, inverse = np.unique(np.concatenate([row.terms for row in rows]), return_inverse=True)
    weights = np.full(len(terms), -np.inf, np.float32)
    np.maximum.at(weights, inverse, np.concatenate([row.weights for row in rows]))
    if most is not None and len(terms) > most:
        kept = np.sort(np.argsort(-weights, kind="stable")[:most])
        terms, weights = terms[kept], weights[kept]
    return Weights(terms, weights)
