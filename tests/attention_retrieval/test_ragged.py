"""Rows by head: what each holds is what it would hold alone, and what stays in place is not rounded again."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fovea.attention_retrieval.ragged import Ragged, left
from fovea.attention_retrieval.slabs import SLAB
from fovea.attention_retrieval.vectors import FIRST, Vectors
from fovea.rag.errors import ModelError

DTYPES = [(dtype, by) for dtype in ("fp32", "bf16", "int8", "int4") for by in ("token", "channel")]


def made(tokens: int, dtype: str, by: str, heads: int = 3) -> Vectors:
    vectors = Vectors(heads, 8, dtype, by)
    vectors.append(np.random.default_rng(0).normal(size=(heads, tokens, 8)).astype(np.float32))
    return vectors


def of(vectors: Vectors) -> list[np.ndarray]:
    """Each head's rows."""
    return [vectors.head(head).block(0, int(rows)) for head, rows in enumerate(vectors.lengths)]


@pytest.mark.parametrize(("dtype", "by"), DTYPES)
def test_each_head_holds_its_own_and_takes_what_comes(dtype, by):
    whole = made(700, dtype, by)
    kept = [np.arange(700), np.r_[:5, 600:700], np.r_[:5, 200, 601:700]]
    ragged = left(whole, kept)
    assert isinstance(ragged, Ragged)
    assert (ragged.lengths.tolist(), len(ragged)) == ([700, 105, 105], 700)
    coarse = {"int8": 0.02, "int4": 0.4}.get(dtype, 0)
    for mine, rows, before in zip(of(ragged), kept, of(whole)):
        np.testing.assert_allclose(mine, before[rows], atol=coarse)
    np.testing.assert_array_equal(of(ragged)[0], of(whole)[0], err_msg="a head that keeps all keeps its very codes")
    more = np.random.default_rng(1).normal(size=(3, 400, 8)).astype(np.float32)
    for piece in np.split(more, [1, 130], axis=1):
        ragged.append(piece)
    assert ragged.lengths.tolist() == [1100, 505, 505]
    np.testing.assert_allclose(ragged.last(400), more, atol={"bf16": 0.02, **{"int8": 0.03, "int4": 0.5}}.get(dtype, 0))
    rows = np.stack([ragged.head(head).block(40, 90) for head in range(3)])
    np.testing.assert_array_equal(ragged.block(40, 90), rows)
    ragged.crop(1000)
    assert ragged.lengths.tolist() == [1000, 405, 405]


@pytest.mark.parametrize(("dtype", "by"), DTYPES)
@pytest.mark.parametrize("rows", [0, 5, FIRST, FIRST + 40, 700, SLAB + 300, SLAB + 700])
def test_a_copy_of_the_first_rows_has_the_same_codes(dtype, by, rows):
    whole = made(SLAB + 700, dtype, by, heads=2)
    some = whole.copied(np.array([1]), rows)
    assert len(some) == rows
    got, wanted = some.head(0).block(0, rows), whole.head(1).block(0, rows)
    np.testing.assert_array_equal(got[: some.coded], wanted[: some.coded])
    cut = 2**-8 if (dtype, by) == ("int4", "channel") else 0  # the rows of a block that is cut wait as bf16
    np.testing.assert_allclose(got, wanted, rtol=cut)
    some.append(np.ones((1, 300, 8), np.float32))
    np.testing.assert_allclose(some.head(0).block(rows, rows + 300), 1, atol=0.3 if by == "channel" else 1e-6)
    assert len(whole) == SLAB + 700


def test_what_is_written_to_a_copy_is_not_written_to_the_first():
    ragged = left(made(300, "fp32", "token"), [np.arange(300), np.arange(290, 300), np.arange(290, 300)])
    before, twin = of(ragged), copy.deepcopy(ragged)
    twin.append(np.zeros((3, 5, 8), np.float32))
    for mine, was in zip(of(ragged), before):
        np.testing.assert_array_equal(mine, was)


def test_a_row_that_is_not_finite_is_taken_by_no_head():
    ragged = left(made(30, "fp32", "token"), [np.arange(30), np.arange(30), np.arange(9)])
    bad = np.zeros((3, 2, 8), np.float32)
    bad[2, 1, 3] = np.nan
    with pytest.raises(ModelError, match="NaN or infinite"):
        ragged.append(bad)
    assert ragged.lengths.tolist() == [30, 30, 9]


def test_bytes_fall_with_the_rows():
    whole = made(4000, "bf16", "token")
    ragged = left(whole, [np.arange(4000), np.arange(100), np.arange(100)])
    assert ragged.nbytes == whole.nbytes * 4200 // 12000
    assert [ragged.head_bytes(head) for head in range(3)] == [4000 * 16, 100 * 16, 100 * 16]
    again = left(ragged, [np.arange(4000), np.arange(50), np.arange(50)])
    assert again.parts[0] is ragged.parts[0], "what keeps all is not copied"
