"""Policies by block, or by position, on a model: all of it is the model, pieces are the whole, and what does not fit is
refused.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.prefill.prefill import Prefill  # noqa: E402
from fovea.rag import registry  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from tests.attention_retrieval.prefill.test_prefill import ALL, PIECES, SMALL, plain, read  # noqa: E402
from tests.tiny_lms import model, text  # noqa: E402

NAMES = registry.names("prefill")
IN_BLOCKS = [name for name in NAMES if Prefill.model_validate({"use": name, **SMALL[name]}).rows <= 64]


def cached(lm, name, settings) -> RetrievalCache:
    return RetrievalCache(lm.config, Retrieval(prefill={"use": name, **settings[name]}, sinks=4, dtype="fp32"))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_leaves_nothing_out_is_the_model_padded_or_not(name):
    ours, full = model("llama, 4 to 1", "fovea_retrieval"), model("llama, 4 to 1", "sdpa")
    ids, mask = text(160, batch=2), torch.ones(2, 160, dtype=torch.long)
    mask[1, :37] = 0
    with torch.inference_mode():
        got = ours(ids, attention_mask=mask, past_key_values=cached(ours, name, ALL)).logits
        wanted = full(ids, attention_mask=mask).logits
    torch.testing.assert_close(got[mask.bool()], wanted[mask.bool()], atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("name", IN_BLOCKS)
def test_a_model_in_pieces_is_the_model_at_once(name):
    ours, ids = model("qwen2, 7 to 1", "fovea_retrieval"), text(420)
    pieces = cached(ours, name, SMALL)
    rows = pieces.settings.prefill.rows
    with torch.inference_mode():
        whole = ours(ids, past_key_values=cached(ours, name, SMALL)).logits[:, -1]
        for piece in ids.tensor_split([rows, 3 * rows, 6 * rows], dim=1):
            last = ours(piece, past_key_values=pieces).logits[:, -1]
    torch.testing.assert_close(last, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", IN_BLOCKS)
def test_the_small_settings_do_leave_something_out(name):
    policy = Prefill.model_validate({"use": name, **SMALL[name]})
    assert not torch.allclose(read(policy, 3, (300,)), plain(3), atol=1e-2)


@pytest.mark.parametrize("name", ["power", "s2", "moa_bands"])
def test_a_policy_by_position_reads_any_pieces_as_the_whole(name):
    policy = Prefill.model_validate({"use": name, **SMALL[name]})
    whole, *others = (read(policy, 3, pieces) for pieces in PIECES)
    for other in others:
        torch.testing.assert_close(other, whole, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rounded_keys_are_read_as_they_are_stored(name):
    policy = Prefill.model_validate({"use": name, **ALL[name]})
    got = read(policy, 3, (300,), dtype="int8").numpy()
    wanted = read(None, 3, (300,), dtype="int8").numpy()
    assert np.linalg.norm(got - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_a_policy_of_another_model_is_refused_when_it_is_attached():
    ours = model("llama, 4 to 1", "fovea_retrieval")
    for prefill in ({"use": "sale", "tau": [[0.1] * 9] * 3}, {"use": "moa_bands", "alphas": [[64] * 9] * 3}):
        with pytest.raises(ConfigError, match="of 3 layers of 9 heads, the model has 3 of 8"):
            RetrievalCache(ours.config, Retrieval(prefill=prefill))
