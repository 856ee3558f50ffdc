"""Peers of the engines: attention to every row, by us and by torch, and faiss by itself on its own copy of the keys.

faiss searches each query of a group by itself, so a row that two of them read counts twice, as it is read twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.attention_retrieval.index.engine import Found
from fovea.attention_retrieval.partial import Partial, merge
from fovea.pipelines.bench.attention_answers import Answer, Ready, answered
from fovea.pipelines.bench.attention_heads import Head, Step
from fovea.rag.errors import require

PROBES = (8, 16, 32, 64, 128)
LINKS, BREADTHS = 32, (128, 256, 512, 1024)


@dataclass
class Grouped:
    """Every row by our own kernel, each read once for the group."""

    head: Head
    nbytes: int = 0

    def answer(self, step: Step, k: int) -> Answer:
        """Attention to the text and to the step's run."""
        began = time.perf_counter()
        parts = [self.head.over(step.q, 0, self.head.tokens)]
        if step.behind[1] > step.behind[0]:
            parts.append(self.head.over(step.q, *step.behind))
        whole = merge(*parts)
        return _dense(self.head, step, whole, time.perf_counter() - began, self.head.keys.row_bytes)


class Sdpa:
    """torch's attention over a tensor of keys as a cache holds them, in float32 or bfloat16."""

    nbytes = 0

    def __init__(self, head: Head, dtype: str) -> None:
        torch = require("torch", extra="attention", needed_by="the peer sdpa")
        self.head, self.dtype = head, getattr(torch, dtype)
        rows = [table.block(0, len(table)) for table in (head.keys, head.values)]
        self.rows = [torch.from_numpy(table).to(self.dtype)[None, None] for table in rows]
        longest = max((step.behind[1] - step.behind[0] for step in head.steps), default=0)
        self.cache = [torch.empty(1, 1, head.tokens + longest, t.shape[3], dtype=self.dtype) for t in self.rows]
        for cache, table in zip(self.cache, self.rows):
            cache[:, :, : head.tokens] = table[:, :, : head.tokens]

    def answer(self, step: Step, k: int) -> Answer:
        """The group's queries as rows of one call, as transformers packs a single token's."""
        import torch

        low, high = step.behind
        end = self.head.tokens + high - low
        for cache, table in zip(self.cache, self.rows):
            cache[:, :, self.head.tokens : end] = table[:, :, low:high]
        q = torch.from_numpy(step.q).to(self.dtype)[None, None]
        keys, values = (cache[:, :, :end] for cache in self.cache)
        began = time.perf_counter()
        with torch.inference_mode():
            out = torch.nn.functional.scaled_dot_product_attention(q, keys, values, scale=1.0)
        seconds = time.perf_counter() - began
        unknown = np.full(len(step.q), np.nan, np.float32)  # torch does not tell the sum, so no mass is reported
        whole = Partial(out[0, 0].float().numpy(), unknown)
        answer = _dense(self.head, step, whole, seconds, keys.element_size() * self.head.keys.d)
        return answer._replace(plain=False)


def _dense(head: Head, step: Step, whole: Partial, seconds: float, row_bytes: int) -> Answer:
    rows = head.tokens + step.behind[1] - step.behind[0]
    return Answer(whole, None, True, rows, rows * row_bytes, 0.0, seconds)


class Faiss:
    """An index of faiss over a float32 copy of the dynamic keys."""

    def __init__(self, head: Head, index: Any, setting: Callable[[], None], read: Callable[[], int], *rest: Any):
        self.head, self.index, self.setting, self.read = head, index, setting, read
        self.nbytes, *self.owned = rest

    def answer(self, step: Step, k: int) -> Answer:
        """Search, attend, merge."""
        self.setting()
        before, began = self.read(), time.perf_counter()
        logits, ids = self.index.search(step.q, k)
        rows = np.where(ids >= 0, ids + self.head.start, -1).astype(np.int32)
        between = time.perf_counter()
        scanned = self.read() - before
        found = Found(rows, np.where(ids >= 0, logits, -np.inf).astype(np.float32), scanned, scanned * 4 * self.index.d)
        return answered(self.head, step, found, began, between)


def faiss_flat(head: Head) -> dict[str, Ready]:
    """Every key, exactly."""
    faiss = require("faiss", extra="faiss", needed_by="the peer faiss_flat")
    keys = head.dynamic().matrix()
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)
    count = _Counter(len(keys))
    return {"faiss_flat": Faiss(head, index, lambda: None, count, 0)}


class _Counter:
    """A search of all rows reads that many."""

    def __init__(self, rows: int) -> None:
        self.rows, self.total = rows, 0

    def __call__(self) -> int:
        self.total += self.rows
        return self.total


def faiss_ivf(head: Head) -> dict[str, Ready]:
    """4 sqrt(keys) lists of Euclidean k-means, those of largest q . centroid read; at several numbers of them."""
    faiss = require("faiss", extra="faiss", needed_by="the peer faiss_ivf")
    keys = head.dynamic().matrix()
    d, lists = keys.shape[1], max(1, min(round(4 * len(keys) ** 0.5), len(keys) // 39))
    cells, liked = faiss.IndexFlatL2(d), faiss.IndexFlatIP(d)
    index = faiss.IndexIVFFlat(cells, d, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = False
    index.train(keys)
    index.add(keys)
    liked.add(cells.reconstruct_n(0, lists))
    index.quantizer, own = liked, (cells, liked)  # python keeps what faiss only points to
    read = faiss.cvar.indexIVF_stats

    def variant(probe: int) -> Faiss:
        def setting() -> None:
            index.nprobe = probe

        return Faiss(head, index, setting, lambda: int(read.ndis + read.nq * lists), keys.nbytes + lists * d * 4, own)

    return {f"faiss_ivf nprobe={probe}": variant(probe) for probe in PROBES if probe <= lists or probe == PROBES[0]}


def faiss_hnsw(head: Head) -> dict[str, Ready]:
    """A graph of the keys by inner product, 32 links, at several breadths of search."""
    faiss = require("faiss", extra="faiss", needed_by="the peer faiss_hnsw")
    keys = head.dynamic().matrix()
    index = faiss.IndexHNSWFlat(keys.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(keys)
    nbytes = keys.nbytes + len(keys) * LINKS * 2 * 4

    def variant(breadth: int) -> Faiss:
        def setting() -> None:
            index.hnsw.efSearch = breadth

        return Faiss(head, index, setting, lambda: int(faiss.cvar.hnsw_stats.ndis), nbytes)

    return {f"faiss_hnsw ef={breadth}": variant(breadth) for breadth in BREADTHS}


PEERS: dict[str, Callable[[Head], dict[str, Ready]]] = {
    "dense": lambda head: {"dense": Grouped(head)},
    "sdpa": lambda head: {"sdpa": Sdpa(head, "float32")},
    "sdpa_bf16": lambda head: {"sdpa_bf16": Sdpa(head, "bfloat16")},
    "faiss_flat": faiss_flat,
    "faiss_ivf": faiss_ivf,
    "faiss_hnsw": faiss_hnsw,
}
"""By the name that --engines gives; several rows may come of one."""
