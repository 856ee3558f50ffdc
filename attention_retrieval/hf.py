"""The way into transformers: every public hook that a RetrievalCache uses is in this file.

    the attention interface        `fovea_retrieval`, named by attn_implementation
    the attention mask interface   the same name; the mask stays 2-D where attention is plainly causal
    the cache classes              RetrievalCache, a DynamicCache whose full-attention layers are RetrievalLayers

A model hands new keys and values to the cache and what comes back to the attention function, but not the cache. So the
layer marks the keys that it returns with itself. Layers with a sliding window, and everything that is called without a
RetrievalCache, go the way of `sdpa`.
"""

from __future__ import annotations

import weakref
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from transformers.cache_utils import CacheLayerMixin, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from fovea.attention_retrieval.device import DecodingRow
from fovea.attention_retrieval.methods.retrieval import Retrieval
from fovea.attention_retrieval.report import HeadReport, Report
from fovea.rag.errors import ConfigError, ModelError

IMPLEMENTATION = "fovea_retrieval"
FIRST, PAST = (5, 20), (6, 0)
USE = f'model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="{IMPLEMENTATION}")'


class RetrievalCache(DynamicCache):
    """A cache whose decoding steps read the keys that they search for, not all of them.

    `model.generate(**inputs, past_key_values=cache)` is all there is to it; the model must have been loaded with
    `attn_implementation="fovea_retrieval"`. Sliding-window layers are left as they are. A text is read once and asked
    many times: `save`, `load`, and `crop` back to the text after an answer.

    Raises ConfigError for a model with another implementation; ModelError, when it is used, for beam search, for a
    mask that is not causal, and for keys that are not finite.
    """

    def __init__(self, config: Any, settings: Retrieval | None = None) -> None:
        implementation = getattr(config, "_attn_implementation", None)
        if implementation != IMPLEMENTATION:
            raise ConfigError(
                f"a RetrievalCache needs a model whose attention is {IMPLEMENTATION}, not {implementation}", fix=USE
            )
        super().__init__(config=config)
        self.settings = settings or Retrieval()
        self.layers = [
            RetrievalLayer(self.settings, n) if type(layer) is DynamicLayer else layer
            for n, layer in enumerate(self.layers)
        ]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hand new tokens to layer `layer_idx`; raises ModelError where an interrupted step has left layers apart."""
        ours = [layer for layer in self.layers if isinstance(layer, RetrievalLayer)]
        if ours and self.layers[layer_idx] is ours[0] and len({layer.seen for layer in ours}) > 1:
            what = "a step was interrupted between two layers of the model, so they hold different tokens"
            raise ModelError(what, fix="cache.crop(0) takes all layers back to before that step")
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; pass their number as a negative one, as transformers does.

        After a step that was interrupted, this also brings layers that had gone on back to those that had not.
        """
        counted = [layer for layer in self.layers if isinstance(layer, CacheLayerMixin)]
        length = min(layer.get_seq_length() for layer in counted) + tokens_to_remove
        for layer in self.layers:
            remove = length - layer.get_seq_length() if isinstance(layer, CacheLayerMixin) else tokens_to_remove
            cast(Any, layer).crop(min(remove, 0))

    def report(self) -> Report:
        """What was searched so far, per layer and head of the first sequence."""
        rows = [layer.rows[0].cache for layer in self.layers if isinstance(layer, RetrievalLayer) and layer.rows]
        heads = [
            HeadReport(
                layer=stats.layer,
                head=stats.head,
                engine=row.engine.name if row.engine else "all" if row.settings.top_k else "none",
                tokens=len(row),
                indexed=row.indexed - row.settings.sinks,
                searches=stats.searches,
                scanned=stats.scanned_share,
                bytes=stats.bytes / stats.searches if stats.searches else None,
                recall=stats.recall,
                select=stats.select / stats.searches if stats.searches else None,
                attend=stats.attend / stats.searches if stats.searches else None,
                build=stats.build,
                insert=stats.insert,
                key_bytes=row.bytes_of(stats.head)[0],
                index_bytes=row.bytes_of(stats.head)[1],
            )
            for row in rows
            for stats in row.stats
        ]
        return Report(heads, rows[0].why if rows else "nothing was read yet")

    def attention(self, sequence: int = 0) -> np.ndarray:
        """What each token got of the attention of the tokens that were decoded, (full-attention layers, tokens).

        Means over query heads and decoded tokens; a layer's row sums to 1, or to less by what a
        correction stands for, which is no single token's; it is zero before the first decoded token.
        Raises ConfigError unless `watch` is set.
        """
        if not self.settings.watch:
            raise ConfigError("attention is not kept", fix="Retrieval(watch=True)")
        rows = [layer.rows[sequence].cache for layer in self.layers if isinstance(layer, RetrievalLayer) and layer.rows]
        longest = max((len(row) for row in rows), default=0)
        whole = [np.pad(row.attention, (0, longest))[:longest] / max(row.watched, 1) for row in rows]
        return np.stack(whole) if whole else np.zeros((0, 0))

    def save(self, path: str | Path) -> None:
        """Write text and indexes to one file, whole or not at all; `load` maps it into memory."""
        from fovea.attention_retrieval.saved import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> RetrievalCache:
        """The cache that was saved; raises ModelError, naming the part, for a file that is damaged.

        That it was made by another model is said when a model first uses it.
        """
        from fovea.attention_retrieval.saved import load

        return load(cls, Path(path))


