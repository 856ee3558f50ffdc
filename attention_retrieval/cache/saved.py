"""What one sequence holds in one layer, as arrays of a file: a part of a saved cache.

NAME.keys.S          slab S of keys: mapped from the file when loaded, never copied; `values` likewise
NAME.keys.S.scales   its scales, for int8 and int4
NAME.keys.plain      keys that are not rounded by channel, where others are: fp32, or bf16 beside int4 since format 6
NAME.sample          the prompt's queries that an index learns from, bf16, and their positions
NAME.last            the prompt's last queries, that an eviction or a policy of heads looks at, fp32
NAME.since           where what a head holds is whole from, (heads,), where some tokens were dropped
NAME.before          the tokens before that which are left, one head's behind the other's; NAME.befores how many of each
NAME.rest            what stands for those that are gone, (heads, 2, d), and NAME.rest.count
NAME.lead            first rows of the heads that stream, which stay
NAME.tables          which table each head's rows are in, where they differ; table 1 and later: NAME.keys.tN.S
NAME.windows         how far each head looks, where some stream
NAME.selected.PART   the arrays of the selection's state
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.cache.compensation import Compensation
from fovea.attention_retrieval.cache.device import DecodingRow
from fovea.attention_retrieval.cache.evicted import Evicted
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.index.state import damaged, mapped, part, under, within
from fovea.attention_retrieval.ragged import Ragged
from fovea.attention_retrieval.rounding import CODES, decode, to_bf16
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.slabs import BLOCK, SLAB
from fovea.attention_retrieval.vectors import FIRST, PLAIN, RECENT, Vectors

Arrays = dict[str, np.ndarray]
Size = Annotated[int, Field(gt=0, lt=1 << 20)]


def save_row(name: str, row: LayerCache, arrays: Arrays) -> dict[str, Any]:
    """Put what a sequence holds in a layer into `arrays`, under `name`; what arrays do not say is returned."""
    for which, vectors in (("keys", row.keys), ("values", row.values)):
        for n, each in enumerate(vectors.parts):
            _put(_table(f"{name}.{which}", n), each, arrays)
    if len(row.keys.parts) > 1:
        arrays[f"{name}.tables"] = row.keys.owners[:, 0].copy()
    if row.sample.queries is not None:
        arrays[f"{name}.sample"], arrays[f"{name}.sample.positions"] = to_bf16(row.sample.queries), row.sample.positions
    if row.last is not None:
        arrays[f"{name}.last"] = row.last
    if row.evicted:
        arrays[f"{name}.since"], arrays[f"{name}.before"] = row.evicted.since, np.concatenate(row.evicted.at)
        arrays[f"{name}.befores"] = np.array([len(at) for at in row.evicted.at], np.int64)
    if row.rest is not None:
        arrays[f"{name}.rest"] = np.stack([row.rest.keys, row.rest.values], axis=1)
        arrays[f"{name}.rest.count"] = row.rest.counts
    if row.lead is not None:
        arrays[f"{name}.lead"] = row.lead
    if row.windows is not None:
        arrays[f"{name}.windows"] = row.windows
    for key, array in row.selected.state().items() if row.selected else ():
        arrays[f"{name}.selected.{key}"] = array
    return {
        "tokens": len(row),
        "tables": [len(each) for each in row.keys.parts[1:]],
        "heads": row.keys.heads,
        "d": row.keys.d,
        "indexed": row.indexed,
        "evicted": row.tokens if row.evicted else None,
        "whole_from": row.evicted.whole_from if row.evicted else 0,
        "parts": [name for name in ("windows", "lead", "rest") if getattr(row, name) is not None],
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
    """Rows of the first table, which are tokens where none was dropped."""
    tables: list[NonNegativeInt] = []
    """Rows of the others."""
    heads: Size
    d: Size
    indexed: NonNegativeInt
    evicted: Annotated[int, Field(ge=0, lt=1 << 27)] | None = None
    whole_from: NonNegativeInt = 0
    parts: list[Literal["windows", "lead", "rest"]] = []
    """Which of these there are."""
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
    lengths = [said.tokens, *said.tables]
    if said.tables:
        where = within(part(arrays, f"{name}.tables", np.int64, (said.heads,)), f"{name}.tables", 0, len(lengths))
        cache.keys, cache.values = (_split(each, where, len(lengths)) for each in (cache.keys, cache.values))
    for which, vectors in (("keys", cache.keys), ("values", cache.values)):
        for n, rows in enumerate(lengths):
            _adopt(_table(f"{name}.{which}", n), vectors.parts[n], rows, arrays)
    cache.indexed, cache.why = said.indexed, said.why
    if said.group:
        cache.grouped(said.group)
    cache.sample.stride = said.stride
    if said.evicted is not None:
        _dropped(name, cache, said, arrays)
    elif said.tables or f"{name}.since" in arrays:
        raise damaged(f"{name} has heads of different rows, and none was dropped")
    if f"{name}.sample" in arrays:
        sample = part(arrays, f"{name}.sample", np.uint16, (said.heads * said.group, None, said.d))
        positions = part(arrays, f"{name}.sample.positions", np.int64, (sample.shape[1],))
        cache.sample.queries = decode(sample)
        cache.sample.positions = within(positions, f"{name}.sample.positions", 0, max(cache.tokens, 1))
    if f"{name}.last" in arrays:
        cache.last = part(arrays, f"{name}.last", np.float32, (said.heads * said.group, None, said.d))
        if cache.last.shape[1] > said.tokens or not said.group:
            raise damaged(f"part '{name}.last' is {cache.last.shape}, of {said.tokens} tokens")
    cache.read = min(max(said.read, 0 if cache.last is None else cache.last.shape[1]), cache.tokens)
    if said.built:
        _restore(name, cache, said, arrays)
    elif said.indexed != settings.sinks and (cache.selection or said.indexed > said.tokens):
        raise damaged(f"{name} has {said.tokens} tokens, of which {said.indexed} are indexed, and no index")
    return row


def _dropped(name: str, cache: LayerCache, said: SavedRow, arrays: Arrays) -> None:
    """Which tokens are left, what stands for the others, and what heads that stream keep."""
    heads, tokens, lengths = said.heads, said.evicted or 0, cache.keys.lengths
    if f"{name}.evicted" in arrays:  # as before format 5: equally many rows of each head
        at = within(part(arrays, f"{name}.evicted", np.int64, (heads, None)), f"{name}.evicted", 0, max(tokens, 1))
        positions = list(at)
        if at.shape[1] > said.tokens or any((np.diff(mine) < 1).any() for mine in positions):
            raise damaged(f"part '{name}.evicted' does not name rows of the text, in order")
        cache.evicted = Evicted.of(tokens, positions, tokens)
        return
    since = within(part(arrays, f"{name}.since", np.int64, (heads,)), f"{name}.since", 0, 1 << 27)
    counts = within(part(arrays, f"{name}.befores", np.int64, (heads,)), f"{name}.befores", 0, 1 << 27)
    before = np.split(part(arrays, f"{name}.before", np.int32, (int(counts.sum()),)), np.cumsum(counts)[:-1])
    for mine, end in zip(before, since):
        if (np.diff(np.r_[-1, mine.astype(np.int64), end]) < 1).any():
            raise damaged(f"part '{name}.before' does not name tokens of the text, in order")
    if (lengths - counts + since != tokens).any() or (counts > lengths).any():
        raise damaged(f"the heads of {name} do not hold a text of {tokens} tokens")
    if not since.max() <= said.whole_from <= tokens:
        raise damaged(f"{name} can be cropped to {said.whole_from} tokens of {tokens}, it says")
    cache.evicted = Evicted(tuple(before), since, said.whole_from)
    if "lead" in said.parts:
        lead = part(arrays, f"{name}.lead", np.int64, (heads,))
        if (lead < 0).any() or (lead > lengths).any():
            raise damaged(f"part '{name}.lead' is more than the rows there are")
        cache.lead = lead
    if "rest" in said.parts:
        rest = part(arrays, f"{name}.rest", np.float32, (heads, 2, said.d))
        count = within(part(arrays, f"{name}.rest.count", np.int64, (heads,)), f"{name}.rest.count", 0, 1 << 27)
        if not np.isfinite(rest).all():
            raise damaged(f"part '{name}.rest' holds numbers that are not finite")
        cache.rest = Compensation(count, np.ascontiguousarray(rest[:, 0]), np.ascontiguousarray(rest[:, 1]))


def _split(whole: Vectors, where: np.ndarray, tables: int) -> Vectors:
    """Tables of the heads that `where` puts into each."""
    of = [np.flatnonzero(where == n) for n in range(tables)]
    if not all(map(len, of)):
        raise damaged("a table of rows has no head")
    return Ragged([whole.copied(heads, 0) for heads in of], of)


def _restore(name: str, cache: LayerCache, said: SavedRow, arrays: Arrays) -> None:
    """The selection's state, where a head reads the whole text."""
    sinks = cache.settings.sinks
    if not cache.selection:
        raise damaged(f"{name} was read by a selection, and the settings name none")
    if not sinks <= said.indexed <= max(len(cache), sinks):
        raise damaged(f"{name} has {said.tokens} tokens, of which {said.indexed} are indexed")
    if "windows" in said.parts:
        windows = part(arrays, f"{name}.windows", np.int64, (said.heads,))
        cache.windows = within(windows, f"{name}.windows", 0, max(cache.tokens, 1))
    cache.built, reads = True, np.arange(said.heads)[cache.reading()]
    if len(reads):
        state = under(f"{name}.selected.", arrays)
        cache.selected = cache.selection.restore(*cache.of_heads(reads), state, sinks, said.indexed)


