"""Keys and queries that break indexes, and a build that is interrupted: for the engines that learn from queries."""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.testing.engines import D, asked, topics


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


HOSTILE = {
    "all keys equal": (np.ones((3000, D), np.float32), None),
    "one direction": (topics(3000, seed=0) + 500 * np.eye(D, dtype=np.float32)[3], None),
    "one query": (topics(3000, seed=0), np.ones((900, D), np.float32)),
    "few queries": (topics(3000, seed=0), asked(topics(3000, seed=0), 3, seed=1)),
    "queries of zeros": (topics(3000, seed=0), np.zeros((900, D), np.float32)),
    "huge": (topics(3000, seed=0) * 1e4, asked(topics(3000, seed=0), 900, seed=1) * 1e4),
}