class RetrievalLayer(CacheLayerMixin):
    """One layer; a `DecodingRow` for each sequence of the batch."""

    is_croppable = True
    is_sliding = False
    supports_early_init = False

    def __init__(self, settings: Retrieval, layer: int) -> None:
        super().__init__()
        self.settings, self.layer = settings, layer
        self.rows: list[DecodingRow] = []
        self.seen = 0
        self.new: tuple[torch.Tensor, torch.Tensor] | None = None
        self.model: str | None = None
        self.known: weakref.ref[Any] | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make the rows, now that shapes are known."""
        if key_states.shape[-1] != value_states.shape[-1]:
            raise ModelError(f"keys of width {key_states.shape[-1]} and values of {value_states.shape[-1]} do not fit")
        batch, heads, _, d = key_states.shape
        self.rows = [DecodingRow(self.settings, self.layer, heads, d) for _ in range(batch)]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hold the new tokens for the attention function, which alone knows the padding, and mark them."""
        if self.new is not None:
            raise ModelError(
                f"the model did not attend through {IMPLEMENTATION}, so the cache cannot serve it", fix=USE
            )
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if len(key_states) != len(self.rows):
            raise ModelError(f"the cache holds {len(self.rows)} sequences, the model went on with {len(key_states)}")
        self.new = key_states, value_states
        marked = key_states.view_as(key_states)
        marked.fovea_layer = self  # type: ignore[attr-defined]
        return marked, value_states

    def get_seq_length(self) -> int:
        """Tokens seen, padding counted."""
        return self.seen + (self.new[0].shape[-2] if self.new else 0)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As if all keys were there."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def reset(self) -> None:
        """Forget everything."""
        self.rows, self.seen, self.new, self.is_initialized = [], 0, None, False

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; pass their number as a negative one, as transformers does."""
        if tokens_to_remove > 0:
            raise ModelError(f"crop({tokens_to_remove}): give the number of tokens to remove as a negative one")
        self.new = None
        self.seen = max(self.seen + tokens_to_remove, 0)
        for row in self.rows:
            row.crop(max(len(row.cache) + tokens_to_remove, 0))

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Beams would each need an index of their own."""
        raise ModelError(
            "beam search is not possible on a RetrievalCache", fix="num_beams=1, with do_sample if you like"
        )

    def attend(self, module: Any, query: torch.Tensor, padding: torch.Tensor | None, scaling: float) -> torch.Tensor:
        """Take the held tokens in and attend, (batch, tokens, heads, d); whatever fails leaves the layer as it was."""
        assert self.new is not None
        (keys, values), self.new = self.new, None
        self._same_model(module)
        before = [len(row.cache) for row in self.rows]
        try:
            out = self._attend(query, keys, values, padding, scaling)
        except BaseException:
            for row, length in zip(self.rows, before):
                row.crop(length)
            raise
        self.seen += query.shape[2]
        return out

    def _attend(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        padding: torch.Tensor | None,
        scaling: float,
    ) -> torch.Tensor:
        out = torch.zeros(
            query.shape[0], query.shape[2], query.shape[1], query.shape[3], dtype=query.dtype, device=query.device
        )
        for n, row in enumerate(self.rows):
            if padding is None:
                out[n] = row.attend(query[n], keys[n], values[n], scaling)
                continue
            real = padding[n, -query.shape[2] :]
            if bool(real.any()):
                out[n, real] = row.attend(query[n][:, real], keys[n][:, real], values[n][:, real], scaling)
        return out

    def _same_model(self, module: Any) -> None:
        """Refuse a module of a model other than that which read the text; a known one is not looked at again."""
        if self.known is not None and self.known() is module:
            return
        got = identity(module)
        if self.model not in (None, got):
            raise ModelError(
                f"this cache was made by {self.model}, not by {got}",
                fix="load the model that read the text, or read it anew",
            )
        self.model, self.known = got, weakref.ref(module)


