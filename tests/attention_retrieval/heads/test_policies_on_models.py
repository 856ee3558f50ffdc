"""Policies of heads on a model: a window that holds the text is the model, padded, in pieces and while it decodes."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import transformers as T  # noqa: E402

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.rag import registry  # noqa: E402
from fovea.rag.causal_lm import cache_argument  # noqa: E402
from tests.tiny_lms import SMALL, text  # noqa: E402

LAYERS, KV, TOKENS = SMALL["num_hidden_layers"], 2, 90
EXACT = {"sinks": 4, "window": 8, "dense_below": 16, "insert_every": 8, "dtype": "fp32", "seed": 0}


def wide(name: str, group: int) -> dict[str, object]:
    """Every head streams, with a window that holds the text and the answer."""
    query, kv = [[0.0] * (KV * group)] * LAYERS, [[0.0] * KV] * LAYERS
    return {
        "retrieval_heads": {"scores": query, "keep": 0, "window": 1000},
        "duo": {"scores": kv, "keep": 0, "window": 1000},
        "razor": {"scores": {"echo": query, "induction": query}, "echo": 0, "induction": 0, "window": 1000},
        "moa": {"plan": {"alphas": [[1000.0] * (KV * group)] * LAYERS, "betas": query}},
        "task_kv": {"window": 1000},
    }[name]


@pytest.fixture(scope="module", params=[3, 4, 7])
def pair(request):
    """The same model by ours and by sdpa, and its query heads a kv head."""
    heads = KV * request.param
    sizes = {**SMALL, "hidden_size": 8 * heads, "num_attention_heads": heads, "num_key_value_heads": KV}
    config = T.LlamaConfig(**sizes)
    both = []
    for implementation in ("fovea_retrieval", "sdpa"):
        torch.manual_seed(0)
        lm = T.AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=implementation)
        both.append(lm.eval())
    return *both, request.param


@pytest.fixture(scope="module")
def wanted(pair):
    """What full attention says of a padded batch in pieces, then token by token."""
    return logits(pair[1], T.DynamicCache(config=pair[1].config))


@torch.inference_mode()
def logits(lm, cache) -> list[torch.Tensor]:
    ids, mask = text(TOKENS, batch=2), torch.ones(2, TOKENS, dtype=torch.long)
    mask[1, :23] = 0
    made, read = [], 0
    for piece in ids.split([40, 1, 37, 9, 1, 1, 1], dim=1):
        read += piece.shape[1]
        seen = mask[:, :read]
        place = (seen.cumsum(1) - 1).clamp_min(0)[:, -piece.shape[1] :]
        out = lm(piece, attention_mask=seen, position_ids=place, **cache_argument(lm, cache)).logits
        made.append(out[seen[:, -piece.shape[1] :].bool()])
    return made


@pytest.mark.parametrize("name", registry.names("heads"))
def test_a_window_that_holds_the_text_is_the_model(pair, wanted, name):
    ours, _, group = pair
    settings = Retrieval(
        **EXACT, heads={"use": name, **wide(name, group)}, select={"use": "wave", "rest": 0, "most": 10_000}
    )
    for one, two in zip(logits(ours, RetrievalCache(ours.config, settings)), wanted, strict=True):
        torch.testing.assert_close(one, two, atol=2e-4, rtol=1e-4)
