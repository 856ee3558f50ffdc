"""LexSemBridge as a module of a sentence-transformers model, so that a trained one saves, loads and pushes like any.

    SentenceTransformer(modules=[transformer, pooling, LexSemBridge(...), Normalize()])

The formulas are those of `fovea.retrievers.lexsembridge`. Queries alone are changed: what `encode_query` encodes, what
`encode(..., task="query")` does, and columns that the trainer's `router_mapping` calls "query". Plain `encode` and
`encode_document` give what the model gives without the module.

A model that holds it names the class `fovea.retrievers.modules.lexsembridge.LexSemBridge`, which is not part of
sentence-transformers: loading it needs Fovea installed and `trust_remote_code=True`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from fovea.rag.errors import ModelError

try:
    from sentence_transformers.base.modules import Module
except ImportError:  # sentence-transformers 5
    from sentence_transformers.models import Module  # type: ignore[no-redef]

Variant = Literal["slr", "llr", "clr"]
LONGEST_ROW = 3.0
"""The norm of a row of A, at most: longer ones saturate the softmax."""


class LexSemBridge(Module):
    """`normalise(softmax(A w + a) * q)` for queries; starts as the identity, since A and a start at zero."""

    forward_kwargs = {"task"}
    config_keys = ["variant", "kept", "dim", "width"]

    def __init__(self, variant: Variant, kept: int, dim: int, width: int | None = None) -> None:
        """`kept` tokens of the vocabulary count, in a space of `dim` numbers; `width` is that of the token states (LLR)
        or word vectors (CLR), `dim` if left out. Which tokens they are is set by `of`, `read` or loading.
        """
        super().__init__()
        self.variant, self.kept, self.dim, self.width = variant, kept, dim, width or dim
        self.tokens: torch.Tensor
        self.words: torch.Tensor
        self.register_buffer("tokens", torch.zeros(kept, dtype=torch.int64))
        self.matrix = nn.Parameter(torch.zeros(kept, dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        if variant == "slr":
            self.scale = nn.Parameter(torch.ones(1))
        elif variant == "llr":
            self.direction = nn.Parameter(torch.zeros(self.width))
            self.floor = nn.Parameter(torch.full((1,), 0.5))
        else:
            self.hidden = nn.Linear(dim, self.width)
            nn.init.eye_(self.hidden.weight)
            nn.init.zeros_(self.hidden.bias)
            self.register_buffer("words", torch.zeros(kept, self.width))

    @classmethod
    def of(
        cls, variant: Variant, tokens: Sequence[int], dim: int, *, words: torch.Tensor | None = None, width: int = 0
    ) -> LexSemBridge:
        """An untrained one for these tokens of the vocabulary; `words` `(vocabulary, width)` is the word embedding
        matrix of the model, which CLR needs.
        """
        ids = torch.tensor(sorted(set(tokens)), dtype=torch.int64)
        made = cls(variant, len(ids), dim, width or (words.shape[1] if words is not None else dim))
        made.tokens.copy_(ids)
        if variant == "clr":
            if words is None:
                raise ModelError("CLR needs the word embedding matrix of the model")
            made.words.copy_(words[ids])
        return made

    @classmethod
    def read(cls, variant: Variant, arrays: Mapping[str, Any]) -> LexSemBridge:
        """One with the arrays (NumPy, by name) that `fovea.retrievers.lexsembridge` reads."""
        kept, dim = arrays["matrix"].shape
        widths = {"llr": "direction", "clr": "words"}
        made = cls(variant, kept, dim, arrays[widths[variant]].shape[-1] if variant in widths else None)
        made.load_state_dict({name: torch.as_tensor(arrays[name]) for name in made.state_dict()})
        return made

    def forward(self, features: dict[str, Any], task: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Multiply `sentence_embedding` by `dim` s where the task is "query": s is 1 / dim on the average."""
        if (task or features.get("task")) == "query":
            features["sentence_embedding"] = features["sentence_embedding"] * self.shares(features) * self.dim
        return features

    def shares(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """s: float `(texts, dim)`, every row positive and of sum 1."""
        return torch.softmax(self.weights(features) @ self.matrix + self.bias, -1)

    def weights(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """w: float `(texts, kept)`, none under 0."""
        if self.variant == "clr":
            pooled = functional.normalize(features["sentence_embedding"], dim=-1) * self.dim**0.5
            hidden = functional.layer_norm(functional.gelu(self.hidden(pooled)), (self.width,))
            return torch.log1p(torch.relu(hidden @ self.words.T))
        ids, mask = features["input_ids"], features["attention_mask"] > 0
        rows = torch.searchsorted(self.tokens, ids).clamp(max=self.kept - 1)
        known = mask & (self.tokens[rows] == ids)
        if self.variant == "slr":
            there = self.scale.expand(ids.shape)
        else:
            there = torch.relu(features["token_embeddings"] @ self.direction + self.floor)
        rows = torch.where(known, rows, self.kept)  # what is not known goes to a column that is thrown away
        empty = torch.zeros(len(ids), self.kept + 1, dtype=there.dtype, device=there.device)
        return empty.scatter_reduce(1, rows, there, "amax", include_self=False)[:, :-1]

    @torch.no_grad()
    def clip(self) -> None:
        """Shorten rows of A that are longer than `LONGEST_ROW`."""
        self.matrix.copy_(torch.renorm(self.matrix, 2, 0, LONGEST_ROW))

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write settings and arrays, always as safetensors."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=True)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> LexSemBridge:  # type: ignore[override]
        """Read what `save` wrote. Raises ModelError where arrays are missing or others: never an identity instead."""
        keys = ("token", "cache_folder", "revision", "local_files_only")
        place: dict[str, Any] = {"subfolder": subfolder, **{key: kwargs[key] for key in keys if key in kwargs}}
        where = str(Path(model_name_or_path) / subfolder)
        path = cls.load_file_path(model_name_or_path, filename="model.safetensors", **place)
        if path is None:
            raise ModelError(
                "the modulation of LexSemBridge was not saved with its model: there is no model.safetensors",
                where=where,
                fix="save the whole model (model.save), or take the module out of modules.json",
            )
        try:
            made = cls(**cls.load_config(model_name_or_path, **place))
            made.load_state_dict(load_file(path))
        except Exception as error:  # damaged files raise as many kinds as there are libraries
            raise ModelError(f"the modulation of LexSemBridge cannot be read: {error}", where=where) from None
        return made
