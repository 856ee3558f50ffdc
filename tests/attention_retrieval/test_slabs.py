"""Slabs: long texts lie in few tables, and no more memory is asked for than rows take."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.attention_retrieval.rounding import CODES, width
from fovea.attention_retrieval.slabs import SLAB
from fovea.attention_retrieval.vectors import Vectors


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8", "int4"])
def test_slabs_share_tables_and_no_memory(dtype, monkeypatch):
    monkeypatch.setattr(
        "fovea.attention_retrieval.slabs.SPAN", 5 * 2 * SLAB * width(4, dtype) * np.dtype(CODES[dtype]).itemsize
    )
    rows, made = np.random.default_rng(0).normal(size=(2, 20 * SLAB + 9, 4)).astype(np.float32), Vectors(2, 4, dtype)
    for low in range(0, rows.shape[1], 3 * SLAB - 5):
        made.append(rows[:, low : low + 3 * SLAB - 5])
        made.crop(len(made) - 3)
        made.append(rows[:, len(made) : low + 3 * SLAB - 5])
    at_once = Vectors(2, 4, dtype)
    at_once.append(rows)
    np.testing.assert_array_equal(made.block(0, len(made)), at_once.block(0, len(made)))
    tables = [id(slab.base) for slab in made.slabs.codes]
    assert max(tables.count(table) for table in tables) == 5, "so many as SPAN has room for, the first ones alone"
    assert len(set(tables[:2])) == 2
