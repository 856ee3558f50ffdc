"""Prefill policies: the contract, and a band against its formula."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.prefill.band import BandPrefill
from fovea.attention_retrieval.prefill.prefill import Columns, Prefill
from fovea.attention_retrieval.testing.prefills import SINKS, block_of, check_prefill, sight
from fovea.attention_retrieval.testing.selections import layer
from fovea.rag import registry

SMALL = {"band": {"window": 50}}


@pytest.mark.parametrize("name", registry.names("prefill"))
def test_every_policy_keeps_the_contract(name):
    check_prefill(Prefill.model_validate({"use": name, **SMALL[name]}))


@pytest.mark.parametrize(("start", "stop"), [(0, 40), (3, 60), (100, 300), (299, 300)])
def test_a_band_is_its_formula(start, stop):
    window = 20
    ids, seen = BandPrefill(window=window).columns(block_of(layer(300), start, stop))
    whole = np.zeros((stop - start, 300), bool)
    whole[:, ids[0]] = sight(ids, seen, start, stop)[0]
    tokens, columns = np.arange(start, stop)[:, None], np.arange(300)
    wanted = (columns <= tokens) & ((columns > tokens - window) | (columns < SINKS))
    np.testing.assert_array_equal(whole, wanted)
    assert ids.shape[1] <= SINKS + window + stop - start, "linear in the text"


class Blind(BandPrefill):
    """One that forgets the block itself."""

    def columns(self, block):
        return Columns(np.arange(max(block.start, 1))[None])


class Twice(BandPrefill):
    """One that names rows twice."""

    def columns(self, block):
        return Columns(np.sort(np.concatenate([np.arange(block.stop)] * 2))[None])


@pytest.mark.parametrize(("policy", "said"), [(Blind, "every token sees itself"), (Twice, "ids ascend")])
def test_the_suite_notices(policy, said):
    with pytest.raises(AssertionError, match=said):
        check_prefill(policy())