def identity(module: Any) -> str:
    """Name, shape and a mark of the weights of an attention module's model."""
    config = module.config
    weights = next(module.parameters()).detach().flatten()
    few = weights[:: max(len(weights) // 64, 1)][:64].float().cpu().bfloat16().float().numpy()
    shape = f"{config.num_hidden_layers} layers, {config.num_attention_heads}/{config.num_key_value_heads} heads"
    mark = f"weights {zlib.crc32(few.tobytes()):08x}"
    return f"{config.name_or_path or config.model_type} ({config.model_type}, {shape}, {mark})"


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function: query (batch, heads, tokens, d) in, (batch, tokens, heads, d) out."""
    layer = getattr(key, "fovea_layer", None)
    if layer is None:
        mask = _whole_mask(query, key, attention_mask)
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs)
    if attention_mask is not None and attention_mask.ndim != 2:
        raise ModelError("a RetrievalCache serves causal attention, with padding or without: this mask is another")
    odd = [name for name in ("softcap", "position_bias", "s_aux") if kwargs.get(name) is not None]
    if odd:
        raise ModelError(f"a RetrievalCache does not serve attention with {odd[0]}", fix="use a DynamicCache")
    return layer.attend(module, query, attention_mask, query.shape[-1] ** -0.5 if scaling is None else scaling), None


def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor | None:
    """Where attention is plainly causal over all there is: the padding, (batch, keys), or None without any.

    Otherwise (a sliding window, packed sequences, a static cache) the mask of `sdpa`.
    """
    plain = mask_function is causal_mask_function and kv_offset == 0 and kv_length == q_offset + q_length
    if plain:
        return None if attention_mask is None or bool(attention_mask.all()) else attention_mask
    return sdpa_mask(batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, **kwargs)


def _whole_mask(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """What `sdpa` wants, from what `make_mask` gave."""
    tokens, keys = query.shape[2], key.shape[2]
    if mask is not None and mask.ndim == 4:
        return mask
    if mask is None and (tokens == 1 or tokens == keys):
        return None
    return sdpa_mask(
        len(query), tokens, keys, keys - tokens, attention_mask=mask, allow_is_causal_skip=False, device=query.device
    )


def register() -> None:
    """Make the implementation known to transformers; raises ConfigError for a version whose hooks are not these."""
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if not FIRST <= version < PAST:
        raise ConfigError(
            f"attention retrieval does not know the hooks of transformers {transformers.__version__}",
            allowed=[f">={FIRST[0]}.{FIRST[1]},<{PAST[0]}"],
            fix='pip install "fovea-rag[attention]"',
        )
    transformers.AttentionInterface.register(IMPLEMENTATION, torch.compiler.disable(attend))
    transformers.AttentionMaskInterface.register(IMPLEMENTATION, make_mask)


register()
