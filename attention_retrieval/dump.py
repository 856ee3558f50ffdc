"""Dump: a model's own queries, keys and values over one text, in one safetensors file that knows when it is damaged.

    dump = Dump.open("dump.safetensors")
    layer = dump.layer(4)          # queries (heads, kept, d), keys (kv heads, rows, d), values (kv heads, rows, d)
    dump.train, dump.held_out      # which of the kept queries are which

Queries and keys are as attention takes them, so behind RoPE, and not yet times the scaling. The first `facts.tokens`
rows of keys are those of the text. Behind them lie, one after the other, the rows of each run: a question or the text's
continuation, read on the same cache, and what the model then said. Held-out queries are those of the runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from attention_retrieval.vectors import decode
from rag.errors import ModelError, require
from rag.models import write_whole

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
    """SHA-256 of tokenizer.json, or of the vocabulary where there is no such file."""
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
    """float32, or uint16 that are bf16."""

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
    torch = require("torch", extra="attention", needed_by="writing a dump")
    save_file = require("safetensors.torch", extra="attention", needed_by="writing a dump").save_file
    arrays = {name: np.ascontiguousarray(array) for name, array in parts.items()}
    tensors = {name: torch.from_numpy(a) for name, a in arrays.items()}
    tensors = {n: t.view(torch.bfloat16) if t.dtype == torch.uint16 else t for n, t in tensors.items()}
    said = {"facts": facts.model_dump(), "parts": {name: _print(array) for name, array in arrays.items()}}
    text = json.dumps(said, sort_keys=True)
    meta = {"format": "fovea-dump-1", "fovea": text, "sha256": sha256(text.encode()).hexdigest()}
    write_whole(path, lambda part: save_file(tensors, part, metadata=meta))


def _print(array: np.ndarray) -> dict[str, Any]:
    """What must be the same when it is read."""
    return {"shape": list(array.shape), "sha256": sha256(array.data).hexdigest()}


@dataclass(frozen=True)
class Dump:
    """An open dump; a part is read, and its checksum compared, when it is asked for."""

    path: Path
    facts: Facts
    prints: Mapping[str, Mapping[str, Any]]

    @classmethod
    def open(cls, path: Path | str) -> Dump:
        """Read what the dump says of itself. Raises ModelError for a file that is cut short, damaged or no dump."""
        path = Path(path)
        if not path.is_file():
            raise ModelError("there is no such dump", where=str(path), fix="fovea capture --model ... --out FILE")
        safetensors = require("safetensors", extra="attention", needed_by="reading a dump")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                meta = file.metadata() or {}
        except Exception as error:  # the library's own error class is no FoveaError and has no kinds
            raise _damaged(path, "its header", f"cut short, or not safetensors ({error})") from None
        if meta.get("format") != "fovea-dump-1":
            raise ModelError(
                "this safetensors file is no dump of queries and keys",
                where=str(path),
                fix="fovea capture --model ... --out FILE writes one",
            )
        text = meta.get("fovea", "")
        if sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != meta.get("sha256"):
            raise _damaged(path, "the metadata", "its checksum differs")
        said = json.loads(text)
        with suppress(ValidationError):
            return cls(path, Facts.model_validate(said["facts"]), said["parts"])
        raise ModelError("the dump was written by another version", where=str(path), fix="capture it again")

    def part(self, name: str) -> np.ndarray:
        """One array. Raises ModelError, naming it, where its bytes are not those that were written."""
        import torch
        from safetensors import safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                tensor = file.get_tensor(name)
        except Exception as error:
            raise _damaged(self.path, name, str(error)) from None
        array: np.ndarray = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
        if _print(array) != self.prints.get(name):
            raise _damaged(self.path, name, "its checksum differs")
        return array

    @cached_property
    def query_rows(self) -> np.ndarray:
        """The row of each kept query, in order."""
        return self.part("query_rows")

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
        queries, keys, values = (self.part(f"{layer}.{name}") for name in ("queries", "keys", "values"))
        return Layer(queries, keys, values, self.facts.scaling[self.facts.layers.index(layer)])


def _damaged(path: Path, part: str, how: str) -> ModelError:
    layer, dot, name = part.partition(".")
    what = f"the {name} of layer {layer}" if dot else part
    return ModelError(f"the dump is damaged: {what}: {how}", where=str(path), fix="capture it again, or copy it anew")
