from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.attention_retrieval.testing.induction import CODE, induction_model, lookup, prefilled, sign_codes
from fovea.rag.errors import QueryError

torch = pytest.importorskip("torch")
DynamicCache = pytest.importorskip("transformers").DynamicCache


@pytest.fixture(scope="module")
def model():
    return induction_model()


def after(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]


@pytest.mark.parametrize("length", [64, 512, 4096])
def test_finds_the_value_at_any_length(model, length):
    page = lookup(length, depth=0.37, seed=length)
    logits = after(model, page.ids)
    assert int(logits.argmax()) == page.answer == page.ids[page.place]
    assert float(logits.softmax(-1).max()) > 0.999


@settings(max_examples=25)
@given(st.integers(8, 300), st.floats(0, 1), st.integers(0, 10**6))
def test_finds_any_line(model, length, depth, seed):
    page = lookup(length, depth=depth, seed=seed)
    assert int(after(model, page.ids).argmax()) == page.answer


def test_every_line_of_a_page_can_be_asked_for(model):
    lines = np.array(lookup(150).ids[:-2]).reshape(-1, 3)
    asked = [[*lines.ravel().tolist(), int(a), int(b)] for a, b, _ in lines]
    with torch.no_grad():
        found = model(torch.tensor(asked), logits_to_keep=1).logits[:, -1].argmax(-1)
    assert found.tolist() == lines[:, 2].tolist()


def test_half_a_key_is_not_enough(model):
    """Lines that share one of the two key tokens with the question are distractors, and lose."""
    decoys = [token for other in range(10, 200) for token in (7, other, 1500, other, 8, 1501)]
    page = [*decoys[:600], 7, 8, 2000, *decoys[600:], 7, 8]
    assert int(after(model, page).argmax()) == 2000


def test_a_key_that_is_not_there_is_not_answered(model):
    page = lookup(512, seed=3, known=False)
    assert page.answer == page.place == -1
    told = lookup(512, seed=3)
    weights = attention_of_the_last(model, page.ids)
    assert float(attention_of_the_last(model, told.ids)[:, told.place].min()) > 0.999
    assert float(weights[:, told.place].max()) < 0.5
    assert int(after(model, page.ids).argmax()) != told.answer


def attention_of_the_last(model, ids: list[int]) -> torch.Tensor:
    """Weights of the second layer's heads for the last token, `(heads, length)`."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = model(torch.tensor([ids]), output_attentions=True).attentions[1][0, :, -1]
    model.set_attn_implementation("sdpa")
    return found


def test_a_cache_by_formula_is_the_cache_of_a_prefill(model):
    ids = torch.tensor(lookup(900, seed=5).ids)
    with torch.no_grad():
        cache = model(ids[None], use_cache=True).past_key_values
    for layer, (k, v) in zip(cache.layers, prefilled(model, ids)):
        assert torch.allclose(layer.keys[:, :, 2:], k[:, :, 2:], atol=1e-3)
        assert torch.allclose(layer.values[:, :, 2:], v[:, :, 2:], atol=1e-3)


def test_one_step_over_a_long_cache_made_by_formula(model):
    """49,152 tokens, keys and values rounded as a bf16 cache rounds them; then the question's last token."""
    page = lookup(3 << 14, depth=0.02, seed=1)
    ids = torch.tensor(page.ids)
    cache = DynamicCache(config=model.config)
    for layer, (k, v) in enumerate(prefilled(model, ids[:-1])):
        cache.update(k.bfloat16().float(), v.bfloat16().float(), layer)
    with torch.no_grad():
        logits = model(ids[None, -1:], past_key_values=cache).logits[0, -1]
    assert int(logits.argmax()) == page.answer
    assert float(logits.softmax(-1).max()) > 0.999


def test_codes_keep_apart():
    codes = sign_codes(300, seed=4).astype(int)
    assert np.abs(codes @ codes.T - CODE * np.eye(300, dtype=int)).max() <= CODE // 2
    assert (sign_codes(300, seed=4) == codes).all()


def test_a_page_too_short_is_refused():
    with pytest.raises(QueryError, match="holds 1 to"):
        lookup(4)
