"""Masks over tokens that a RetrievalCache has read: as with full attention, or refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from transformers import DynamicCache  # noqa: E402

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.rag.causal_lm import cache_argument  # noqa: E402
from fovea.rag.errors import ModelError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

EXACT = {"sinks": 4, "window": 16, "top_k": 5000, "dense_below": 0, "dtype": "fp32", "insert_every": 8}


@pytest.fixture(scope="module")
def ours():
    return model("llama, 4 to 1", "fovea_retrieval")


def fresh(lm, **settings) -> RetrievalCache:
    return RetrievalCache(lm.config, Retrieval(**{**EXACT, **settings}))


@torch.inference_mode()
def read(lm, cache, ids, mask=None):
    return lm(ids, attention_mask=mask, **cache_argument(lm, cache)).logits


def shown(tokens: int, *hidden: tuple[int, int], batch: int = 1):
    mask = torch.ones(batch, tokens, dtype=torch.long)
    for low, high in hidden:
        mask[0, low:high] = 0
    return mask


def chat(lm, cache):
    """Two turns of two conversations; the first answer of one ends early, and is padded."""
    ids, mask = text(40, batch=2), shown(40, (0, 9), batch=2)
    end = int(greedy(lm, ids, 4, mask=mask)[0][0, 43])
    made = greedy(lm, ids, 12, mask=mask, eos_token_id=end, **cache_argument(lm, cache))[0]
    assert (made[0, 44:] == 0).all(), "its end is padding"
    more = text(6, batch=2, seed=9)
    mask = torch.cat([mask, (made[:, 40:] != 0).long(), torch.ones_like(more)], dim=1)
    return greedy(lm, torch.cat([made, more], dim=1), 10, mask=mask, **cache_argument(lm, cache))


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen3, hybrid", "gpt2"])
@pytest.mark.parametrize("settings", [{}, {"dense_below": 5000}])
def test_padding_behind_a_first_answer_is_not_attended_to(name, settings):
    lm, full = model(name, "fovea_retrieval"), model(name, "sdpa")
    made, expected = chat(lm, fresh(lm, **settings)), chat(full, DynamicCache(config=full.config))
    assert torch.equal(made[0], expected[0])
    torch.testing.assert_close(made[1], expected[1], atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_end_of_a_text_may_be_hidden_and_another_follow(ours, chunk):
    full, cache, other = model("llama, 4 to 1", "sdpa"), fresh(ours), DynamicCache(config=ours.config)
    for lm, each in ((ours, cache), (full, other)):
        for piece in text(60).split(25, dim=1):
            read(lm, each, piece)
    mask = shown(60 + chunk, (50, 60))
    made, expected = (read(lm, each, text(chunk, seed=2), mask) for lm, each in ((ours, cache), (full, other)))
    torch.testing.assert_close(made, expected, atol=3e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="shows tokens that it hid before"):
        read(ours, cache, text(1, seed=3), shown(61 + chunk))


@pytest.mark.parametrize("hidden", [[(0, 10)], [(20, 40)], [(5, 9), (30, 31), (50, 58)]])
@pytest.mark.parametrize("tokens", [1, 10])
@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("settings", [{}, {"dense_below": 5000}, {"top_k": 0, "dense_below": 5000}])
def test_tokens_before_others_may_be_hidden(ours, hidden, tokens, indexed, settings):
    """What is read is what full attention reads, whether an index reached beyond the hidden tokens or not."""
    full, cache, other = model("llama, 4 to 1", "sdpa"), fresh(ours, **settings), DynamicCache(config=ours.config)
    before = 60 + indexed
    for lm, each in ((ours, cache), (full, other)):
        read(lm, each, text(60))
        if indexed:
            read(lm, each, text(1, seed=7))
    for step in range(3):
        size = tokens if not step else 1
        before += size
        made, expected = (
            read(lm, each, text(size, seed=20 + step), shown(before, *hidden))
            for lm, each in ((ours, cache), (full, other))
        )
        torch.testing.assert_close(made, expected, atol=5e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="shows tokens that it hid before"):
        read(ours, cache, text(1, seed=3))


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_a_hidden_middle_leaves_the_cache_of_a_text_without_it(ours, dtype):
    """Keys of the kept tokens are those that were read, in their order; a copy of them changes no code."""
    cache = fresh(ours, dtype=dtype, watch=True)
    read(ours, cache, text(60))
    before = cache.layers[1].rows[0].cache.keys.block(0, 60)
    read(ours, cache, text(1, seed=3), shown(61, (20, 40)))
    row = cache.layers[1].rows[0].cache
    kept = [*range(20), *range(40, 60)]
    torch.testing.assert_close(torch.tensor(row.keys.block(0, 40)), torch.tensor(before[:, kept]), atol=0, rtol=1e-6)
    assert cache.attention().shape == (3, 41)


def test_a_mask_that_is_refused_hides_nothing_in_any_sequence(ours):
    cache = fresh(ours)
    read(ours, cache, text(60, batch=2), shown(60, (0, 10), batch=2))
    mask = shown(61, batch=2)
    mask[1, 20:40] = 0
    with pytest.raises(ModelError, match="shows tokens"):
        read(ours, cache, text(1, batch=2), mask)
    assert [len(row.cache) for row in cache.layers[0].rows] == [50, 60]


def test_a_row_that_cannot_be_copied_is_as_it_was(ours, monkeypatch):
    cache, full = fresh(ours), model("llama, 4 to 1", "sdpa")
    read(ours, cache, text(60))
    vectors, taken = type(cache.layers[0].rows[0].cache.values), []

    def once(self, rows):
        taken.append(rows)
        if len(taken) == 2:
            raise MemoryError
        return real(self, rows)

    real = vectors.append
    monkeypatch.setattr(vectors, "append", once)
    with pytest.raises(MemoryError):
        read(ours, cache, text(1, seed=2), shown(61, (20, 40)))
    monkeypatch.undo()
    expected = read(full, DynamicCache(), torch.cat([text(60), text(1, seed=2)], dim=1))
    torch.testing.assert_close(read(ours, cache, text(1, seed=2)), expected[:, 60:], atol=3e-5, rtol=1e-5)


def test_padding_cannot_be_shown_later(ours):
    cache = fresh(ours)
    read(ours, cache, text(60), shown(60, (0, 10)))
    for mask in (None, shown(65)):
        with pytest.raises(ModelError, match="shows tokens that it hid before"):
            read(ours, cache, text(5, seed=2), mask)
    expected = DynamicCache()
    full = model("llama, 4 to 1", "sdpa")
    read(full, expected, text(60), shown(60, (0, 10)))
    made, right = (
        read(lm, each, text(5, seed=2), shown(65, (0, 10))) for lm, each in ((ours, cache), (full, expected))
    )
    torch.testing.assert_close(made, right, atol=3e-5, rtol=1e-5)


def test_a_mask_of_the_new_tokens_alone_is_refused(ours):
    cache = fresh(ours)
    read(ours, cache, text(60))
    cache.layers[0].update(*(torch.zeros(1, 2, 5, 16),) * 2)
    with pytest.raises(ModelError, match=r"the attention mask is \(1, 5\), not \(1, 65\)") as error:
        cache.layers[0].attend(ours.model.layers[0].self_attn, torch.zeros(1, 8, 5, 16), shown(5), 1.0)
    assert "those already read too" in str(error.value)


def test_crop_counts_padding_as_the_text_does(ours):
    """Four tokens of one sequence, of which two were padding, are two of its keys."""
    full, cache, other = model("llama, 4 to 1", "sdpa"), fresh(ours), DynamicCache(config=ours.config)
    ids, mask = text(60, batch=2), shown(60, (58, 60), batch=2)
    for lm, each in ((ours, cache), (full, other)):
        read(lm, each, ids, mask)
        each.crop(-4)
    assert [len(row.cache) for row in cache.layers[0].rows] == [56, 56]
    made, expected = (read(lm, each, text(5, 2, seed=2)) for lm, each in ((ours, cache), (full, other)))
    torch.testing.assert_close(made, expected, atol=3e-5, rtol=1e-5)


def test_a_saved_cache_knows_its_padding(ours, tmp_path):
    cache = fresh(ours)
    read(ours, cache, text(60, batch=2), shown(60, (0, 10), batch=2))
    cache.save(tmp_path / "text.kv")
    loaded = RetrievalCache.load(tmp_path / "text.kv")
    with pytest.raises(ModelError, match="shows tokens that it hid before"):
        read(ours, loaded, text(5, batch=2, seed=2))
    mask = shown(65, (0, 10), batch=2)
    made, expected = (read(ours, each, text(5, batch=2, seed=2), mask) for each in (loaded, cache))
    assert torch.equal(made, expected)
