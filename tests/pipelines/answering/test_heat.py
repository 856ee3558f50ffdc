"""How much each word was looked at, by groups of heads: places and shares that add up."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from fovea.attention_retrieval.probes.weights import evidence_weights
from fovea.pipelines.answering import probing
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.looks import read_again
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import QueryError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.generators import answered
from fovea.rag.types import Answer, Query
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama

TEXTS = {
    "mars": "Mars has two small moons. Earth has one, the Moon.",
    "tea": "Tea 🍵 is brewed at 80 °C. Coffee is not.",
}
CORPUS = MemoryCorpus.of(TEXTS, HashEncoder())
HITS = CORPUS.nearest(CORPUS.embed("moons"), 2)
QUERY = Query("How many moons has Mars?")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEA_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(probing, "PROBES", 2)
        probing.digest.cache_clear()
        folder = save_llama(tmp_path_factory.mktemp("llama"), window=4096, template=TEMPLATE)
        generator = TransformersGenerator(model=folder, max_new_tokens=12, instruction="Answer.")
        yield generator, answered(generator, QUERY, HITS, CORPUS)
        probing.digest.cache_clear()


def test_words_lie_in_their_documents_and_their_shares_sum_to_one(made):
    generator, answer = made
    heat = generator.heat(QUERY, answer, CORPUS)
    assert [said for said, *_ in heat.rows] == [QUERY.text, *(s.text for s in answer.sentences)]
    placed = [(hit.chunk.document_id, a, b) for hit, some in zip(heat.hits, heat.words) for a, b in some]
    words = [TEXTS[name][a:b] for name, a, b in placed]
    assert {"Mars", "moons", "80", "C", "Coffee"} <= set(words)
    assert heat.shares.shape == (len(heat.groups), len(heat.rows), len(words))
    assert (heat.shares >= 0).all()
    sums = heat.shares.sum(axis=2)
    assert np.all(np.isclose(sums, 1) | (sums == 0))
    assert sums.max() > 0


def test_the_thirds_are_all_heads_and_their_mean_is_that_of_the_weights(made):
    generator, answer = made
    heat, config = generator.heat(QUERY, answer, CORPUS), generator.lm.model.config
    every = [(layer, head) for layer in range(config.num_hidden_layers) for head in range(config.num_attention_heads)]
    assert sorted(head for name, heads in heat.groups.items() if "layers" in name for head in heads) == every
    layout = Layout.of(generator.lm, QUERY, answer.hits, generator.instruction, CORPUS)
    ids, said, rows = read_again(generator.lm, layout, answer)
    neutral, group = layout.neutral(generator.lm, len(said) - 1), "lower layers"
    mean = evidence_weights(generator.lm, ids, rows, neutral, heat.groups[group])[:, 1].mean(axis=0)

    def got(low: int, high: int) -> float:
        """By tokens, of which each gives the part that lies in `[low, high)` of the prompt."""
        parts = [(max(0, min(b, high) - max(a, low)) / max(b - a, 1), n) for n, (a, b) in enumerate(layout.offsets)]
        return sum(part * mean[n] for part, n in parts if part and n < len(mean))

    starts = [at - hit.chunk.start for hit, at in zip(heat.hits, layout.passages)]
    expected = [got(at + low, at + high) for at, words in zip(starts, heat.words) for low, high in words]
    assert heat.shares[list(heat.groups).index(group), 1] == pytest.approx(np.array(expected) / sum(expected))


def test_plain_data_holds_each_passage_with_its_words(made):
    generator, answer = made
    plain = json.loads(json.dumps(generator.heat(QUERY, answer, CORPUS).to_dict(), allow_nan=False))
    assert [passage["document"] for passage in plain["passages"]] == [hit.chunk.document_id for hit in answer.hits]
    for passage in plain["passages"]:
        assert np.shape(passage["shares"]) == (len(plain["groups"]), len(plain["rows"]), len(passage["words"]))


def test_without_passages_there_is_nothing_to_look_at(made):
    with pytest.raises(QueryError, match="no passages"):
        made[0].heat(QUERY, Answer("No."), CORPUS)
