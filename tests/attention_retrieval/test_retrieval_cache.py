"""A model with a RetrievalCache against the same model with full attention."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from transformers import DynamicCache, StaticCache  # noqa: E402

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.attention_retrieval.cache.layer import LayerCache  # noqa: E402
from fovea.attention_retrieval.index.flat import FlatEngine  # noqa: E402
from fovea.rag import registry  # noqa: E402
from fovea.rag.errors import ConfigError, FoveaError, ModelError  # noqa: E402
from tests.tiny_lms import CONFIGS, greedy, model, text  # noqa: E402

EXACT = {
    "sinks": 4,
    "window": 16,
    "top_k": 5000,
    "dense_below": 0,
    "dtype": "fp32",
    "insert_every": 8,
    "audit_every": 3,
}
OURS = "fovea_retrieval"


def cache(lm, **settings) -> RetrievalCache:
    return RetrievalCache(lm.config, Retrieval(**{**EXACT, **settings}))


@pytest.fixture(params=sorted(CONFIGS), scope="module")
def pair(request):
    return model(request.param, OURS), model(request.param, "sdpa")


def test_all_keys_retrieved_is_full_attention(pair):
    ours, full = pair
    ids = text(150)
    sequences, logits = greedy(full, ids)
    for settings in ({}, {"dense_below": 5000}, {"sinks": 0, "window": 1}, {"sinks": 400}):
        made = greedy(ours, ids, past_key_values=cache(ours, **settings))
        assert torch.equal(made[0], sequences), settings
        torch.testing.assert_close(made[1], logits, atol=3e-5, rtol=1e-5)


def test_more_keys_than_there_are_and_the_largest_seed_can_be_asked_for(pair, tmp_path):
    ours, full = pair
    asked = cache(ours, top_k=10**12, seed=2**32 - 1)
    torch.testing.assert_close(
        greedy(ours, text(60), 4, past_key_values=asked)[1], greedy(full, text(60), 4)[1], atol=3e-5, rtol=1e-5
    )
    asked.save(tmp_path / "text.kv")
    assert RetrievalCache.load(tmp_path / "text.kv").settings == asked.settings
    with pytest.raises(ValueError, match="less than 4294967296"):
        Retrieval(seed=2**32)


def test_left_padding_and_a_batch(pair):
    ours, full = pair
    ids, mask = text(90, batch=3), torch.ones(3, 90, dtype=torch.long)
    mask[0, :41], mask[2, :7] = 0, 0
    sequences, logits = greedy(full, ids, mask=mask)
    made = greedy(ours, ids, mask=mask, past_key_values=cache(ours))
    assert torch.equal(made[0], sequences)
    torch.testing.assert_close(made[1], logits, atol=5e-5, rtol=1e-5)  # sdpa sums over the padding too


def test_a_prompt_in_pieces_is_a_prompt(pair):
    ours, _ = pair
    ids = text(150)
    whole, pieces = cache(ours, top_k=20), cache(ours, top_k=20)
    with torch.inference_mode():
        at_once = ours(ids, past_key_values=whole).logits[:, -1]
        for piece in ids.split([1, 64, 50, 35], dim=1):
            in_steps = ours(piece, past_key_values=pieces).logits[:, -1]
    torch.testing.assert_close(in_steps, at_once, atol=2e-5, rtol=1e-5)
    made = greedy(ours, torch.cat([ids, text(1, seed=3)], dim=1), past_key_values=whole)
    same = greedy(ours, torch.cat([ids, text(1, seed=3)], dim=1), past_key_values=pieces)
    assert torch.equal(made[0], same[0])
    torch.testing.assert_close(made[1], same[1], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("exact_prompt", [True, False])
def test_a_second_question_goes_on_with_the_same_cache(pair, exact_prompt):
    ours, full = pair
    kept, other = cache(ours, exact_prompt=exact_prompt), DynamicCache(config=full.config)
    ids = text(100)
    for question in (1, 2):
        ids = torch.cat([ids, text(9, seed=question)], dim=1)
        made = greedy(ours, ids, 12, past_key_values=kept)
        expected = greedy(full, ids, 12, past_key_values=other)
        assert torch.equal(made[0], expected[0])
        torch.testing.assert_close(made[1], expected[1], atol=2e-5, rtol=1e-5)
        ids = made[0]


def test_a_prompt_read_in_a_band(pair, monkeypatch):
    monkeypatch.setattr("fovea.attention_retrieval.prefill.prefill.BLOCK", 13)
    ours, full = pair
    ids = text(150)
    expected = greedy(full, ids)
    for window in (150, 5000):
        made = greedy(ours, ids, past_key_values=cache(ours, prefill={"use": "band", "window": window}))
        torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)
    whole, pieces = (cache(ours, prefill={"use": "band", "window": 20}) for _ in range(2))
    with torch.inference_mode():
        at_once = ours(ids, past_key_values=whole).logits[:, -1]
        for piece in ids.split([1, 64, 50, 35], dim=1):
            in_steps = ours(piece, past_key_values=pieces).logits[:, -1]
    torch.testing.assert_close(in_steps, at_once, atol=3e-5, rtol=1e-5)
    alone = any(type(layer).__name__ == "RetrievalLayer" for layer in whole.layers)
    assert torch.allclose(at_once, full(ids).logits[:, -1], atol=1e-3) != alone


def test_answers_are_forgotten_by_crop():
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    kept, document = cache(ours), text(120)
    with torch.inference_mode():
        ours(document, past_key_values=kept)
    for question in (1, 2, 3):
        ids = torch.cat([document, text(9, seed=question)], dim=1)
        made = greedy(ours, ids, 12, past_key_values=kept)
        expected = greedy(full, ids, 12)
        torch.testing.assert_close(made[1], expected[1], atol=2e-5, rtol=1e-5)
        kept.crop(120 - kept.get_seq_length())
        assert kept.get_seq_length() == 120


@pytest.mark.parametrize("engine", registry.names("engine"))
def test_every_engine_with_all_keys_is_full_attention(engine):
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    ids = text(200)
    expected = greedy(full, ids, 24)
    made = greedy(ours, ids, 24, past_key_values=cache(ours, engine={"use": engine}))
    assert torch.equal(made[0], expected[0])
    torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("correction", registry.names("correction"))
@pytest.mark.parametrize("engine", ["flat", "query_ivf"])
def test_every_correction_with_all_keys_is_full_attention(correction, engine):
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    ids = text(200)
    expected = greedy(full, ids, 24)
    own = {"heads": [[0, 1], [1, 2]], "beta": 1} if correction == "act" else {}  # sinks keep all of their weight
    correct = {"use": correction, **own}
    made = greedy(ours, ids, 24, past_key_values=cache(ours, engine={"use": engine}, correct=correct))
    assert torch.equal(made[0], expected[0])
    torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [("bf16", 0.04), ("int8", 0.12)])
def test_shorter_numbers_are_near(dtype, atol):
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    ids = text(150)
    expected = greedy(full, ids, 1)[1]
    made = greedy(ours, ids, 1, past_key_values=cache(ours, dtype=dtype))[1]
    torch.testing.assert_close(made, expected, atol=atol * float(expected.std()), rtol=0)


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_pieces_are_the_whole_in_shorter_numbers_too(dtype):
    """Up to that rounding: where sums in another order differ in the last digit, a key may be rounded to the next."""
    ours, ids = model("llama, 4 to 1", OURS), text(150)
    whole, pieces = cache(ours, dtype=dtype), cache(ours, dtype=dtype)
    with torch.inference_mode():
        at_once = ours(ids, past_key_values=whole).logits[:, -1]
        for piece in ids.split(40, dim=1):
            in_steps = ours(piece, past_key_values=pieces).logits[:, -1]
    torch.testing.assert_close(in_steps, at_once, atol=2e-3 * float(at_once.std()), rtol=0)


def test_a_model_in_bf16():
    ours, full = (model("llama, 4 to 1", name).bfloat16() for name in (OURS, "sdpa"))
    ids = text(150)
    expected = greedy(full, ids, 1)[1]
    made = greedy(ours, ids, 1, past_key_values=cache(ours, dtype="bf16"))[1]
    torch.testing.assert_close(made, expected, atol=0.05 * float(expected.float().std()), rtol=0.02)


def test_without_our_cache_the_model_attends_as_ever():
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    ids, mask = text(60, batch=2), torch.ones(2, 60, dtype=torch.long)
    mask[1, :13] = 0
    expected = greedy(full, ids, mask=mask)
    for kind in (DynamicCache(config=ours.config), StaticCache(config=ours.config, max_cache_len=100)):
        made = greedy(ours, ids, mask=mask, past_key_values=kind)
        torch.testing.assert_close(made[1], expected[1], atol=3e-5, rtol=1e-5)
    with torch.inference_mode():
        whole = full(ids, attention_mask=mask, use_cache=False).logits
        torch.testing.assert_close(
            ours(ids, attention_mask=mask, use_cache=False).logits[0], whole[0], atol=3e-5, rtol=1e-5
        )


def test_only_full_attention_layers_are_ours():
    made = cache(model("qwen3, hybrid", OURS))
    assert [type(layer).__name__ for layer in made.layers] == [
        "DynamicSlidingWindowLayer", "RetrievalLayer", "DynamicSlidingWindowLayer",
    ]  # fmt: skip


def test_report():
    ours = model("llama, 4 to 1", OURS)
    made = cache(ours, top_k=8, dense_below=50)
    assert str(made.report()) == "nothing was read yet\n" + str(made.report()).split("\n", 1)[1]
    greedy(ours, text(300), 30, past_key_values=made)
    report = made.report()
    assert len(report) == 3 * 2
    for head in report:
        assert head.searches == 29
        assert head.scanned == pytest.approx(1.0)  # `auto` scans so few keys
        assert head.tokens == 329
        assert head.bytes > 0
    assert any(head.recall == 1 for head in report)
    assert "scanned %" in str(report)


def test_one_seed_one_answer():
    ours, ids = model("llama, 4 to 1", OURS), text(300)
    made = [greedy(ours, ids, 20, past_key_values=cache(ours, top_k=4, threads=n))[1] for n in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


def test_two_threads_with_two_caches():
    ours = model("llama, 4 to 1", OURS)
    texts = [text(200, seed=n) for n in range(6)]
    alone = [greedy(ours, ids, 15, past_key_values=cache(ours, top_k=9))[1] for ids in texts]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda ids: greedy(ours, ids, 15, past_key_values=cache(ours, top_k=9))[1], texts))
    for one, other in zip(alone, together):
        torch.testing.assert_close(one, other, atol=3e-5, rtol=1e-5)


def test_a_copy_goes_its_own_way():
    ours, ids = model("llama, 4 to 1", OURS), text(100)
    first = cache(ours)
    greedy(ours, ids, 5, past_key_values=first)
    second = copy.deepcopy(first)
    longer = torch.cat([ids, text(20, seed=4)], dim=1)
    assert torch.equal(
        greedy(ours, longer[:, :110], 5, past_key_values=first)[1],
        greedy(ours, longer[:, :110], 5, past_key_values=second)[1],
    )


@pytest.mark.parametrize("settings", [{}, {"dense_below": 5000}, {"insert_every": 4, "sinks": 0}])
def test_watched_attention_is_that_of_eager(settings):
    ours, eager = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "eager")
    ids, made = text(120), cache(ours, watch=True, **settings)
    sequences, _ = greedy(ours, ids, 21, past_key_values=made)
    with torch.inference_mode():
        whole = eager(sequences[:, :-1], output_attentions=True).attentions
    expected = torch.stack([layer[0, :, 120:].mean(0).mean(0) for layer in whole])
    np.testing.assert_allclose(made.attention(), expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(made.attention().sum(axis=1), 1, atol=1e-5)
    with pytest.raises(ConfigError, match="watch=True"):
        cache(ours).attention()


def test_beam_search_is_refused():
    ours = model("llama, 4 to 1", OURS)
    with pytest.raises(ModelError, match="beam search"):
        greedy(ours, text(40), num_beams=2, past_key_values=cache(ours))


def test_another_implementation_is_refused():
    full = model("llama, 4 to 1", "sdpa")
    with pytest.raises(ConfigError) as error:
        RetrievalCache(full.config)
    assert str(error.value) == (
        "a RetrievalCache needs a model whose attention is fovea_retrieval, not sdpa\n"
        '  fix: model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="fovea_retrieval")'
    )
    ours = model("llama, 4 to 1", OURS)
    made = cache(ours)
    ours.set_attn_implementation("sdpa")
    with pytest.raises(ModelError, match="did not attend through fovea_retrieval"):
        greedy(ours, text(40), 4, past_key_values=made)


def test_other_masks_are_refused():
    ours = model("llama, 4 to 1", OURS)
    with pytest.raises(ModelError, match="causal"), torch.inference_mode():
        ours(text(10), attention_mask=torch.ones(1, 1, 10, 10, dtype=torch.bool), past_key_values=cache(ours))


def test_another_number_of_sequences_is_refused():
    ours = model("llama, 4 to 1", OURS)
    made = cache(ours)
    with torch.inference_mode():
        ours(text(10, batch=2), past_key_values=made)
        with pytest.raises(ModelError, match="holds 2 sequences, the model went on with 3"):
            ours(text(10, batch=3), past_key_values=made)


def test_keys_that_are_not_finite_are_refused_and_the_cache_goes_on():
    ours, ids = model("llama, 4 to 1", OURS), text(100)
    made = cache(ours)
    with torch.inference_mode():
        ours(ids, past_key_values=made)
    lengths = [len(layer.rows[0].cache) for layer in made.layers]
    weight = ours.model.layers[0].self_attn.k_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinite"), torch.inference_mode():
        ours(ids[:, :1], past_key_values=made)
    with torch.no_grad():
        weight.copy_(kept)
    assert [len(layer.rows[0].cache) for layer in made.layers] == lengths


def test_an_unknown_version_is_refused(monkeypatch):
    from fovea.attention_retrieval import hf

    monkeypatch.setattr(hf.transformers, "__version__", "4.57.1")
    with pytest.raises(ConfigError) as error:
        hf.register()
    assert "transformers 4.57.1" in str(error.value)
    assert ">=5.20,<6" in str(error.value)


def test_an_interrupted_build_leaves_no_index_and_is_made_again(monkeypatch):
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    ids, made = text(100), cache(ours)
    with torch.inference_mode():
        ours(ids, past_key_values=made)
    whole, calls = FlatEngine.build, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(FlatEngine, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        greedy(ours, torch.cat([ids, text(1, seed=1)], dim=1), 5, past_key_values=made)
    layer = made.layers[0].rows[0].cache
    assert layer.selected is None
    assert [len(each.rows[0].cache) for each in made.layers] == [100, 100, 100]
    ids = torch.cat([ids, text(1, seed=1)], dim=1)
    torch.testing.assert_close(
        greedy(ours, ids, 5, past_key_values=made)[1], greedy(full, ids, 5)[1], atol=3e-5, rtol=1e-5
    )


def test_a_step_interrupted_between_layers_is_undone_by_crop(monkeypatch):
    ours, full = model("llama, 4 to 1", OURS), model("llama, 4 to 1", "sdpa")
    ids, made = text(100), cache(ours)
    with torch.inference_mode():
        ours(ids, past_key_values=made)
    attend = LayerCache.attend
    monkeypatch.setattr(LayerCache, "attend", lambda self, q: attend(self, q) if self.layer < 2 else 1 / 0)
    longer = torch.cat([ids, text(3, seed=1)], dim=1)
    with pytest.raises(ZeroDivisionError):
        greedy(ours, longer, 5, past_key_values=made)
    monkeypatch.undo()
    with pytest.raises(ModelError, match="interrupted between two layers"):
        greedy(ours, longer, 5, past_key_values=made)
    made.crop(0)
    assert [layer.get_seq_length() for layer in made.layers] == [103] * 3
    made.crop(-1)  # generate wants a last token to start from
    torch.testing.assert_close(
        greedy(ours, longer, 5, past_key_values=made)[1], greedy(full, longer, 5)[1], atol=3e-5, rtol=1e-5
    )


def test_settings_from_yaml():
    made = Retrieval.model_validate({"use": "retrieval", "top_k": 7, "engine": {"use": "flat"}})
    assert made.settings()["engine"] == {"use": "flat"}
    assert Retrieval.model_validate(made.settings()) == made
    with pytest.raises(Exception, match="nothing_such"):
        Retrieval.model_validate({"engine": {"use": "nothing_such"}})
    assert issubclass(ModelError, FoveaError)
