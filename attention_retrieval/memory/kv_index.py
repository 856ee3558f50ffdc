"""Searching inside caches: which tokens of many kept texts a question's heads would look at, all texts side by side.

    a_h(r, x) = exp(q_r . k_x) / sum over y in the opening and in all texts of exp(q_r . k_y)      (times the scaling)
    w(x)      = mean over heads h of  max(mean over rows r of a_h(r, x) - the same of a question of nothing, 0)

Rows are the tokens of the question, read behind the opening alone. Every text is placed right behind the opening, as if
it were the only one, and the question behind the longest: so a thousand texts fit a model whose window holds ten, and
none is favoured by its place. (Texts side by side: N. Ratner et al., "Parallel context windows for large language
models", 2023, arXiv 2212.10947; less what a question of nothing looks at: S. Chen et al., "Attention in large language
models yields efficient zero-shot re-rankers", 2024)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from fovea.attention_retrieval.cache import tensorfile
from fovea.attention_retrieval.index.state import part
from fovea.attention_retrieval.memory.read_text import ReadText, fill
from fovea.attention_retrieval.probes.through import Called, through
from fovea.attention_retrieval.probes.weights import Head
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.rounding import check_finite, decode, to_bf16
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import FoveaError, ModelError

FORMAT = 1
BLOCK = 1 << 16
"""Tokens whose weights are computed at a time."""
Queries = Mapping[Head, np.ndarray]
"""Of each head those of some rows, (rows, d), times the scaling."""


@dataclass(frozen=True)
class PointingKeys:
    """How a model reads texts for their `heads` alone: the keys that these look at, behind an opening.

    No further than the deepest of their layers is read.
    """

    lm: CausalLM
    rotation: Rotation
    heads: Sequence[Head]
    opening: ReadText

    @property
    def kv_heads(self) -> list[Head]:
        """The kv heads (layer, kv head) that the heads share, in order."""
        return sorted({(layer, head // self._group) for layer, head in self.heads})

    @property
    def _group(self) -> int:
        config = self.lm.model.config.get_text_config()
        kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        return int(config.num_attention_heads // kv_heads)

    def place(self, head: Head) -> int:
        """The number of a head's kv head among these."""
        return self.kv_heads.index((head[0], head[1] // self._group))

    def of(self, text: ReadText) -> np.ndarray:
        """Those of a text that every layer has read: (kv heads, tokens, d), un-rotated."""
        return np.stack([text.keys[layer, kv] for layer, kv in self.kv_heads])

    def read(self, ids: Sequence[int]) -> np.ndarray:
        """Those of `ids`, read behind the opening. Raises ModelError for a model that fails or cannot be looked at."""
        first, cache = len(self.opening), self._behind()
        self._until(_Queries({}, range(0)), ids, cache)
        layers = cast(list[DynamicLayer], cache.layers)
        kept = [cast(torch.Tensor, layers[layer].keys)[0, kv, first:] for layer, kv in self.kv_heads]
        keys = torch.stack(kept).float().cpu().numpy()
        return self.rotation.moved(keys, -np.arange(first, first + len(ids)))

    def ask(self, ids: Sequence[int], rows: range, distance: int) -> Queries:
        """The queries of the tokens `rows` of `ids`, which stand `distance` tokens behind the opening alone."""
        first, seen = len(self.opening) + distance, _Queries({}, rows)
        where = torch.arange(first, first + len(ids), device=self.lm.model.device)
        self._until(seen, ids, self._behind(), position_ids=where[None])
        return {(layer, head): seen.at[layer][head] for layer, head in self.heads}

    def _behind(self) -> DynamicCache:
        cache = DynamicCache(config=self.lm.model.config)
        fill(self.lm, cache, *self.opening.at(self.rotation, 0))
        return cache

    def _until(self, seen: _Queries, ids: Sequence[int], cache: DynamicCache, **given: Any) -> None:
        seen.last = max(layer for layer, _ in self.heads)
        with through(self.lm.model, seen), suppress(_Enough):
            self.lm.read(list(ids), cache, **given)


@dataclass(frozen=True)
class KVIndex:
    """The keys of many texts; `kv heads * d` float32 a token in memory, searched in time linear in the tokens."""

    reader: PointingKeys
    texts: Sequence[np.ndarray]
    """Of each text, of which there is one at least, what the reader read: (kv heads, tokens, d)."""

    @property
    def distance(self) -> int:
        """Where the question stands, in tokens behind the opening: behind the longest text."""
        return max(text.shape[1] for text in self.texts)

    def weights(self, asked: Queries, nothing: Queries) -> list[np.ndarray]:
        """What each token of each text gets beyond what `nothing`, the queries of no question, give it: w, (tokens,) a
        text.
        """
        heads = self.reader.heads
        more = (np.maximum(self._share(asked[head], head) - self._share(nothing[head], head), 0) for head in heads)
        ends = np.cumsum([text.shape[1] for text in self.texts])
        return np.split(sum(more) / np.float32(len(heads)), ends[:-1])

    def _share(self, queries: np.ndarray, head: Head) -> np.ndarray:
        """The mean over rows of softmax, (tokens,); with the opening's it sums to 1."""
        opening, keys = (each[self.reader.place(head)] for each in (self._opening, self._keys))
        first = queries @ opening.T
        logits = np.concatenate([queries @ keys[n : n + BLOCK].T for n in range(0, len(keys), BLOCK)], axis=1)
        most = np.maximum(first.max(axis=1), logits.max(axis=1))[:, None]
        weights = np.exp(logits - most)
        return (weights / (weights.sum(axis=1) + np.exp(first - most).sum(axis=1))[:, None]).mean(axis=0)

    @cached_property
    def _opening(self) -> np.ndarray:
        keys = self.reader.of(self.reader.opening)
        return self.reader.rotation.moved(keys, np.arange(keys.shape[1]))

    @cached_property
    def _keys(self) -> np.ndarray:
        """All texts' keys, each text right behind the opening: (kv heads, tokens, d)."""
        first, rotation = len(self.reader.opening), self.reader.rotation
        return np.concatenate([rotation.moved(t, np.arange(first, first + t.shape[1])) for t in self.texts], axis=1)


def save_keys(path: Path, keys: np.ndarray) -> None:
    """Write what a reader read of a text, as bf16; raises ModelError where it cannot be written."""
    tensorfile.write(path, {"keys": to_bf16(keys)}, {"format": FORMAT})


def load_keys(path: Path, reader: PointingKeys) -> np.ndarray:
    """What `save_keys` wrote; raises ModelError for a file that is damaged, or another reader's."""
    arrays, about = tensorfile.read(path)
    if about.get("format") != FORMAT:
        raise ModelError("this file holds no keys of a text", where=str(path), fix="read the text anew")
    try:
        keys = decode(part(arrays, "keys", np.uint16, (len(reader.kv_heads), None, reader.opening.keys.shape[3])))
        check_finite(keys)
    except FoveaError as error:
        raise error.at(str(path)) from None
    return keys


class _Enough(Exception):
    """The deepest layer that is wanted has its keys."""


@dataclass
class _Queries:
    """Keeps the queries of `rows` of every layer up to the last, where the call ends."""

    at: dict[int, np.ndarray]
    rows: range
    last: int = 0

    def __call__(self, called: Called, out: Any) -> Any:
        if len(self.rows):
            rows = called.query[0][:, self.rows.start : self.rows.stop] * called.scaling
            self.at[called.layer] = rows.float().cpu().numpy()
        if called.layer >= self.last:
            raise _Enough
        return out
