"""What one sequence holds in one layer, as arrays of a file: a part of a saved cache.

NAME.keys.S          slab S of keys: mapped from the file when loaded, never copied; `values` likewise
NAME.keys.S.scales   its scales, for int8 and int4
NAME.keys.plain      keys that are not rounded, where the others are by channel, fp32
NAME.sample          the prompt's queries that an index learns from, bf16, and their positions
NAME.last            the prompt's last queries, that an eviction or a policy of heads looks at, fp32
NAME.evicted         which of the tokens up to an eviction are there, by head
NAME.windows         how far each head looks, where some stream
NAME.middle          rows that these read besides, -1 is nobody
NAME.selected.PART   the arrays of the selection's state
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.cache.device import DecodingRow
from fovea.attention_retrieval.cache.evicted import Evicted
from fovea.attention_retrieval.cache.layer import LayerCache
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
    if row.last is not None:
        arrays[f"{name}.last"] = row.last
    if row.evicted:
        arrays[f"{name}.evicted"] = row.evicted.at
    if row.windows is not None:
        arrays[f"{name}.windows"] = row.windows
    if row.middle is not None:
        arrays[f"{name}.middle"] = row.middle
    for key, array in row.selected.state().items() if row.selected else ():
        arrays[f"{name}.selected.{key}"] = array
    return {
        "tokens": len(row),
        "heads": row.keys.heads,
        "d": row.keys.d,
        "indexed": row.indexed,
        "evicted": row.evicted.tokens if row.evicted else None,
        "built": row.built,
        "why": row.why,
        "stride": row.sample.stride,
        "group": row.group,
        "read": row.read,
    }


class SavedRow(BaseModel):
    """What `save_row` returned. A file is not believed: each count must fit the arrays that there are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tokens: NonNegativeInt
    heads: Size
    d: Size
    indexed: NonNegativeInt
    evicted: Annotated[int, Field(ge=0, lt=1 << 27)] | None = None
    built: bool = False
    why: str
    stride: PositiveInt
    group: NonNegativeInt
    read: NonNegativeInt = 0


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
    if said.evicted is not None:
        cache.evicted = _evicted(f"{name}.evicted", said, arrays)
    if f"{name}.sample" in arrays:
        sample = part(arrays, f"{name}.sample", np.uint16, (said.heads * said.group, None, said.d))
        positions = part(arrays, f"{name}.sample.positions", np.int64, (sample.shape[1],))
        cache.sample.queries = decode(sample)
        cache.sample.positions = within(positions, f"{name}.sample.positions", 0, max(cache.tokens, 1))
    if f"{name}.last" in arrays:
        cache.last = part(arrays, f"{name}.last", np.float32, (said.heads * said.group, None, said.d))
        if cache.last.shape[1] > said.tokens or not said.group:
            raise damaged(f"part '{name}.last' is {cache.last.shape}, of {said.tokens} tokens")
        cache.read = min(max(said.read, cache.last.shape[1]), said.tokens)
    if said.built:
        _restore(name, cache, said, arrays)
    elif said.indexed != settings.sinks and (cache.selection or said.indexed > said.tokens):
        raise damaged(f"{name} has {said.tokens} tokens, of which {said.indexed} are indexed, and no index")
    return row


def _evicted(name: str, said: SavedRow, arrays: Arrays) -> Evicted:
    """Every head has the same number of rows, in order."""
    assert said.evicted is not None
    at = within(part(arrays, name, np.int64, (said.heads, None)), name, 0, max(said.evicted, 1))
    if at.shape[1] > said.tokens or (np.diff(at, axis=1) < 1).any():
        raise damaged(f"part {name!r} does not name rows of the text, in order")
    return Evicted(said.evicted, at)


def _restore(name: str, cache: LayerCache, said: SavedRow, arrays: Arrays) -> None:
    """The selection's state, where a head reads the whole text."""
    sinks = cache.settings.sinks
    if not cache.selection:
        raise damaged(f"{name} was read by a selection, and the settings name none")
    if not sinks <= said.indexed <= said.tokens:
        raise damaged(f"{name} has {said.tokens} tokens, of which {said.indexed} are indexed")
    if f"{name}.windows" in arrays:
        windows = part(arrays, f"{name}.windows", np.int64, (said.heads,))
        cache.windows = within(windows, f"{name}.windows", 0, max(said.tokens, 1))
    if f"{name}.middle" in arrays:
        middle = part(arrays, f"{name}.middle", np.int64, (said.heads, None))
        cache.middle = within(middle, f"{name}.middle", -1, max(said.indexed, 1))
    cache.built, reads = True, np.arange(said.heads)[cache.reading()]
    if len(reads):
        state = under(f"{name}.selected.", arrays)
        cache.selected = cache.selection.restore(*cache.of_heads(reads), state, sinks, said.indexed)


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