def _table(name: str, n: int) -> str:
    return f"{name}.t{n}" if n else name


def _put(name: str, vectors: Vectors, arrays: Arrays) -> None:
    """A table's slabs, as far as they are filled."""
    slabs = vectors.slabs
    for n, codes in enumerate(slabs.codes):
        filled = min(SLAB, slabs.rows - n * SLAB)
        arrays[f"{name}.{n}"] = codes[:, :filled]
        if slabs.scales:
            arrays[f"{name}.{n}.scales"] = slabs.scales[n][:, : filled // slabs.rows_a_scale]
    if vectors.blocked:
        arrays[f"{name}.plain"] = vectors.unrounded


def _adopt(name: str, vectors: Vectors, tokens: int, arrays: Arrays) -> None:
    """Full slabs stay in the file; the last one, where more tokens will come, is copied."""
    slabs, rows, pairs = vectors.slabs, tokens, (2, vectors.d) if vectors.blocked else (2,)
    if vectors.blocked:
        plain = _plain(f"{name}.plain", vectors, arrays)
        rows = tokens - plain.shape[1]
        if rows < 0 or rows % BLOCK or not (FIRST if rows else 0) <= plain.shape[1] < FIRST + RECENT + BLOCK:
            raise damaged(f"part '{name}.plain' has {plain.shape[1]} rows of {tokens} tokens")

    def slab(n: int, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        codes = mapped(arrays, f"{name}.{n}", CODES[vectors.dtype], (vectors.heads, rows, slabs.width))
        if not slabs.bits:
            return codes, None
        scales = mapped(arrays, f"{name}.{n}.scales", np.uint16, (vectors.heads, rows // slabs.rows_a_scale, *pairs))
        if ((scales & 0x7F80) == 0x7F80).any():
            raise damaged(f"part '{name}.{n}.scales' holds numbers that are not finite")
        return codes, scales

    full, rest = divmod(rows, SLAB)
    mine = [slab(n, SLAB) for n in range(full)]
    slabs.adopt([codes for codes, _ in mine], [scales for _, scales in mine if scales is not None], full * SLAB)
    if rest:
        slabs.append(*slab(full, rest))
    vectors.adopt(slabs)
    if vectors.blocked:
        vectors.adopt_plain(plain)


def _plain(name: str, vectors: Vectors, arrays: Arrays) -> np.ndarray:
    """Rows that are not rounded by channel, (heads, rows, d); fp32 is read where they now are bf16."""
    older = name in arrays and arrays[name].dtype == np.float32
    kept = np.float32 if older else PLAIN[vectors.dtype]
    rows = part(arrays, name, kept, (vectors.heads, None, vectors.d))
    if not np.isfinite(decode(rows)).all():
        raise damaged(f"part {name!r} holds numbers that are not finite")
    return rows
