"""DeltaLLM: what stands for keys, and that keys that stand for several give what these give together."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.kernels.reference import attend  # noqa: E402
from fovea.attention_retrieval.prefill.delta import DeltaLLM, alike, held  # noqa: E402
from fovea.attention_retrieval.testing.selections import layer  # noqa: E402
from tests.attention_retrieval.prefill.reading import attended, made  # noqa: E402


def by_loop(keys: np.ndarray, threshold: float) -> np.ndarray:
    stand, bar = keys.copy(), threshold * keys.std(axis=0)
    for channel in range(keys.shape[1]):
        last = keys[0, channel]
        for token in range(1, len(keys)):
            if abs(keys[token, channel] - last) > bar[channel]:
                last = keys[token, channel]
            stand[token, channel] = last
    return stand


@pytest.mark.parametrize("threshold", [0, 0.3, 1, 100])
def test_a_channel_stays_until_it_has_changed(threshold):
    keys = np.random.default_rng(0).normal(size=(2, 3, 20, 5)).cumsum(axis=2).astype(np.float32)
    stand = held(keys, threshold)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(stand[place], by_loop(keys[place], threshold))
    assert (np.abs(stand - keys) <= threshold * keys.std(axis=2, keepdims=True) + 1e-6).all()
    if threshold == 0:
        np.testing.assert_array_equal(stand, keys)


def test_equal_keys_in_a_row_are_one_that_counts_for_all():
    rng = np.random.default_rng(1)
    keys = np.repeat(rng.normal(size=(9, 8)), [1, 5, 2, 8, 1, 1, 10, 3, 1], axis=0).astype(np.float32)
    values, query = rng.normal(size=(32, 8)).astype(np.float32), rng.normal(size=(4, 8)).astype(np.float32)
    few, means, count = alike(keys, values, 16)
    assert len(few) == 9, "none crosses a segment here"
    out, lse = attend(means, (query @ few.T + np.log(count)).astype(np.float32))
    wanted, wanted_lse = attend(values, query @ keys.T)
    np.testing.assert_allclose(out, wanted, atol=1e-5)
    np.testing.assert_allclose(lse, wanted_lse, atol=1e-5)
    assert len(alike(keys, values, 4)[0]) > 9, "a segment begins anew"


def test_the_error_grows_with_the_threshold_from_nothing():
    text = layer(640)
    block = made(text, 512, 640)
    errors = []
    exact = attended(DeltaLLM(window=1000), block).out
    for threshold in (0, 0.2, 1.0):
        out = attended(DeltaLLM(threshold=threshold, window=64, block=128), block).out
        errors.append(np.linalg.norm(out - exact) / np.linalg.norm(exact))
    assert errors[0] < 1e-6 < errors[1] < 0.1 < errors[2]


def test_keys_that_do_not_change_are_one_estimate_a_segment():
    text = layer(640)
    text.keys.crop(0)
    text.keys.append(np.ones((2, 640, 32), np.float32))
    columns = DeltaLLM(window=64, block=128).columns(made(text, 512, 640))
    for each in columns.means:
        assert len(each.keys) == (448 - 64) // 64
        assert (each.counts == 64).all()
