"""Composed caches against full reads: texts read alone, placed behind one another, some tokens computed anew."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from transformers import DynamicCache  # noqa: E402

from fovea.attention_retrieval.memory.composed import CHECKED, Placed, compose  # noqa: E402
from fovea.attention_retrieval.memory.read_text import ReadText, read_text, stacked  # noqa: E402
from fovea.attention_retrieval.rotation import Rotation  # noqa: E402
from fovea.rag.causal_lm import CausalLM  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import model, text  # noqa: E402

FAMILIES = ["llama, 4 to 1", "qwen2, 7 to 1", "qwen3", "gemma", "gpt-neox"]


def lm_of(name: str, dtype: torch.dtype = torch.float32) -> CausalLM:
    return CausalLM(name, model(name, "sdpa").to(dtype), None)


def full(lm: CausalLM, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    cache = DynamicCache(config=lm.model.config)
    lm.read(ids, cache)
    return stacked(lm, cache)


def prompt(lm: CausalLM, rotation: Rotation, lengths: list[int], gap: int = 3) -> tuple[list[int], list[Placed]]:
    """An opening, texts read alone behind it with tokens of no text between them, and a question."""
    ids = text(400)[0].tolist()
    opening = read_text(lm, rotation, ids[:7])
    placed, whole, at = [Placed(0, opening, True)], ids[:7], 7
    for n, length in enumerate(lengths):
        mine, at = ids[at : at + length], at + length
        placed.append(Placed(len(whole), read_text(lm, rotation, mine, opening), exact=n == 0))
        whole += [*mine, *ids[at : at + gap]]
        at += gap
    return [*whole, *ids[at : at + 5]], placed


@pytest.fixture(scope="module")
def llama():
    lm = lm_of("llama, 4 to 1")
    return lm, Rotation.of(lm.model)


@pytest.mark.parametrize("name", FAMILIES)
def test_with_all_computed_anew_it_is_a_full_read(name):
    lm = lm_of(name)
    rotation = Rotation.of(lm.model)
    ids, placed = prompt(lm, rotation, [20, 31, 9])
    made = compose(lm, rotation, ids, placed, recompute=1)
    for ours, theirs in zip((made.keys, made.values), full(lm, ids)):
        np.testing.assert_allclose(torch.cat(ours).numpy(), theirs, atol=2e-4)
    assert made.kept + made.recomputed + made.fresh == len(ids)
    assert made.recomputed == 40, "the first text was read behind the same tokens, and stays"


@pytest.mark.parametrize("name", FAMILIES)
def test_one_text_behind_what_it_was_read_behind_is_exact(name):
    lm = lm_of(name)
    rotation = Rotation.of(lm.model)
    ids, placed = prompt(lm, rotation, [40])
    made = compose(lm, rotation, ids, placed, recompute=0.15)
    assert (made.kept, made.recomputed) == (47, 0)
    for ours, theirs in zip((made.keys, made.values), full(lm, ids)):
        np.testing.assert_allclose(torch.cat(ours).numpy(), theirs, atol=2e-4)


def test_with_nothing_computed_anew_texts_are_as_they_were_read(llama):
    lm, rotation = llama
    ids, placed = prompt(lm, rotation, [20, 31])
    made = compose(lm, rotation, ids, placed, recompute=0)
    second = placed[2]
    place = slice(second.start, second.start + len(second.text))
    np.testing.assert_allclose(torch.cat(made.values)[:, :, place].numpy(), second.text.values, atol=1e-6)
    moved = rotation.moved(second.text.keys, np.arange(place.start, place.stop))
    np.testing.assert_allclose(torch.cat(made.keys)[:, :, place].numpy(), moved, atol=1e-5)
    assert not np.allclose(torch.cat(made.values)[-1, :, place].numpy(), full(lm, ids)[1][-1, :, place], atol=1e-2)


def test_a_share_brings_the_answer_nearer(llama):
    lm, rotation = llama
    ids, placed = prompt(lm, rotation, [40, 50, 60])
    whole = full(lm, ids)[1]

    def off(share: float) -> float:
        return float(np.square(torch.cat(compose(lm, rotation, ids, placed, share).values).numpy() - whole).sum())

    assert off(0) > off(0.15) > off(0.5) > off(1)


def test_the_tokens_that_deviate_most_are_those_computed_anew(llama):
    lm, rotation = llama
    ids, placed = prompt(lm, rotation, [20, 60])
    made = compose(lm, rotation, ids, placed, recompute=0.25)
    second = placed[2]
    place = slice(second.start, second.start + 60)
    deviation = np.square(full(lm, ids)[1][CHECKED, :, place] - second.text.values[CHECKED]).sum(axis=(0, 2))
    anew = np.abs(torch.cat(made.values)[CHECKED + 1, :, place].numpy() - second.text.values[CHECKED + 1]).max((0, 2))
    assert set(np.flatnonzero(anew > 1e-5)) == set(np.argsort(-deviation)[:15])
    assert made.recomputed == 15


def test_a_row_computed_anew_sees_nothing_behind_it(llama):
    lm, rotation = llama
    ids, placed = prompt(lm, rotation, [20, 30, 30])
    last = placed[3]
    other = read_text(lm, rotation, text(30, seed=5)[0].tolist(), placed[0].text)
    changed = [*ids[: last.start], *other.ids.tolist(), *ids[last.start + 30 :]]
    one = compose(lm, rotation, ids, placed, recompute=1)
    two = compose(lm, rotation, changed, [*placed[:3], Placed(last.start, other)], recompute=1)
    for mine, theirs in zip((*one.keys, *one.values), (*two.keys, *two.values)):
        torch.testing.assert_close(mine[:, :, : last.start], theirs[:, :, : last.start], atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=5),
    gap=st.integers(0, 4),
    share=st.floats(0, 1),
)
def test_any_placing_and_share(llama, lengths, gap, share):
    lm, rotation = llama
    ids, placed = prompt(lm, rotation, lengths, gap)
    made = compose(lm, rotation, ids, placed, share)
    later = sum(lengths[1:])
    assert made.recomputed == (round(share * later) if share else 0)
    assert made.fresh == len(ids) - 7 - sum(lengths)
    assert made.kept == len(ids) - made.fresh - made.recomputed
    keys, values = full(lm, ids)
    sure = 7 + lengths[0]
    assert np.abs(torch.cat(made.values)[:, :, :sure].numpy() - values[:, :, :sure]).max() < 1e-3
    if share:
        for ours, theirs in ((made.keys, keys), (made.values, values)):
            assert np.abs(torch.cat(ours)[: CHECKED + 1].numpy() - theirs[: CHECKED + 1]).max() < 1e-3


def test_the_model_goes_on_from_a_composed_cache(llama):
    lm, rotation = llama
    ids, placed = prompt(lm, rotation, [20, 31])
    made = compose(lm, rotation, ids[:-1], placed, recompute=1)
    whole = DynamicCache(config=lm.model.config)
    lm.read(ids[:-1], whole)
    tokens = torch.tensor([ids])
    from fovea.rag.causal_lm import cache_argument

    def said(cache):
        options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        return lm.model.generate(tokens, **options, **cache_argument(lm.model, cache))[0].tolist()

    assert said(made.cache()) == said(whole)


@pytest.mark.parametrize(
    "attention", [{}, {"dense_below": 20, "sinks": 4, "window": 16, "select": {"use": "wave", "rest": 0}}]
)
def test_a_retrieval_cache_takes_a_composed_prompt(attention):
    from fovea.rag import registry
    from fovea.rag.causal_lm import cache_argument

    kind = registry.find("attention", "retrieval")
    method = kind.model_validate({"dtype": "fp32", **attention})
    lm = CausalLM("llama", model("llama, 4 to 1", method.implementation()), None)
    ids, placed = prompt(lm, Rotation.of(lm.model), [40, 60])
    made = compose(lm, Rotation.of(lm.model), ids[:-1], placed, recompute=0.3)

    def said(cache):
        options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        return lm.model.generate(torch.tensor([ids]), **options, **cache_argument(lm.model, cache))[0].tolist()

    cache = made.cache(method.cache(lm.model.config))
    assert cache.get_seq_length() == len(ids) - 1
    assert said(cache) == said(made.cache())
    cache.crop(len(ids) - 1 - cache.get_seq_length())
    assert said(cache) == said(made.cache()), "cropped back, it is asked again"


def test_taking_in_what_is_not_finite_leaves_the_cache_empty(llama):
    from fovea.rag import registry

    lm, rotation = llama
    ids, placed = prompt(lm, rotation, [40])
    made = compose(lm, rotation, ids, placed, recompute=0)
    made.values[1][0, 0, 3] = float("nan")
    method = registry.find("attention", "retrieval")()
    other = CausalLM("llama", model("llama, 4 to 1", method.implementation()), None)
    cache = method.cache(other.model.config)
    with pytest.raises(ModelError, match="NaN"):
        made.cache(cache)
    assert {layer.get_seq_length() for layer in cache.layers} == {0}


def test_a_model_with_sliding_windows_is_refused():
    lm = lm_of("mistral, all sliding")
    with pytest.raises(ModelError, match="do not keep all keys"):
        read_text(lm, Rotation.of(lm_of("llama, 4 to 1").model), text(50)[0].tolist())


@pytest.mark.parametrize(("dtype", "off"), [("fp32", 0), ("bf16", 0.01), ("int8", 0.01)])
def test_a_saved_text_is_the_text(llama, tmp_path, dtype, off):
    lm, rotation = llama
    read = read_text(lm, rotation, text(64)[0].tolist())
    read.save(tmp_path / "one", dtype)
    back = ReadText.load(tmp_path / "one")
    assert back.ids.tolist() == read.ids.tolist()
    for ours, theirs in ((back.keys, read.keys), (back.values, read.values)):
        assert np.abs(ours - theirs).max() <= off * np.abs(theirs).max()


def test_int8_takes_half_of_bf16(llama, tmp_path):
    lm, rotation = llama
    read = read_text(lm, rotation, text(300)[0].tolist())
    sizes = {}
    for dtype in ("bf16", "int8"):
        read.save(tmp_path / dtype, dtype)
        sizes[dtype] = (tmp_path / dtype).stat().st_size
    assert sizes["int8"] < 0.7 * sizes["bf16"], "values of 16 numbers have 4 bytes of scale a token"


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_a_damaged_file_is_refused(llama, tmp_path, dtype):
    lm, rotation = llama
    path = tmp_path / "one"
    read_text(lm, rotation, text(9)[0].tolist()).save(path, dtype)
    whole = path.read_bytes()
    for at in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(ModelError):
            ReadText.load(path)
    for end in range(0, len(whole), 501):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            ReadText.load(path)
