"""Bytes of a cache: in memory, and in the file it is saved to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

BF16 = 2
"""Bytes of a number that what is held and what is saved are compared with."""


def held(cache: Any) -> int:
    """Bytes of keys and values in a cache of transformers' own."""
    return sum(part.numel() * part.element_size() for layer in cache.layers for part in (layer.keys, layer.values))


def numbers(cache: Any) -> int:
    """How many numbers those are."""
    return sum(part.numel() for layer in cache.layers for part in (layer.keys, layer.values))


def kept(cache: Any) -> int:
    """Bytes of keys, values and indexes in a RetrievalCache, and of its layers of transformers' own.

    What stays near the model for a while (sinks and window in the model's dtype, beside a device) is not among them.
    """
    stock = [layer for layer in cache.layers if getattr(layer, "keys", None) is not None]
    plain = sum(part.numel() * part.element_size() for layer in stock for part in (layer.keys, layer.values))
    return plain + sum(row.cache.nbytes for layer in cache.layers for row in getattr(layer, "rows", ()))


def saved(cache: Any) -> int:
    """Bytes of the file that the cache is saved to."""
    with tempfile.TemporaryDirectory(prefix="fovea-longcontext-") as folder:
        path = Path(folder, "cache.kv")
        cache.save(path)
        return path.stat().st_size
