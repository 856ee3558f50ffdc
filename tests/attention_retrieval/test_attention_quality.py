"""The benchmark of a model's answers with an index, on random models: what is found in full is said alike."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from benchmarks import attention_quality  # noqa: E402
from benchmarks.testbed_tasks import texts  # noqa: E402
from benchmarks.testbed_tasks.learner import new_model  # noqa: E402
from benchmarks.testbed_tasks.page import Page  # noqa: E402

ARGS = {"sinks": 4, "window": 16, "store": "fp32", "chunk": 128, "correct": None, "threads": 1}
WORDS = " ".join(f"{a}{b}" for a in ("river", "stone", "garden", "market") for b in "abcdefghijklmnop")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = texts.train_tokenizer([WORDS * 3], 400)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    made = new_model(len(tokenizer), tokenizer.eos_token_id, 0, **small)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def answer(found, which, prompt, tokens):
    """What one of the methods says, its text read together with the others."""
    caches = attention_quality.prefilled(found, prompt[:-1], 64)
    return found[which].answer(caches[found[which].name], prompt[-1], tokens)


def table(rows):
    return {(row.data, row.method, row.metric): row for row in rows}


def test_what_finds_everything_agrees(model):
    found = attention_quality.methods(Namespace(model=model, engines="flat, {use: ivf, nprobe: 400}", k=400, **ARGS))
    assert [m.name for m in found] == ["full attention", "flat", "ivf nprobe=400"]
    ids = np.random.default_rng(0).integers(0, 200, 340).tolist()
    rows = table(attention_quality.agreement(found, ids, 300, 20, 128))
    for method in found:
        at = ("300 tokens read, 20 decoded", method.name)
        assert rows[*at, "top-1"].value == 1
        assert rows[*at, "KL"].value == pytest.approx(0, abs=1e-4)
        assert rows[*at, "s a token"].value > 0
    assert rows["300 tokens read, 20 decoded", "full attention", "times faster"].value == 1


def test_what_finds_little_does_not(model):
    found = attention_quality.methods(Namespace(model=model, engines="flat", k=1, **ARGS))
    ids = np.random.default_rng(0).integers(0, 200, 340).tolist()
    rows = table(attention_quality.agreement(found, ids, 300, 20, 128))
    assert rows["300 tokens read, 20 decoded", "flat", "KL"].value > 1e-3


def test_answers_are_counted_token_for_token(model):
    args = Namespace(
        model=model, engines="flat", k=400, tasks="key_value", lengths=[200], depths=[0, 1], samples=2, **ARGS
    )
    found = attention_quality.methods(args)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    page = Page(tokenizer, texts.encode([WORDS * 20], tokenizer))
    rows = table(attention_quality.answers(found, page, args))
    assert {key[2] for key in rows} == {"depth 0", "depth 1", "right"}
    assert rows["key_value, 200 tokens", "flat", "right"].n == 4
    prompt = list(range(3, 150))
    assert answer(found, 0, prompt, 6) == answer(found, 1, prompt, 6), "the same model says the same"
    with torch.inference_mode():
        first = int(found[0].model(torch.tensor([prompt])).logits[0, -1].argmax())
    assert answer(found, 0, prompt, 1) == [first]


def test_one_reading_serves_engines_of_other_settings(model):
    engines = "flat, {use: flat, correct: tail}, {use: ivf, nprobe: 3}, {use: query_ivf, budget: 0.01}, streaming"
    found = attention_quality.methods(Namespace(model=model, engines=engines, k=20, **ARGS))
    ids = np.random.default_rng(1).integers(0, 200, 340).tolist()
    shared = attention_quality.prefilled(found, ids[:300], 128)
    for method in found:
        alone = method.prefilled(ids[:300], 128)
        for token in ids[300:320]:
            one, other = (method.read([token], cache) for cache in (shared[method.name], alone))
            assert torch.equal(one, other), method.name
    names = {m.name: head.engine for m in found[1:] for head in shared[m.name].report()}
    assert names["streaming"] == "none"
    assert [m.settings.correct and m.settings.correct.name for m in found[1:3]] == [None, "tail"]
    assert names["flat"] == "flat"
