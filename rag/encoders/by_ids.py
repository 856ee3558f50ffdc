"""A model that runs by token ids: texts are cut into windows, and windows of like lengths go through it together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fovea.rag.engines import Engine
from fovea.rag.windows import batches, windows
from fovea.rag.wordpieces import ModelTokenizer

if TYPE_CHECKING:
    import numpy as np

CPU_TOKENS, GPU_TOKENS = 512, 32_768
"""Padded tokens in a batch: on a CPU what stays in its caches, on a GPU what keeps it busy."""


def windows_of(
    texts: Sequence[str], tokenizer: ModelTokenizer, prompt: str, room: int | None
) -> tuple[list[list[int]], list[int], list[int]]:
    """Ids of all windows, each behind the prompt, as the whole text would be; whose text each is; its own tokens."""
    before = tokenizer.ids([prompt])[0]
    rows, owners, weights = [], [], []
    for i, ids in enumerate(tokenizer.ids([prompt + text for text in texts])):
        if room is None or len(ids) <= room + len(before):
            parts = [ids]
        else:
            ids = tokenizer.ids([texts[i]])[0] if prompt else ids
            parts = [before + ids[a:b] for a, b in windows(len(ids), room)]
        rows += parts
        owners += [i] * len(parts)
        weights += [max(1, len(part) - len(before)) for part in parts]
    return rows, owners, weights


def vectors_of(
    rows: Sequence[Sequence[int]], engine: Engine, tokenizer: ModelTokenizer, *, texts: int, tokens: int, workers: int
) -> np.ndarray:
    """Float32 `(rows, dim)`, in batches of at most `texts` rows and `tokens` padded tokens, `workers` side by side."""
    import numpy as np

    out = None
    order = list(batches([len(row) + tokenizer.extra for row in rows], texts=texts, tokens=tokens))

    def vectors(batch: list[int]) -> np.ndarray:
        return engine(*tokenizer.padded([rows[i] for i in batch]))

    workers = min(len(order), workers)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for batch, part in zip(order, (pool.map if workers > 1 else map)(vectors, order)):
            out = np.empty((len(rows), part.shape[1]), dtype=np.float32) if out is None else out
            out[batch] = part
    assert out is not None
    return out
