"""Watching some heads: what a RetrievalCache says they looked at is eager's softmax of those heads alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

OURS = "fovea_retrieval"
SEARCHED = {"dense_below": 0, "sinks": 4, "window": 8, "insert_every": 16, "dtype": "fp32"}
WAYS: dict[str, dict[str, Any]] = {
    "dense": {"dense_below": 5000},
    "wave, all read": {"select": {"use": "wave", "rest": 0.0, "most": 5000}},
    "an index": {"engine": {"use": "flat"}, "top_k": 5000, "correct": None},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("llama, 4 to 1", [(0, 3), (2, 4), (2, 1)]),  # two of one layer, of different kv heads
        ("llama, 4 to 1", [(1, 6), (1, 7)]),
        ("qwen2, 7 to 1", [(0, 0), (2, 6)]),
    ],
)
def test_watched_heads_are_those_of_eager(way, name, heads):
    ours, eager, ids = model(name, OURS), model(name, "eager"), text(90)
    settings = {**SEARCHED, **WAYS[way]}
    made = RetrievalCache(ours.config, Retrieval(watch=heads, **settings))
    sequences, _ = greedy(ours, ids, 21, past_key_values=made)
    with torch.inference_mode():
        whole = eager(sequences[:, :-1], output_attentions=True).attentions
    seen = np.stack([whole[layer][0, head, 90:].mean(0).numpy() for layer, head in heads])
    np.testing.assert_allclose(made.looked(), seen.mean(axis=0), atol=1e-5)
    rows = made.attention()
    for layer in range(3):
        mine = [row for row, (at, _) in zip(seen, heads) if at == layer]
        np.testing.assert_allclose(rows[layer], np.mean(mine, axis=0) if mine else 0, atol=1e-5)


@pytest.mark.parametrize("name", ["llama, 4 to 1", "qwen2, 7 to 1"])
def test_it_is_the_true_softmax_where_a_step_estimates_it(name):
    """Of the first layer, whose queries and keys no estimate has changed."""
    ours, eager = model(name, OURS), model(name, "eager")
    settings = {**SEARCHED, "select": {"use": "wave", "rest": 1.0, "most": 1}}
    made = RetrievalCache(ours.config, Retrieval(watch=True, **settings))
    sequences, _ = greedy(ours, text(90), 21, past_key_values=made)
    with torch.inference_mode():
        seen = eager(sequences[:, :-1], output_attentions=True).attentions[0][0, :, 90:].mean((0, 1)).numpy()
    np.testing.assert_allclose(made.attention()[0], seen, atol=1e-5)
    np.testing.assert_allclose(made.attention().sum(axis=1), 1, atol=1e-5)


@torch.inference_mode()
def test_what_an_index_found_is_forgotten_with_it():
    """A mask that hides most of the text takes the index away: what is attended to then is near."""
    ours, ids, mask = model("llama, 4 to 1", OURS), text(90), torch.ones(1, 93, dtype=torch.long)
    made = RetrievalCache(ours.config, Retrieval(watch=True, **{**SEARCHED, "window": 64}, **WAYS["an index"]))
    ours(ids, past_key_values=made)
    ours(text(1), past_key_values=made)
    mask[0, 10:80] = 0
    for n in (92, 93):
        ours(text(1), attention_mask=mask[:, :n], past_key_values=made)
    assert made.attention().shape == (3, 23)
    assert (made.attention().sum(axis=1) <= 1 + 1e-5).all()


def test_all_heads_are_the_mean_over_layers_and_watching_changes_no_answer():
    ours, ids = model("llama, 4 to 1", OURS), text(90)
    caches = [RetrievalCache(ours.config, Retrieval(watch=watch, **SEARCHED)) for watch in (True, [(1, 2)], False)]
    answers = [greedy(ours, ids, 12, past_key_values=each)[0] for each in caches]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])
    np.testing.assert_allclose(caches[0].looked(), caches[0].attention().mean(axis=0), rtol=1e-6)
    assert caches[1].looked().sum() == pytest.approx(1, abs=0.02)


def test_watched_heads_survive_a_file(tmp_path):
    ours, ids = model("llama, 4 to 1", OURS), text(60)
    made = RetrievalCache(ours.config, Retrieval(watch=[(1, 2)], **SEARCHED))
    greedy(ours, ids, 4, past_key_values=made)
    made.save(tmp_path / "text.kv")
    back = RetrievalCache.load(tmp_path / "text.kv")
    assert back.settings.watch == ((1, 2),)
    tail = torch.cat([ids, text(9, seed=1)], dim=1)
    back.crop(60 - back.get_seq_length())
    greedy(ours, tail, 6, past_key_values=back)
    assert back.looked().sum() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("heads", [[(3, 0)], [(0, 8)], [(0, 0), (7, 1)]])
def test_heads_that_are_not_there_are_refused(heads):
    with pytest.raises(ConfigError, match="there is no head") as error:
        RetrievalCache(model("llama, 4 to 1", OURS).config, Retrieval(watch=heads))
    assert "layers 0, 1, 2 and heads 0 to 7" in str(error.value)


def test_a_layer_with_a_window_has_no_head_to_watch():
    with pytest.raises(ConfigError, match="of full attention") as error:
        RetrievalCache(model("qwen3, hybrid", OURS).config, Retrieval(watch=[(0, 0)]))
    assert "layers 1 and heads 0 to 3" in str(error.value)


def test_auto_without_a_table_is_refused():
    with pytest.raises(ConfigError, match="watch: auto") as error:
        RetrievalCache(model("llama, 4 to 1", OURS).config, Retrieval(watch="auto"))
    assert "fovea heads MODEL" in error.value.fix
