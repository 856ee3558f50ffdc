"""HiP while a prompt is read: the descent, the stages, and what they find."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.prefill.hip_prefill import HiPPrefill, descend  # noqa: E402
from fovea.attention_retrieval.testing.selections import HEADS, layer  # noqa: E402
from tests.attention_retrieval.prefill.reading import made  # noqa: E402


def near(peak: int):
    """Scores that fall with the distance from `peak`."""
    return lambda ids: -np.abs(ids - peak).astype(float)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100, 256])
def test_the_descent_finds_every_peak_that_shows_in_its_surroundings(size):
    for peak in range(size):  # power-of-two boundaries among them
        best, at = descend(near(peak), np.array([0]), np.array([size]))
        assert (best[0], at[0]) == (0, peak)


def test_many_chunks_descend_side_by_side():
    scores = np.random.default_rng(0).normal(size=256)
    low, high = np.array([0, 64, 128, 200]), np.array([64, 128, 200, 201])
    best, at = descend(lambda ids: scores[ids], low, high)
    for n, (a, b) in enumerate(zip(low, high)):
        alone = descend(lambda ids: scores[ids], np.array([a]), np.array([b]))
        assert (best[n], at[n]) == (alone[0][0], alone[1][0])
        assert a <= at[n] < b
        assert scores[at[n]] == best[n], "the score is that of a key in the chunk"


def test_a_descent_looks_at_two_keys_a_halving():
    looked = []
    descend(lambda ids: looked.append(ids.size) or np.zeros(ids.shape), np.array([0]), np.array([256]))
    assert sum(looked) == 1 + 2 * 8


def test_stages_narrow_to_the_chunk_of_the_peak_wherever_it_is():
    policy = HiPPrefill(stages=((64, 256), (16, 64), (4, 8)))
    for peak in (40, 63, 64, 127, 128, 511, 512, 999):
        chunks = policy.found(near(peak), 10, 1000)
        assert peak // 4 in chunks
        assert len(chunks) == 2


def test_what_is_kept_is_all_where_all_fits():
    policy = HiPPrefill(stages=((64, 1024), (8, 1024)))
    chunks = policy.found(lambda ids: np.zeros(ids.shape), 13, 777)
    np.testing.assert_array_equal(chunks, np.arange(13 // 8, -(-777 // 8)))


def test_a_block_reads_sinks_what_was_found_and_its_window():
    policy = HiPPrefill(stages=((32, 256), (8, 64)), window=40, block=64, dense_below=200, skip=2)
    text = layer(640)
    planted = 333
    text.keys.crop(planted)
    rng = np.random.default_rng(3)
    wanted = rng.normal(size=(HEADS, 1, 32)).astype(np.float32) * 2
    keys = rng.normal(size=(HEADS, 640 - planted, 32)).astype(np.float32) * 0.1
    keys[:, 3:24] = wanted * (1 - np.abs(np.arange(-10, 11)) / 20)[:, None]
    text.keys.append(keys)
    block = made(text, 576, 640)
    block.queries[:] = 0
    block.queries[:, -1, 30] = torch.from_numpy(wanted)[:, 0]  # one head of the group is enough, and one token
    columns = policy.columns(block)
    for ids in columns.ids:
        assert planted + 13 in ids
        assert set(range(8)) | set(range(536, 576)) <= set(ids.tolist())
        assert len(ids) <= 8 + 64 + 40
    early = policy.columns(made(text, 128, 192))
    assert [ids.tolist() for ids in early.ids] == [list(range(128))], "up to dense_below, all"


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match="100 is no multiple of 32"):
        HiPPrefill(stages=((100, 1000), (32, 64)))
    with pytest.raises(ValueError, match="keep a chunk at least"):
        HiPPrefill(stages=((64, 32),))
