"""Heads: where they look, what is lost without them, and documents chosen by it."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fovea.attention_retrieval.probes.influence import influences, loss  # noqa: E402
from fovea.attention_retrieval.probes.retrieval_heads import Blurred, Looked, retrieval_scores, strongest  # noqa: E402
from fovea.attention_retrieval.probes.through import Called, through  # noqa: E402
from fovea.attention_retrieval.testing.induction import induction_model, lookup  # noqa: E402
from fovea.pipelines.training.influence import influential  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from fovea.rag.types import Document  # noqa: E402
from fovea.retrievers.collection import Collection  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import save_llama  # noqa: E402
from tests.tiny_lms import model, text  # noqa: E402

SENTENCES = [f"The {animal} of the {place} sleeps by day." for animal in ("owl", "bat", "fox") for place in "abcdefgh"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096)


def test_where_heads_look_is_eagers_largest_weight():
    lm, eager, ids = model("llama, 4 to 1", "sdpa"), model("llama, 4 to 1", "eager"), text(60)
    looked = Looked(range(20, 60))
    with torch.inference_mode(), through(lm, looked):
        lm(ids, use_cache=False)
    with torch.inference_mode():
        weights = eager(ids, output_attentions=True).attentions
    for layer, at in looked.at.items():
        np.testing.assert_array_equal(at, weights[layer][0, :, 20:].argmax(-1).numpy())
    assert lm.config._attn_implementation == "sdpa"


def test_heads_that_copy_are_found_by_where_they_look():
    lm, page = induction_model(), lookup(300, depth=0.4, seed=1)
    looked = Looked([len(page.ids) - 1])
    with torch.inference_mode(), through(lm, looked):
        lm(torch.tensor([page.ids]), use_cache=False)
    assert (looked.at[1] == page.place).all()
    assert not (looked.at[0] == page.place).any()


def test_without_its_lookup_heads_the_constructed_model_does_not_know():
    lm, page = induction_model(), lookup(300, depth=0.4, seed=1)
    ids = torch.tensor([page.ids])
    with torch.inference_mode():
        assert int(lm(ids).logits[0, -1].argmax()) == page.answer
        with through(lm, Blurred({1: range(8)})):
            assert int(lm(ids).logits[0, -1].argmax()) != page.answer


def test_a_blurred_head_is_the_mean_of_what_it_sees():
    lm, ids = model("llama, 4 to 1", "sdpa"), text(30)
    value = torch.randn(1, 2, 30, 16)
    query, out = torch.randn(1, 8, 30, 16), torch.zeros(1, 30, 8, 16)
    made = Blurred({0: [5]})(Called(0, query, value, value, None, 0.25), out.clone())
    for row in (0, 7, 29):
        torch.testing.assert_close(made[0, row, 5], value[0, 1, : row + 1].mean(0))
    assert not made[:, :, :5].any()
    with torch.inference_mode():
        plain = lm(ids).logits
        with through(lm, Blurred({})):
            torch.testing.assert_close(lm(ids).logits, plain)


def test_scores_and_the_strongest(folder):
    lm = load(folder)
    scores = retrieval_scores(lm, SENTENCES, probes=3, tokens=600)
    assert scores.shape == (2, 4)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_array_equal(scores, retrieval_scores(lm, SENTENCES, probes=3, tokens=600))
    assert strongest(np.array([[0.1, 0.9], [0.8, 0.2]]), 0.5) == {0: [1], 1: [0]}
    assert strongest(np.zeros((2, 4)), 0.01) == {0: [0]}
    with pytest.raises(ConfigError, match="eight at least"):
        retrieval_scores(lm, SENTENCES[:7])


def test_influence_is_what_loss_grows_by(folder):
    lm, texts = load(folder), ["The owl of the wood sleeps by day.", "", "x"]
    heads = {0: [0, 1], 1: [2]}
    found = influences(lm, texts, heads)
    ids = lm.tokenizer(texts[0])["input_ids"]
    with through(lm.model, Blurred(heads)):
        blurred = loss(lm, ids)
    assert found[0] == pytest.approx(blurred / loss(lm, ids) - 1, abs=1e-6)
    assert found[1] == 0


def collection() -> Collection:
    texts = {f"d{n}": " ".join(SENTENCES[n : n + 9]) for n in range(10)}
    parts = {name: "train" if n < 8 else "dev" for n, name in enumerate(texts)}
    return Collection("c", [Document(text=each, id=name) for name, each in texts.items()], [], [], parts)


def test_documents_of_most_influence_are_kept_and_the_scores_written(folder, tmp_path):
    (kept,) = influential([collection()], folder, 0.5, tmp_path)
    names = [d.id for d in kept.documents]
    assert {"d8", "d9"} <= set(names)
    assert len(names) == 6
    written = json.loads((tmp_path / "influence.json").read_text())["influence"]
    assert min(written[n] for n in names if n in written) >= max(v for n, v in written.items() if n not in names)
    changed = {name: -score for name, score in written.items()}
    about = json.loads((tmp_path / "influence.json").read_text())
    (tmp_path / "influence.json").write_text(json.dumps({**about, "influence": changed}))
    (again,) = influential([collection()], folder, 0.5, tmp_path)
    assert {d.id for d in again.documents} & set(written) == set(written) - set(names)  # read, not made anew


def test_data_without_training_documents_is_refused(folder, tmp_path):
    whole = collection()
    with pytest.raises(ConfigError, match="for 'train' alone"):
        influential([Collection("c", whole.documents, [], [])], folder, 0.5, tmp_path)
