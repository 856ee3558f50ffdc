"""One layer of a RetrievalCache, as transformers sees it: it takes keys and values in, and marks them with itself."""

from __future__ import annotations

import copy
import weakref
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import CacheLayerMixin

from fovea.attention_retrieval.cache.device import DecodingRow
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.rag.errors import ModelError

IMPLEMENTATION = "fovea_retrieval"
USE = f'model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="{IMPLEMENTATION}")'


class RetrievalLayer(CacheLayerMixin):
    """One layer; a `DecodingRow` for each sequence of the batch."""

    is_croppable = True
    is_sliding = False
    supports_early_init = False

    def __init__(self, settings: RetrievalSettings, layer: int) -> None:
        super().__init__()
        self.settings, self.layer = settings, layer
        self.rows: list[DecodingRow] = []
        self.seen = 0
        self.kept: np.ndarray | None = None
        """Which of the tokens seen are in the rows, (batch, seen) bool; None where all are: none is padding."""
        self.new: tuple[torch.Tensor, torch.Tensor] | None = None
        self.leader: RetrievalLayer | None = None
        """The layer whose choice of rows this one takes over, where the selection says so."""
        self.model: str | None = None
        self.known: weakref.ref[Any] | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make the rows, now that shapes are known."""
        if key_states.shape[-1] != value_states.shape[-1]:
            widths = f"keys of width {key_states.shape[-1]} and values of {value_states.shape[-1]}"
            raise ModelError(f"a RetrievalCache does not serve {widths}", fix="use a DynamicCache")
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

    def take(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Take tokens in that were read elsewhere, (1, kv heads, tokens, d) each: of their queries nothing is known."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        if len(self.rows) != 1 or self.kept is not None or self.new is not None:
            raise ModelError("a cache takes tokens that were read elsewhere for one sequence, without padding")
        self.rows[0].take(keys[0], values[0])
        self.seen += keys.shape[2]

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
        self.rows, self.seen, self.kept, self.new, self.is_initialized = [], 0, None, None, False

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; pass their number as a negative one, as transformers does."""
        check_crop(tokens_to_remove)
        seen = min(max(self.get_seq_length() + tokens_to_remove, 0), self.seen)
        for row, tokens in zip(self.rows, self._tokens(seen)):
            row.crop(tokens)
        self.seen, self.new = seen, None
        if self.kept is not None:
            self.kept = self.kept[:, :seen]

    def can_crop(self, tokens_to_remove: int) -> bool:
        """Whether what would be left is all there: an eviction may have dropped some of it."""
        seen = max(min(self.get_seq_length() - tokens_to_remove, self.seen), 0)
        return all(row.cache.can_crop(tokens) for row, tokens in zip(self.rows, self._tokens(seen)))

    def _tokens(self, seen: int) -> list[int]:
        """How many of the first `seen` tokens each row has taken in."""
        return [seen] * len(self.rows) if self.kept is None else self.kept[:, :seen].sum(axis=1).tolist()

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each sequence `repeats` times, side by side; each further one is a copy, index and all."""
        self._take_rows(np.repeat(np.arange(len(self.rows)), repeats).tolist())

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Go on with these sequences, numbers or a mask; one that is named again is a copy, index and all."""
        self._take_rows(torch.arange(len(self.rows))[torch.as_tensor(indices).cpu()].tolist())

    def _take_rows(self, order: Sequence[int]) -> None:
        self.rows = [
            copy.deepcopy(self.rows[n]) if n in order[:place] else self.rows[n] for place, n in enumerate(order)
        ]
        if self.kept is not None:
            self.kept = self.kept[list(order)]

    def offload(self) -> None:
        """Drop what is near from the model's device; all keys and values are in the machine's memory anyway."""
        for row in self.rows:
            row.near = None

    def prefetch(self) -> None:
        """Nothing: what is near is copied to the device when the next token is decoded."""

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
        shown = self._shown(padding, self.seen + query.shape[2])
        self._hide(shown)
        before = [row.cache.tokens for row in self.rows]
        try:
            out = self._attend(query, keys, values, None if shown is None else shown[:, self.seen :], scaling)
        except BaseException:
            for row, length in zip(self.rows, before):
                row.crop(length)
            raise
        self.seen, self.kept = self.seen + query.shape[2], shown
        return out

    def _shown(self, padding: torch.Tensor | None, tokens: int) -> np.ndarray | None:
        """Which of all tokens the mask shows, (batch, tokens) bool, or None for all."""
        if padding is None:
            return None
        if padding.shape != (len(self.rows), tokens):
            raise ModelError(
                f"the attention mask is {tuple(padding.shape)}, not {(len(self.rows), tokens)}",
                fix="give a mask of all tokens, those already read too",
            )
        shown = padding.bool().cpu().numpy()
        return None if shown.all() else shown

    def _hide(self, shown: np.ndarray | None) -> None:
        """Drop what a mask hides of the tokens already read, for good; in time proportional to those behind it.

        Raises ModelError for a mask that shows what is dropped, or was padding: rows and indexes are as they were.
        """
        if self.kept is None and shown is None:
            return
        whole = np.ones((len(self.rows), self.seen), bool)
        old = whole if self.kept is None else self.kept
        now = whole if shown is None else shown[:, : self.seen]
        if (now & ~old).any():
            raise ModelError(
                "the attention mask shows tokens that it hid before: what is hidden is dropped, and padding never read",
                fix="go on hiding them, or read the text anew; a DynamicCache serves masks that come and go",
            )
        self.kept = old.copy()
        for n, row in enumerate(self.rows):
            if (now[n] != old[n]).any():
                row.keep(now[n][old[n]])
                self.kept[n] = now[n]

    def _attend(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        shown: np.ndarray | None,
        scaling: float,
    ) -> torch.Tensor:
        out = torch.zeros(
            query.shape[0], query.shape[2], query.shape[1], query.shape[3], dtype=query.dtype, device=query.device
        )
        self._follow()
        for n, row in enumerate(self.rows):
            if shown is None:
                out[n] = row.attend(query[n], keys[n], values[n], scaling)
                continue
            if shown[n].any():
                real = torch.from_numpy(shown[n]).to(query.device)
                out[n, real] = row.attend(query[n][:, real], keys[n][:, real], values[n][:, real], scaling)
        return out

    def _follow(self) -> None:
        """Tell each sequence's selection what leads it: rows may have been copied or reordered since the last step."""
        for row, leader in zip(self.rows, self.leader.rows if self.leader else ()):
            if row.cache.selected is not None and leader.cache.selected is not None:
                row.cache.selected.leader = weakref.ref(leader.cache.selected)

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


