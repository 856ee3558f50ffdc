"""What gates are learned from: where a model's attention lies in a text, block by block, and what gates see of it.

    mass  (head, query, block)      attention of a query to a block's rows
    most  (kv head, query, block)   the largest attention of any of the group's queries to any row of the block
    given (kv head, row)            the mean attention that queries of the text's last quarter give a row of before

Blocks are those wholly before the block that the query stands in: the last block is always read. Queries and keys are
kept as they were before RoPE, queries times the scaling; keys pooled by blocks. Each text is read once, a layer at a
time, and kept in a file of its own: a training holds one text, and goes on from those that were read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fovea.attention_retrieval.probes.through import Called, through
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.selection.gated_blocks import pooled
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ModelError, require
from fovea.rag.write_whole import write_whole

Arrays = Mapping[str, np.ndarray]
"""`queries` (layers, heads, n, d), `keys` (layers, kv heads, blocks, 3 d), `most`, `mass`, `values` (layers, kv heads,
m, d), `given` (layers, kv heads, m), `rows` (n,) those of the queries, and `picked` (m,) those of the values."""


@dataclass(frozen=True)
class Reader:
    """Reads texts with a model that stays as it is, and keeps what is read in `folder`."""

    lm: CausalLM
    rotation: Rotation
    size: int
    queries: int
    """Of a text that are looked at, spread over it."""
    values: int
    """Rows of a text of which values are kept."""
    folder: Path
    asked: str
    """What tells these texts from others."""

    def text(self, n: int, ids: Callable[[], tuple[list[int], range]], seed: list[int]) -> Arrays:
        """Text `n`, read, or read before; `ids` gives its tokens, and which of them are looked at first of all."""
        path = self.folder / f"{self.asked}-{n}.safetensors"
        if path.exists() and (arrays := _kept(path)):
            return arrays
        library = require("safetensors.numpy", extra="local", needed_by="training")
        arrays = self._read(*ids(), np.random.default_rng(seed))
        self.folder.mkdir(parents=True, exist_ok=True)
        said = {"asked": json.dumps(self.asked)}
        write_whole(path, lambda part: library.save_file(dict(arrays), part, said))
        return arrays

    def _read(self, ids: list[int], first: range, rng: np.random.Generator) -> Arrays:
        import torch

        tokens = len(ids) // self.size * self.size
        if tokens < 8 * self.size:
            what = f"a text of {len(ids):,} tokens has fewer than eight blocks of {self.size}"
            raise ModelError(what, where="--data", fix=f"longer texts, or --set size={max(len(ids) // 8, 1)}")
        rows = self._rows(tokens, first, rng)
        picked = np.sort(rng.permutation(tokens * 3 // 4)[: self.values])
        layers: list[dict[str, np.ndarray]] = []

        def seen(called: Called, out: Any) -> Any:
            layers.append(self._layer(called, rows, picked))
            return out

        with torch.inference_mode(), through(self.lm.model, seen):
            self.lm.model.base_model(torch.tensor([ids[:tokens]], device=self.lm.model.device), use_cache=False)
        made = {name: np.stack([each[name] for each in layers]) for name in layers[0]}
        return {**made, "rows": rows, "picked": picked}

    def _rows(self, tokens: int, first: range, rng: np.random.Generator) -> np.ndarray:
        """Rows of the queries, ascending: those of `first`, up to half of them, and others behind the fourth block."""
        own = np.array([row for row in first if row < tokens][: self.queries // 2], np.int64)
        rest = rng.permutation(np.setdiff1d(np.arange(4 * self.size, tokens), own))
        return np.sort(np.concatenate([own, rest[: self.queries - len(own)]]))

    def _layer(self, called: Called, rows: np.ndarray, picked: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        at = torch.from_numpy(rows).to(called.query.device)
        asked, keys = called.query[0][:, at].float() * called.scaling, called.key[0].float()
        kv_heads, tokens, _ = keys.shape
        logits = asked.unflatten(0, (kv_heads, -1)) @ keys[:, None].transpose(2, 3)
        weights = logits.masked_fill_(called.hidden[0, 0, at], -torch.inf).softmax(dim=-1)
        late = at >= tokens * 3 // 4
        some = torch.from_numpy(picked).to(at.device)
        given = weights[:, :, late][..., some].mean(dim=(1, 2))
        blocks = weights.unflatten(3, (-1, self.size))
        before = torch.arange(tokens // self.size, device=at.device) < (at // self.size)[:, None]
        mass, most = blocks.sum(-1).flatten(0, 1) * before, blocks.amax(-1).amax(1) * before
        raw = self.rotation.moved(keys.cpu().numpy(), -np.arange(tokens))
        return {
            "queries": self.rotation.moved(asked.cpu().numpy(), -rows).astype(np.float16),
            "keys": pooled(raw, self.size),
            "mass": mass.cpu().numpy().astype(np.float16),
            "most": most.cpu().numpy().astype(np.float16),
            "values": called.value[0][:, some].float().cpu().numpy().astype(np.float16),
            "given": given.cpu().numpy(),
        }


def _kept(path: Path) -> Arrays | None:
    """What was read before; None where the file is torn: it is read again."""
    library = require("safetensors.numpy", extra="local", needed_by="training")
    from safetensors import SafetensorError

    try:
        arrays: Arrays = library.load_file(path)
    except (SafetensorError, OSError, ValueError):
        return None
    return arrays
