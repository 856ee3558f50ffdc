"""The way into transformers: every public hook that a RetrievalCache uses is named in this file.

    the attention interface        `fovea_retrieval`, named by attn_implementation: `hf_attend.py`
    the attention mask interface   the same name; the mask stays 2-D where attention is plainly causal
    what a model may attend by     `get_correct_attn_implementation`, asked when a model is made: it refuses some
    the cache classes              RetrievalCache, a DynamicCache whose full-attention layers are RetrievalLayers

A model hands new keys and values to the cache and what comes back to the attention function, but not the cache. So the
layer marks the keys that it returns with itself. Layers with a sliding window, and everything that is called without a
RetrievalCache, go the way of `sdpa`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from transformers.cache_utils import CacheLayerMixin, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from fovea.attention_retrieval import hf_saved
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.cache.report import HeadReport, HeadStats, Report
from fovea.attention_retrieval.hf_attend import attend, make_mask
from fovea.attention_retrieval.hf_fits import check_fits
from fovea.attention_retrieval.hf_layer import IMPLEMENTATION as IMPLEMENTATION
from fovea.attention_retrieval.hf_layer import USE, RetrievalLayer, check_crop, lead
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.rag import registry
from fovea.rag.attention_interface import check_attention, check_model
from fovea.rag.errors import ConfigError, ModelError

FIRST, PAST = (5, 20), (6, 0)
ANEW = "read the text anew, with cache.activate_past_recording() before"


class RetrievalCache(DynamicCache):
    """A cache whose decoding steps read the keys that they search for, not all of them.

    `model.generate(**inputs, cache=cache)` is all there is to it (`past_key_values=cache` before transformers 5.24);
    the model must have been loaded with `attn_implementation="fovea_retrieval"`. Layers with a sliding window are left
    as they are.

    A text is read once and asked many times: `save`, `load`, and `crop` back to the text after an answer; for that, a
    model with sliding windows wants `activate_past_recording` before it reads. A mask may hide tokens that were read,
    wherever they stand, as the padding of an earlier answer; they are dropped, and an index over tokens behind them is
    built anew.

    Raises ConfigError for a model with another implementation; ModelError for one that transformers does not compute by
    `sdpa`, and, when it is used, for beam search, for a mask that is not causal or shows what it hid before, and
    for keys that are not finite.
    """

    def __init__(self, config: Any, settings: RetrievalSettings | None = None) -> None:
        implementation = getattr(config, "_attn_implementation", None)
        if implementation != IMPLEMENTATION:
            raise ConfigError(
                f"a RetrievalCache needs a model whose attention is {IMPLEMENTATION}, not {implementation}", fix=USE
            )
        text = config.get_text_config(decoder=True)
        check_attention(text, IMPLEMENTATION)
        super().__init__(config=config)
        self.settings = settings or cast(RetrievalSettings, registry.find("attention", "retrieval")())
        check_fits(self.settings, text, [n for n, layer in enumerate(self.layers) if type(layer) is DynamicLayer])
        self.layers = [
            RetrievalLayer(self.settings, n) if type(layer) is DynamicLayer else layer
            for n, layer in enumerate(self.layers)
        ]
        self._lead()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hand new tokens to layer `layer_idx`; raises ModelError where an interrupted step has left layers apart."""
        counted = [layer for layer in self.layers if isinstance(layer, (RetrievalLayer, DynamicSlidingWindowLayer))]
        if counted and self.layers[layer_idx] is counted[0] and len({layer.get_seq_length() for layer in counted}) > 1:
            what = "a step was interrupted between two layers of the model, so they hold different tokens"
            back = all(_can_crop(layer, remove) for layer, remove in self._surplus(0))
            raise ModelError(what, fix="cache.crop(0) takes all layers back to before that step" if back else ANEW)
        return super().update(key_states, value_states, layer_idx, *args, **kwargs)

    def take(self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
        """Take tokens in that were read elsewhere, such as a composed prompt: (1, kv heads, tokens, d) a layer.

        Their queries are not known: what learns from them makes do without, and an eviction that looks at them drops
        nothing. Raises ModelError for a model with sliding windows; takes all layers' tokens or none.
        """
        layers = [layer for layer in self.layers if isinstance(layer, RetrievalLayer)]
        if len(layers) < len(self.layers):
            raise ModelError("tokens that were read elsewhere can be taken in where every layer keeps all tokens")
        before = self.get_seq_length()
        try:
            for layer, *pair in zip(layers, keys, values, strict=True):
                layer.take(*pair)
        except BaseException:
            for layer in layers:
                layer.crop(before - layer.get_seq_length())
            raise

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; pass their number as a negative one, as transformers does.

        After a step that was interrupted, this also brings layers that had gone on back to those that had not.
        Raises ModelError, and crops no layer, for a positive number, and where a layer no longer has what it held
        before: one with a sliding window, unless `activate_past_recording` was called before the text was read, and one
        that has dropped tokens: by `evict`, or in heads that stream.
        """
        check_crop(tokens_to_remove)
        surplus = self._surplus(tokens_to_remove)
        for n, (layer, remove) in enumerate(surplus):
            if not _can_crop(layer, remove):
                what = f"layer {n}, a {type(layer).__name__}, does not keep what it held {remove} tokens ago"
                evicted = isinstance(layer, RetrievalLayer)
                fix = "read the text anew, or leave out evict and heads: they drop tokens" if evicted else ANEW
                raise ModelError(f"{what}, so no layer was cropped", fix=fix)
        for layer, remove in surplus:
            if remove or isinstance(layer, RetrievalLayer):
                layer.crop(-remove)

    def _surplus(self, tokens_to_remove: int) -> list[tuple[Any, int]]:
        """Each layer, and how many tokens it has to forget."""
        counted = [layer for layer in self.layers if isinstance(layer, CacheLayerMixin)]
        length = max(min((layer.get_seq_length() for layer in counted), default=0) + tokens_to_remove, 0)
        return [
            (layer, layer.get_seq_length() - length if isinstance(layer, CacheLayerMixin) else -tokens_to_remove)
            for layer in self.layers
        ]

    def report(self) -> Report:
        """What was searched so far, per layer and head of the first sequence."""
        rows = [layer.rows[0].cache for layer in self.layers if isinstance(layer, RetrievalLayer) and layer.rows]
        heads = [
            HeadReport(
                layer=stats.layer,
                head=stats.head,
                engine=_reader(row, stats.head),
                tokens=row.tokens,
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
                rows=int(row.keys.lengths[stats.head]),
                held_bytes=row.keys.head_bytes(stats.head) + row.values.head_bytes(stats.head),
            )
            for row in rows
            for stats in row.stats
        ]
        return Report(heads, rows[0].why if rows else "nothing was read yet")

    def attention(self, sequence: int = 0) -> np.ndarray:
        """What each token got of the attention of the tokens that were decoded, (full-attention layers, tokens).

        Means over the query heads that are watched and over decoded tokens; a layer's row sums to 1, or to less by
        what a correction stands for, which is no single token's; it is zero before the first decoded token, and where
        none of the layer's heads is watched. Raises ConfigError unless `watch` is set.
        """
        if not self.settings.watch:
            raise ConfigError("attention is not kept", fix="Retrieval(watch=True)")
        rows = self._rows(sequence)
        longest = max((len(row) for row in rows), default=0)
        whole = [np.pad(row.attention, (0, longest))[:longest] / max(row.watched, 1) for row in rows]
        return np.stack(whole) if whole else np.zeros((0, 0))

    def looked(self, sequence: int = 0) -> np.ndarray:
        """The mean of `attention` over all watched heads, (tokens,): a layer counts by how many of them it has."""
        rows = self._rows(sequence)
        heads = [row.chosen(row.group * row.keys.heads).sum() for row in rows]
        whole = self.attention(sequence)
        return np.average(whole, axis=0, weights=heads) if sum(heads) else whole.sum(axis=0)

    def _lead(self) -> None:
        """Let layers lead each other, where the selection says so."""
        lead(self.layers, self.settings.selection.run if self.settings.selection else 1)

    def _rows(self, sequence: int) -> list[LayerCache]:
        return [layer.rows[sequence].cache for layer in self.layers if isinstance(layer, RetrievalLayer) and layer.rows]

    def index(self) -> None:
        """Let each layer make now, over the text read so far, what it would make at its next token; heads that stream
        give up what they do not read.

        `save` then holds it, and every question finds the same.
        """
        for row in self._all_rows():
            row.advance()

    def evict(self) -> None:
        """Let an eviction drop now what it would drop at the next token: whatever is asked then has no say in it."""
        for layer in self.layers:
            for row in layer.rows if isinstance(layer, RetrievalLayer) else ():
                row.evict()

    def report_anew(self) -> None:
        """Let `report` begin again: what was searched for an earlier question is no part of the next one's."""
        for row in self._all_rows():
            row.stats = [HeadStats(row.layer, head) for head in range(row.keys.heads)]

    def mark(self) -> list[tuple[object, ...]]:
        """What `crop` does not take back: rows rounded by channel, how far an index reaches, what was sampled, watched
        and evicted. A cache whose mark is the same after an answer is, once cropped, as it was before it.
        """
        return [
            (tuple(part.coded for part in row.keys.parts) if row.keys.blocked else (), row.indexed, row.built,
             row.sample.stride, row.watched, tuple(row.evicted.since) if row.evicted else None)
            for row in self._all_rows()
        ]  # fmt: skip

    def _all_rows(self) -> list[LayerCache]:
        return [row.cache for layer in self.layers if isinstance(layer, RetrievalLayer) for row in layer.rows]

    def save(self, path: str | Path) -> None:
        """Write text and indexes to one file, whole or not at all; `load` maps it into memory."""
        hf_saved.save(self.settings, self.layers, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> RetrievalCache:
        """The cache that was saved; raises ModelError, naming the part, for a file that is damaged.

        That it was made by another model is said when a model first uses it.
        """
        cache = cls.__new__(cls)
        DynamicCache.__init__(cache)
        cache.settings, cache.layers = hf_saved.load(Path(path))
        cache._lead()
        return cache


def _reader(row: LayerCache, head: int) -> str:
    """What reads a head's indexed rows."""
    if row.windows is not None and row.windows[head]:
        return "window"
    if not isinstance(mine := row.reading(), slice) and head not in mine:
        return "all it holds"
    if row.selected is not None:
        return row.selected.reader
    return "all" if row.selection else "none"


def _can_crop(layer: Any, remove: int) -> bool:
    """Whether a layer can forget its last `remove` tokens, and has all that it held before them."""
    if not remove:
        return True
    if isinstance(layer, RetrievalLayer):
        return layer.can_crop(remove)
    if not isinstance(layer, DynamicSlidingWindowLayer):
        return bool(layer.is_croppable and getattr(layer, "record_past", True))
    length = layer.get_seq_length()
    held = 0 if layer.keys is None else layer.keys.shape[-2]
    records = layer.record_past or length < layer.sliding_window
    return records and held - remove >= min(length - remove, layer.sliding_window - 1)


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
    _refuse_when_made(transformers.PreTrainedModel)


def _refuse_when_made(base: Any) -> None:
    """A model that cannot attend so is refused when it is made, with one sentence: some know a fixed list of names, and
    end in a KeyError otherwise.
    """
    correct = base.get_correct_attn_implementation
    if getattr(correct, "fovea", False):
        return

    @wraps(correct)
    def checked(self: Any, requested_attention: str | None, *args: Any, **kwargs: Any) -> str:
        if requested_attention == IMPLEMENTATION:
            check_model(self, IMPLEMENTATION)
        return cast(str, correct(self, requested_attention, *args, **kwargs))

    checked.fovea = True  # type: ignore[attr-defined]
    base.get_correct_attn_implementation = checked


register()
