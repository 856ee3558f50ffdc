"""Gates with random numbers, as `fovea train gates` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fovea.rag.trained import save


def gates(folder: Path, method: str, *, arrays: dict[str, np.ndarray] | None = None, **about: Any) -> str:
    """A folder of them: of one layer of 2 kv heads of 3 queries, d=32, blocks of 64, unless said otherwise."""
    said = {"layers": 1, "heads": 6, "kv_heads": 2, "d": 32, "size": 64, "width": 16, **about}
    layers, kv_heads, d, width = (said[name] for name in ("layers", "kv_heads", "d", "width"))
    group, rng = said["heads"] // kv_heads, np.random.default_rng(0)
    shapes = {
        "seer": {"query": (group * d, width), "key": (3 * d, width)},
        "landmark": {"landmark": (3 * d, d)},
        "value_gate": {"weight": (kv_heads * d,), "amplitude": ()},
    }[method]
    made = {name: rng.normal(size=(layers, kv_heads, *shape)).astype(np.float32) for name, shape in shapes.items()}
    turns = (0.5 ** np.arange(d // 2)).tolist()
    told = {"method": method, "model": "tiny", "model_name": "tiny", "turns": turns, "interleaved": False, **said}
    save(folder / "weights.safetensors", {**made, **(arrays or {})}, {"gate_turns": turns[-width // 2 :], **told})
    return str(folder)
