"""Presets: how to segment and pool, by what is wanted. `preset: NAME` in YAML; a stage given beside it counts instead.

`benchmarks/chunking.py` has a row for each. Sizes and the context's weight were chosen on questions of other sets than
those it prints (XQuAD and TimeQA, `--data` of `benchmarks/pooling.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "plain": {"segment": [{"use": "recursive", "max_tokens": 200}], "pool": {"use": "separate"}},
    "passages": {"segment": [{"use": "recursive", "max_tokens": 100}], "pool": {"use": "late"}},
    "topics": {"segment": [{"use": "pointer", "max_tokens": 100}], "pool": {"use": "late"}},
}
"""`plain`: structure alone, each chunk encoded by itself, what every framework does. `passages`: small chunks by
structure, situated by what stands around them, for any encoder. `topics`: the same, never across the end of a topic as
the trained pointer network sees it; for the encoder that its weights read."""


def idle(data: Mapping[str, Any]) -> str:
    """Why the preset of a file decides nothing, all of its stages being given beside it; "" where it does."""
    stages = PRESETS.get(str(data.get("preset")), {})
    if not stages or not all(stage in data for stage in stages):
        return ""
    return f"preset: {data['preset']} decides nothing, since {' and '.join(stages)} are given beside it"
