"""Presets: how to segment, pool and situate, by what is wanted. `preset: NAME` in YAML; a stage given beside it counts
instead.

`benchmarks/chunks_in_hybrid.py` has a row for each in the default pipeline, `benchmarks/chunking.py` for their vectors
alone. Sizes and the context's weight were chosen on XQuAD and TimeQA (`--data` of `benchmarks/pooling.py`), the reach
of the surroundings on the first of these, each of whose corpora it also leaves out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SITUATED: dict[str, Any] = {"pool": {"use": "late"}, "situate": {"use": "surroundings"}}
PRESETS: dict[str, dict[str, Any]] = {
    "plain": {"segment": [{"use": "recursive", "max_tokens": 200}], "pool": {"use": "separate"}},
    "passages": {"segment": [{"use": "recursive", "max_tokens": 75}], **SITUATED},
    "topics": {"segment": [{"use": "pointer", "max_tokens": 100}], **SITUATED},
}
"""`plain`: structure alone, each chunk encoded by itself, what every framework does. `passages`: small chunks by
structure, whose vectors and words know what stands around them, for any encoder. `topics`: the same, never across the
end of a topic as the trained pointer network sees it; for the encoder that its weights read."""

KEPT = {"passages": 13, "topics": 10}
"""How many chunks a preset keeps where `k` is not given: as many tokens as five chunks of `plain` may have."""


def idle(data: Mapping[str, Any]) -> str:
    """Why the preset of a file decides nothing, all of its stages being given beside it; "" where it does."""
    stages = PRESETS.get(str(data.get("preset")), {})
    if not stages or not all(stage in data for stage in stages):
        return ""
    *some, last = stages
    return f"preset: {data['preset']} decides nothing, since {', '.join(some)} and {last} are given beside it"
