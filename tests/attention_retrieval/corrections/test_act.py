"""ACT: the form for parts is that of the map, sinks are those of the prompt's columns, and a cache decodes by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.corrections.act import ActCorrection, calmed  # noqa: E402
from fovea.attention_retrieval.kernels.reference import attend  # noqa: E402
from fovea.attention_retrieval.partial import Partial  # noqa: E402
from fovea.attention_retrieval.probes.act_heads import Calmed, Example, act_gains, gaining  # noqa: E402
from fovea.attention_retrieval.probes.through import through  # noqa: E402
from fovea.rag.causal_lm import CausalLM  # noqa: E402
from fovea.rag.errors import FoveaError  # noqa: E402
from tests.tiny_lms import model, text  # noqa: E402

OURS = "fovea_retrieval"


def by_map(weights: np.ndarray, sinks: np.ndarray, beta: float) -> np.ndarray:
    """Rows of a map (n, keys), with what is taken from the sinks given to all others by their weights."""
    made = weights.copy()
    others = np.setdiff1d(np.arange(weights.shape[1]), sinks)
    freed = (1 - beta) * weights[:, sinks].sum(axis=1, keepdims=True)
    made[:, sinks] *= beta
    made[:, others] += freed * weights[:, others] / weights[:, others].sum(axis=1, keepdims=True)
    return made


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 0.4, 1]), st.sampled_from([0.3, 3.0]))
def test_the_form_for_parts_is_that_of_the_map(seed, beta, spread):
    rng = np.random.default_rng(seed)
    logits, values = (rng.normal(size=(4, 60)) * spread).astype(np.float32), rng.normal(size=(60, 8)).astype(np.float32)
    sinks = np.sort(rng.choice(60, rng.integers(0, 20), replace=False))
    whole, part = Partial(*attend(values, logits)), Partial(*attend(values[sinks], logits[:, sinks]))
    weights = np.exp(logits - whole.lse[:, None]).astype(np.float64)
    left = 1 - weights[:, sinks].sum(axis=1).max()  # what the others are worked out from, in float32
    np.testing.assert_allclose(calmed(whole, part, beta), by_map(weights, sinks, beta) @ values, atol=1e-5 / left)


def test_where_sinks_get_all_the_output_stays():
    whole = Partial(np.ones((1, 4), np.float32), np.zeros(1, np.float32))
    np.testing.assert_array_equal(calmed(whole, whole, 0.4), whole.out)
    none = Partial(np.zeros((1, 4), np.float32), np.full(1, -np.inf, np.float32))
    np.testing.assert_array_equal(calmed(whole, none, 0.4), whole.out)


def test_sinks_are_columns_of_large_mean_and_the_first_is_passed_over():
    rng, tokens = np.random.default_rng(0), 700
    keys, queries = (rng.normal(size=(tokens, 8)).astype(np.float32) for _ in range(2))
    queries[:, 0], keys[:, 0] = 3, -2
    for sink, strength in ((0, 1.6), (40, 1.4), (300, 1.5), (500, 0.2)):
        keys[sink, 0] = strength
    at = np.arange(tokens)
    logits = np.where(at[:, None] >= at, queries @ keys.T, -np.inf)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    passing = np.flatnonzero(weights.sum(axis=0) / (tokens - at) > 0.1)
    found = ActCorrection().sinks(queries, at, keys)
    assert found.tolist() == passing[1:].tolist()
    assert passing[0] == 0
    assert {40, 300} <= set(found.tolist())
    some = np.arange(0, tokens, 8)
    thin = ActCorrection().sinks(queries[some], some, keys)
    assert {40, 300} == set(thin[thin < 500].tolist()), "a sample of the queries finds what all of them find"


@pytest.fixture(scope="module")
def lm():
    """A model, and one of its texts."""
    return model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa"), text(90)


def last_logits(ours, ids, **settings) -> torch.Tensor:
    """Of a step behind a prompt."""
    made = Retrieval(sinks=4, window=16, dense_below=0, dtype="fp32", **settings)
    cache = RetrievalCache(ours.config, made)
    with torch.inference_mode():
        ours(ids[:, :-1], past_key_values=cache)
        return ours(ids[:, -1:], past_key_values=cache).logits[0, -1]


@pytest.mark.parametrize("select", [{"use": "wave", "rest": 0, "most": 10_000}, {"use": "tokenselect"}, None])
def test_a_cache_decodes_as_the_map_says(lm, select):
    """The same head, changed in the model itself: row by row over the whole map."""
    ours, plain, ids = lm
    act = {"use": "act", "heads": [[2, 5]], "threshold": 0.02}
    beside = {"select": select} if select else {"top_k": 5000, "engine": {"use": "flat"}}
    made = last_logits(ours, ids, correct=act, **beside)
    calm = ActCorrection.model_validate({name: each for name, each in act.items() if name != "use"})
    with torch.inference_mode(), through(plain, Calmed(calm, 2, 5, ids.shape[1] - 1)):
        wanted = plain(ids, use_cache=False).logits[0, -1]
    torch.testing.assert_close(made, wanted, atol=2e-4, rtol=1e-4)
    with torch.inference_mode():
        assert (plain(ids).logits[0, -1] - wanted).abs().max() > 1e-3, "it changes something"
    same = last_logits(ours, ids, correct={**act, "beta": 1.0}, **beside)
    torch.testing.assert_close(same, plain(ids).logits[0, -1], atol=2e-4, rtol=1e-4)


def test_sinks_are_looked_for_anew_behind_each_prompt(lm):
    ours, _, ids = lm
    act = {"use": "act", "heads": [[2, 5]], "threshold": 0.02}
    cache = RetrievalCache(ours.config, Retrieval(sinks=4, window=16, dtype="fp32", correct=act))
    with torch.inference_mode():
        ours(ids[:, :60], past_key_values=cache)
        ours(ids[:, 60:61], past_key_values=cache)
        row = cache.layers[2].rows[0].cache
        before = row.mid_text[5].tolist()
        ours(ids[:, 61:], past_key_values=cache)
        assert row.mid_text is None
        ours(ids[:, :1], past_key_values=cache)
    assert before
    assert row.mid_text[5].tolist() != before
    cache.crop(-1)
    assert row.mid_text is None


def test_what_act_cannot_do_is_refused(lm):
    ours = lm[0]
    act = {"use": "act", "heads": [[2, 5]]}
    with pytest.raises(ValidationError, match=r"act names no heads: heads: \[\[layer, head\]"):
        Retrieval(correct={"use": "act"})
    for beside in ({"watch": True}, {"evict": {"use": "snapkv"}}):
        with pytest.raises(ValidationError, match=f"leave out {next(iter(beside))}"):
            Retrieval(correct=act, **beside)
    with pytest.raises(ValidationError, match="positions: remapped"):
        Retrieval(correct=act, select={"use": "tokenselect", "positions": "remapped"})
    with pytest.raises(ValidationError, match="say correct: {use: act} beside select"):
        Retrieval(select={"use": "retrieval", "correct": act})
    with pytest.raises(ValidationError, match="act stands for no rows that were not found"):
        Retrieval(correct={**act, "rest": act})
    with pytest.raises(FoveaError, match="there is no head 9 in a layer 2 of full attention, so it cannot be calmed"):
        RetrievalCache(ours.config, Retrieval(correct={"use": "act", "heads": [[2, 9]]}))
    assert Retrieval(correct=act).selection.name == "wave", "what stands for missed rows is still the tail"
    assert Retrieval(correct={**act, "rest": None}).selection.correct is None


def test_heads_are_tried_one_by_one(lm):
    _, plain, ids = lm
    reader, tokens = CausalLM("tiny", plain, None), ids[0].tolist()
    examples = [Example(tokens[:30], tokens[30:34]), Example(tokens[40:70], tokens[70:73])]
    gains = act_gains(reader, examples, ActCorrection(threshold=0.02))
    assert gains.shape == (2, 3, 8)
    assert not gains[:, :2].any()
    assert np.abs(gains[:, 2]).max() > 0
    assert not act_gains(reader, examples, ActCorrection(threshold=0.02, beta=1.0)).round(4).any()
    assert gaining(np.array([[[1, -1, 0.1]], [[1.2, -1, -0.1]]])) == [(0, 0)]
    with pytest.raises(FoveaError, match="two tokens or more"):
        act_gains(reader, [Example([1, 2], [3])])