def lead(layers: Sequence[Any], run: int) -> None:
    """Let the first of every `run` layers of full attention lead the others."""
    full = [layer for layer in layers if isinstance(layer, RetrievalLayer)]
    for n, layer in enumerate(full):
        layer.leader = full[n - n % run] if n % run else None


def check_crop(tokens_to_remove: int) -> None:
    """Raise ModelError for a positive number."""
    if tokens_to_remove > 0:
        what = f"crop({tokens_to_remove}): give the number of tokens to remove as a negative one"
        raise ModelError(what, fix="cache.crop(length - cache.get_seq_length()) leaves `length` tokens")


def identity(module: Any) -> str:
    """Name, shape and a mark of the weights of an attention module's model."""
    config = module.config
    weights = next(module.parameters()).detach().flatten()
    few = weights[:: max(len(weights) // 64, 1)][:64].float().cpu().bfloat16().float().numpy()
    heads = config.num_attention_heads  # of keys too, where a config does not name them
    shape = f"{config.num_hidden_layers} layers, {heads}/{getattr(config, 'num_key_value_heads', None) or heads} heads"
    mark = f"weights {zlib.crc32(few.tobytes()):08x}"
    return f"{config.name_or_path or config.model_type} ({config.model_type}, {shape}, {mark})"
