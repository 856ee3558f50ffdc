"""A model made by formula, whose second layer alone looks things up: policies that let it read everything find the
value, those that let the first layer do so do not.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.testing.induction import GROUPS, HEADS, induction_model, lookup  # noqa: E402


@pytest.fixture(scope="module")
def lm():
    model = induction_model(512)
    model.set_attn_implementation("fovea_retrieval")
    return model


def policy(name: str, deep: bool) -> dict:
    """One that lets the second layer's heads read everything, or the first's, and the others the last 40 tokens."""
    reads = np.array([[not deep], [deep]], float)
    queries, keys = np.repeat(reads, HEADS, 1).tolist(), np.repeat(reads, GROUPS, 1).tolist()
    return {
        "retrieval_heads": {"scores": queries, "window": 40},
        "duo": {"scores": keys, "window": 40, "keep": None},
        "razor": {"scores": {"echo": queries, "induction": queries}, "induction": 0.5, "window": 40, "share": 0},
        "moa": {"plan": {"alphas": [[40.0] * HEADS] * 2, "betas": queries}, "least": 40},
    }[name] | {"use": name}


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("name", ["retrieval_heads", "duo", "razor", "moa"])
def test_heads_that_look_up_find_the_value_and_others_do_not(lm, name, deep):
    page = lookup(600, depth=0.4, vocabulary=512, seed=1)
    settings = Retrieval(
        sinks=4, window=20, dense_below=100, heads=policy(name, deep), select={"use": "wave", "rest": 0, "most": 10_000}
    )
    cache = RetrievalCache(lm.config, settings)
    with torch.inference_mode():
        lm(torch.tensor([page.ids[:-1]]), past_key_values=cache)
        logits = lm(torch.tensor([page.ids[-1:]]), past_key_values=cache).logits[0, -1]
    readers = {(head.layer, head.engine == "window") for head in cache.report().heads}
    assert readers == {(0, deep), (1, not deep)}
    assert (int(logits.argmax()) == page.answer) == deep
