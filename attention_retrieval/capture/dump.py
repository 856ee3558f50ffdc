"""Dump: a model's own queries, keys and values over one text, in one file (`tensorfile`).

    dump = Dump.open("dump.safetensors")
    layer = dump.layer(4)          # queries (heads, kept, d), keys (kv heads, rows, d), values (kv heads, rows, d)
    dump.train, dump.held_out      # which of the kept queries are which

Queries and keys are as attention takes them, so behind RoPE, and not yet times the scaling. The first `facts.tokens`
rows of keys are those of the text. Behind them lie, one after the other, the rows of each run: a question or the text's
continuation, read on the same cache, and what the model then said. Held-out queries are those of the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from fovea.attention_retrieval.cache import tensorfile
from fovea.attention_retrieval.rounding import decode
from fovea.rag.errors import ModelError

FORMAT, FIX = "fovea dump 1", "fovea capture --model NAME --text PATH --out FILE writes one"
Source = Literal["prefill", "block-prefill", "windows"]


class Run(BaseModel):
    """Rows `start` to `stop`: a question or the text's continuation, and from `decoded` on the model's own words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["question", "continuation"]
    start: int
    decoded: int
    stop: int


class Facts(BaseModel):
    """What a dump says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str
    tokenizer: str
    """SHA-256 of all that it does."""
    source: Source
    """How the text was read: at once, in blocks that do not see each other, or in windows by an encoder."""
    blocks: int
    """Blocks, or windows."""
    tokens: int
    layers: tuple[int, ...]
    scaling: tuple[float, ...]
    """What a query is multiplied with, layer by layer."""
    heads: int
    kv_heads: int
    d: int
    dtype: Literal["bf16", "fp32"]
    runs: tuple[Run, ...] = ()
    """None for windows, whose held-out queries see the text alone."""

    @property
    def group(self) -> int:
        """Query heads of a kv head."""
        return self.heads // self.kv_heads

    def behind(self, row: int) -> tuple[int, int]:
        """The rows besides the text that the held-out query of row `row` sees: [start, stop)."""
        run = next((run for run in self.runs if run.start <= row < run.stop), None)
        return (run.start, row + 1) if run else (self.tokens, self.tokens)

    def kind(self, row: int) -> str:
        """Where the query of a row comes from: prefill, continuation, question or decode."""
        if row < self.tokens:
            return "prefill"
        run = next((run for run in self.runs if run.start <= row < run.stop), None)
        if run is None:
            return "continuation"
        return run.kind if row < run.decoded else "decode"


class Layer(NamedTuple):
    """One layer's arrays: float32, or uint16 that are bf16."""

    queries: np.ndarray
    """(heads, kept, d)"""
    keys: np.ndarray
    """(kv heads, rows, d)"""
    values: np.ndarray
    """(kv heads, rows, d of values)"""
    scaling: float

    def query(self, heads: slice, at: np.ndarray) -> np.ndarray:
        """The queries `at` of some heads as engines want them: float32 (heads, at, d), times the scaling."""
        return as_float(self.queries[heads][:, at]) * np.float32(self.scaling)


def as_float(rows: np.ndarray) -> np.ndarray:
    """float32 of what a dump holds."""
    return decode(rows) if rows.dtype == np.uint16 else rows


def write(path: Path, facts: Facts, parts: Mapping[str, np.ndarray]) -> None:
    """Write a dump: the whole file or none. `parts`: tokens, query_rows and `N.queries`, `N.keys`, `N.values`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensorfile.write(path, parts, {"format": FORMAT, "facts": facts.model_dump()})


@dataclass(frozen=True)
class Dump:
    """An open dump; its arrays are mapped, and fit their checksums."""

    path: Path
    facts: Facts
    parts: Mapping[str, np.ndarray]

    @classmethod
    def open(cls, path: Path | str) -> Dump:
        """Map a dump. Raises ModelError for a file that is cut short or damaged, naming the part, or is no dump."""
        path = Path(path)
        if not path.is_file():
            raise ModelError("there is no such dump", where=str(path), fix=FIX)
        parts, about = tensorfile.read(path)
        if about.get("format") != FORMAT:
            raise ModelError("this file is no dump of queries and keys", where=str(path), fix=FIX)
        return cls(path, Facts.model_validate(about["facts"]), parts)

    @cached_property
    def query_rows(self) -> np.ndarray:
        """The row of each kept query, in order."""
        return self.parts["query_rows"]

    @cached_property
    def train(self) -> np.ndarray:
        """Which kept queries the prefill made."""
        return np.flatnonzero(self.query_rows < self.facts.tokens)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Which came after it, or from another text."""
        return np.flatnonzero(self.query_rows >= self.facts.tokens)

    def layer(self, layer: int) -> Layer:
        """One layer's arrays. Raises ModelError for a layer that is not in the dump."""
        if layer not in self.facts.layers:
            there = [str(n) for n in self.facts.layers]
            raise ModelError(f"layer {layer} is not in the dump", where=str(self.path), allowed=there)
        queries, keys, values = (self.parts[f"{layer}.{name}"] for name in ("queries", "keys", "values"))
        return Layer(queries, keys, values, self.facts.scaling[self.facts.layers.index(layer)])
