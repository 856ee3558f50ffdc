"""One text and many questions: sequences of a RetrievalCache repeated and chosen, as a DynamicCache does it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from transformers import DynamicCache  # noqa: E402

from fovea.attention_retrieval import Retrieval, RetrievalCache  # noqa: E402
from fovea.rag.causal_lm import cache_argument  # noqa: E402
from tests.tiny_lms import greedy, model, text  # noqa: E402

EXACT = {"sinks": 4, "window": 16, "top_k": 5000, "dense_below": 0, "dtype": "fp32", "insert_every": 8}
QUESTIONS = text(10, batch=3, seed=5)
CHOICES = {
    "in another order": (torch.tensor([1, 0, 0]), [1, 0, 0]),
    "from the end": (torch.tensor([-1, -1, -2]), [1, 1, 0]),
    "by a list": ([1, 1, 1], [1, 1, 1]),
    "by a mask": (torch.tensor([False, True]), [1]),
}


def pair(name):
    for implementation in ("fovea_retrieval", "sdpa"):
        lm = model(name, implementation)
        yield (
            lm,
            (
                DynamicCache(config=lm.config)
                if implementation == "sdpa"
                else RetrievalCache(lm.config, Retrieval(**EXACT))
            ),
        )


@torch.inference_mode()
def read(lm, cache, ids, mask):
    lm(ids, attention_mask=mask, **cache_argument(lm, cache))


def same(made, expected):
    assert torch.equal(made[0], expected[0])
    torch.testing.assert_close(made[1], expected[1], atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "padding"), [("llama, 4 to 1", 0), ("llama, 4 to 1", 7), ("qwen3, hybrid", 7), ("gpt2", 7)]
)
def test_a_text_repeated_for_each_question(name, padding):
    answers = []
    for lm, cache in pair(name):
        ids, mask = text(60), torch.ones(1, 60, dtype=torch.long)
        mask[0, :padding] = 0
        read(lm, cache, ids, mask)
        cache.batch_repeat_interleave(3)
        mask = torch.cat([mask.repeat(3, 1), torch.ones(3, 10, dtype=torch.long)], dim=1)
        ids = torch.cat([ids.repeat(3, 1), QUESTIONS], dim=1)
        answers.append(greedy(lm, ids, 12, mask=mask, **cache_argument(lm, cache)))
    same(*answers)


@pytest.mark.parametrize(
    ("choice", "decoded"), [*((choice, 12) for choice in CHOICES), ("in another order", 0), ("by a mask", 0)]
)
def test_sequences_chosen(choice, decoded):
    indices, rows = CHOICES[choice]
    answers = []
    for lm, cache in pair("llama, 4 to 1"):
        ids, mask = text(60, batch=2), torch.ones(2, 60, dtype=torch.long)
        mask[0, :9] = 0
        read(lm, cache, ids, mask)
        if decoded:
            made = greedy(
                lm,
                torch.cat([ids, text(1, batch=2)], dim=1),
                decoded,
                mask=torch.cat([mask, mask[:, -1:]], 1),
                **cache_argument(lm, cache),
            )
            ids = made[0][:, :-1]
            mask = torch.cat([mask, torch.ones(2, ids.shape[1] - 60, dtype=torch.long)], dim=1)
        cache.batch_select_indices(torch.as_tensor(indices))
        mask = torch.cat([mask[rows], torch.ones(len(rows), 10, dtype=torch.long)], dim=1)
        ids = torch.cat([ids[rows], QUESTIONS[: len(rows)]], dim=1)
        answers.append(greedy(lm, ids, 12, mask=mask, **cache_argument(lm, cache)))
    same(*answers)


def test_offloaded_layers_answer_alike():
    answers = []
    for lm, cache in pair("llama, 4 to 1"):
        ids = greedy(lm, text(60), 10, **cache_argument(lm, cache))[0]
        for layer in cache.layers:
            layer.offload()
            if isinstance(cache, RetrievalCache):
                assert layer.rows[0].near is None
            layer.prefetch()
        answers.append(greedy(lm, torch.cat([ids, text(1, seed=1)], dim=1), 10, **cache_argument(lm, cache)))
    same(*answers)
