"""What one sequence holds in one layer, as arrays of a file: a part of a saved cache.

NAME.keys.S          slab S of keys: mapped from the file when loaded, never copied; `values` likewise
NAME.keys.S.scales   its scales, for int8 and int4
NAME.keys.plain      keys that are not rounded, where the others are by channel, fp32
NAME.sample          the prompt's queries that an index learns from, bf16, and their positions
NAME.selected.PART   the arrays of a selection, which serves all heads
NAME.head.H.PART     the arrays of head H's index; of its correction under NAME.correction.H.PART
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.cache.device import DecodingRow
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.index.engine import Engine, Keys
from fovea.attention_retrieval.index.state import damaged, mapped, part, under, within
from fovea.attention_retrieval.rounding import CODES, decode, to_bf16
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.vectors import BLOCK, FIRST, RECENT, SLAB, Vectors

Arrays = dict[str, np.ndarray]
Size = Annotated[int, Field(gt=0, lt=1 << 20)]


def save_row(name: str, row: LayerCache, arrays: Arrays) -> dict[str, Any]:
    """Put what a sequence holds in a layer into `arrays`, under `name`; what arrays do not say is returned."""
    for which, vectors in (("keys", row.keys), ("values", row.values)):
        for n, slab in enumerate(vectors.slabs):
            filled = min(SLAB, vectors.coded - vectors.first - n * SLAB)
            arrays[f"{name}.{which}.{n}"] = slab[:, :filled]
            if vectors.scales:
                arrays[f"{name}.{which}.{n}.scales"] = vectors.scales[n][:, : filled // vectors.rows_a_scale]
        if vectors.blocked:
            arrays[f"{name}.{which}.plain"] = vectors.unrounded
    if row.sample.queries is not None:
        arrays[f"{name}.sample"], arrays[f"{name}.sample.positions"] = to_bf16(row.sample.queries), row.sample.positions
    for head, index in enumerate(row.indexes):
        for key, array in index.state().items():
            arrays[f"{name}.head.{head}.{key}"] = array
    for head, corrected in enumerate(row.corrected):
        for key, array in corrected.state().items():
            arrays[f"{name}.correction.{head}.{key}"] = array
    for key, array in row.selected.state().items() if row.selected else ():
        arrays[f"{name}.selected.{key}"] = array
    return {
        "tokens": len(row),
        "heads": row.keys.heads,
        "d": row.keys.d,
        "indexed": row.indexed,
        "engine": row.engine.settings() if row.indexes and row.engine else None,
        "selected": row.selected is not None,
        "why": row.why,
        "stride": row.sample.stride,
        "group": row.group,
    }


class SavedRow(BaseModel):
    """What `save_row` returned. A file is not believed: each count must fit the arrays that there are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tokens: NonNegativeInt
    heads: Size
    d: Size
    indexed: NonNegativeInt
    engine: dict[str, Any] | None
    selected: bool = False
    why: str
    stride: PositiveInt
    group: NonNegativeInt


def load_row(name: str, settings: RetrievalSettings, layer: int, said: SavedRow, arrays: Arrays) -> DecodingRow:
    """The sequence that `save_row` wrote. Raises StoreError, naming it, for an array that is not there, or is of
    another type or shape than such a sequence has.
    """
    row = DecodingRow(settings, layer, said.heads, said.d)
    cache = row.cache
    for which, vectors in (("keys", cache.keys), ("values", cache.values)):
        _adopt(f"{name}.{which}", vectors, said.tokens, arrays)
    cache.group, cache.indexed, cache.why = said.group, said.indexed, said.why
    cache.sample.stride = said.stride
    if f"{name}.sample" in arrays:
        sample = part(arrays, f"{name}.sample", np.uint16, (said.heads * said.group, None, said.d))
        positions = part(arrays, f"{name}.sample.positions", np.int64, (sample.shape[1],))
        cache.sample.queries = decode(sample)
        cache.sample.positions = within(positions, f"{name}.sample.positions", 0, max(said.tokens, 1))
    if (said.engine or said.selected) and not settings.sinks <= said.indexed <= said.tokens:
        raise damaged(f"{name} has {said.tokens} tokens, of which {said.indexed} are indexed")
    if said.selected:
        if not cache.selection:
            raise damaged(f"{name} was read by a selection, and the settings name none")
        state = under(f"{name}.selected.", arrays)
        cache.selected = cache.selection.restore(cache.keys, cache.values, state, settings.sinks, said.indexed)
    if said.engine:
        cache.engine = Engine.model_validate(said.engine)
        for head in range(said.heads):
            keys = Keys(cache.keys.head(head), settings.sinks, said.indexed, cache.bias(head, said.indexed))
            index = cache.engine.restore(keys, under(f"{name}.head.{head}.", arrays))
            cache.indexes.append(index)
            if settings.correction:
                state = under(f"{name}.correction.{head}.", arrays)
                cache.corrected.append(settings.correction.restore(index.keys, cache.values.head(head), state))
    return row


def _adopt(name: str, vectors: Vectors, tokens: int, arrays: Arrays) -> None:
    """Full slabs stay in the file; the last one, where more tokens will come, is copied."""
    rows, shared, pairs = tokens, vectors.rows_a_scale, (2, vectors.d) if vectors.blocked else (2,)
    if vectors.blocked:
        plain = part(arrays, f"{name}.plain", np.float32, (vectors.heads, None, vectors.d))
        rows = tokens - plain.shape[1]
        if rows < 0 or rows % BLOCK or not (FIRST if rows else 0) <= plain.shape[1] < FIRST + RECENT + BLOCK:
            raise damaged(f"part '{name}.plain' has {plain.shape[1]} rows of {tokens} tokens")

    def slab(n: int, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        codes = mapped(arrays, f"{name}.{n}", CODES[vectors.dtype], (vectors.heads, rows, vectors.width))
        if not vectors.bits:
            return codes, None
        scales = mapped(arrays, f"{name}.{n}.scales", np.uint16, (vectors.heads, rows // shared, *pairs))
        if ((scales & 0x7F80) == 0x7F80).any():
            raise damaged(f"part '{name}.{n}.scales' holds numbers that are not finite")
        return codes, scales

    full, rest = divmod(rows, SLAB)
    slabs = [slab(n, SLAB) for n in range(full)]
    vectors.adopt([codes for codes, _ in slabs], [s for _, s in slabs if s is not None], full * SLAB)
    if rest:
        vectors.append_codes(*slab(full, rest))
    if vectors.blocked:
        vectors.adopt_plain(plain)
