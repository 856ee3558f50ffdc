"""Training of LexSemBridge: queries made of passages, what is learned on a frozen encoder, and that weights are used as
they were trained."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import SentenceTransformer

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.training.loop import fit, seed_of
from fovea.rag.types import Document, Query, Span
from fovea.rag.wordpieces import ModelTokenizer
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.lexsembridge import LexSemBridgeRetriever
from fovea.retrievers.modules.lexsembridge import LexSemBridge
from fovea.retrievers.training.lexsembridge import LexSemBridgeRecipe, Queries, word_vectors
from fovea.retrievers.training.queries import KEYWORDS, PART, Passages, with_made
from fovea.retrievers.training.train import train
from tests.tiny import WORDS

VARIANTS = ("slr", "llr", "clr")


@pytest.fixture(scope="module")
def encoder(tiny_folder):
    return SentenceTransformerEncoder(model=str(tiny_folder), device="cpu")


def page(rng, name):
    """A document of paragraphs of fifty words, each about five words of its own."""
    texts = [" ".join(rng.choice(rng.choice(WORDS, 5, replace=False), 50)) for _ in range(4)]
    document = Document(name, "\n\n".join(texts))
    starts = np.cumsum([0, *(len(t) + 2 for t in texts)])
    return document, [document.chunk(Span(int(s), int(s) + len(t))) for s, t in zip(starts, texts)]


@pytest.fixture(scope="module")
def collection():
    rng = np.random.default_rng(0)
    pages = [page(rng, f"{i}") for i in range(24)]
    parts = {d.id: split for (d, _), split in zip(pages, ["train"] * 14 + ["dev"] * 6 + ["test"] * 4)}
    asked = [
        Judged(f"q{d.id}", Query(f"which {chunks[1].text[:20]}"), {chunks[1].id: 1}, parts[d.id]) for d, chunks in pages
    ]
    return Collection("made", [d for d, _ in pages], [c for _, cs in pages for c in cs], asked, parts)


@given(st.integers(0, 3), st.integers(0, 999))
@settings(max_examples=30)
def test_made_queries_are_of_their_passage(at, seed):
    texts = ["the moon orbits earth and tea is brewed in days of rivers that flow", "tea", "", "rivers, of; a 12 moon!"]
    tokenizer = word_tokenizer()
    passages, rng = Passages.of(texts, tokenizer), np.random.default_rng(seed)
    part = passages.part(at, rng)
    assert part in texts[at]
    assert tokenizer.count(part) == min(tokenizer.count(texts[at]), tokenizer.count(part))
    assert PART[0] <= tokenizer.count(part) <= PART[1] or part == texts[at].strip()
    found = passages.keywords(at, rng).split()
    assert set(found) <= set(texts[at].lower().replace(",", "").replace(";", "").replace("!", "").split())
    assert len(found) <= KEYWORDS[1]
    assert len(set(found)) == len(found)
    assert all(len(word) > 2 for word in found)
    assert passages.draw(at, np.random.default_rng(seed)) == passages.draw(at, np.random.default_rng(seed))


def word_tokenizer():
    from fovea.rag.tokens import WordTokenizer

    return WordTokenizer()


def test_words_of_every_passage_come_last():
    passages = Passages.of(["moon tea", "tea rivers", "tea earth"], word_tokenizer())
    assert passages.idf["tea"] == 0
    drawn = [passages.keywords(0, np.random.default_rng(i)).split()[0] for i in range(20)]
    assert set(drawn) == {"moon"}


def test_queries_are_made_of_one_part_alone(collection, encoder):
    for split in ("train", "dev"):
        rng = np.random.default_rng(0)
        found, kinds = with_made(collection, split, encoder.tokenizer, rng, 2)
        chunks = {c.id: c.text for c in collection.chunks if collection.parts[c.document_id] == split}
        assert {c.id for c in found.chunks} == chunks.keys()
        assert len(kinds) == len(found.questions)
        assert kinds.count("asked") == len({c.document_id for c in found.chunks})
        assert kinds.count("keywords") == kinds.count("part") == len(chunks)
        for question, kind in zip(found.questions, kinds):
            [home] = question.relevant
            text = question.query.text
            if kind == "asked":
                assert text.startswith("which ")
            elif kind == "part":
                assert text in chunks[home]
            else:
                assert set(text.split()) <= set(chunks[home].split())
        assert len({q.id for q in found.questions}) == len(found.questions)
        again, _ = with_made(collection, split, encoder.tokenizer, np.random.default_rng(0), 2)
        assert again.questions == found.questions


def test_documents_without_a_part_follow_their_questions(encoder):
    documents = [Document(f"d{i}", f"number {i} moon tea " * 20) for i in range(30)]
    chunks = [d.chunk(Span(0, len(d.text))) for d in documents]
    asked = [
        Judged("a", Query("moon"), {chunks[0].id: 1, chunks[1].id: 1}, "train"),
        Judged("b", Query("tea"), {chunks[1].id: 1}, "test"),
        Judged("c", Query("sun"), {chunks[2].id: 1}, "dev"),
    ]
    one = Collection("x", documents, chunks, asked)
    held = {}
    for split in ("train", "dev", "test"):
        found, kinds = with_made(one, split, encoder.tokenizer, np.random.default_rng(0), 1)
        made = [q for q, kind in zip(found.questions, kinds) if kind != "asked"]
        held[split] = {i for q in made for i in q.relevant}
        assert kinds.count("asked") == 1
        assert len(found.chunks) == 30
    assert chunks[0].id in held["train"]
    assert chunks[1].id in held["test"]
    assert chunks[2].id in held["dev"]
    assert sum(map(len, held.values())) == len(set.union(*held.values())) == 30


def test_a_batch_has_its_share_of_real_questions(collection, encoder):
    queries = Queries.of(LexSemBridgeRecipe(made=1), [collection], "train", encoder, 0)
    rng = np.random.default_rng(0)
    for share in (0, 0.25, 1):
        drawn = queries.draw(8, share, rng)
        assert len(drawn) == 8
        assert sum(queries.kinds[drawn] == "asked") == 8 * share
    alone = Queries.of(LexSemBridgeRecipe(made=0), [collection], "train", encoder, 0)
    assert set(alone.kinds[alone.draw(8, 0.25, rng)]) == {"asked"}
    unasked = replace(collection, questions=[])
    made = Queries.of(LexSemBridgeRecipe(made=1), [unasked], "train", encoder, 0)
    assert "asked" not in made.kinds
    assert len(made.draw(8, 0.25, rng)) == 8
    with pytest.raises(ConfigError, match="no question for 'train', and no passage to make one of"):
        Queries.of(LexSemBridgeRecipe(), [Collection("x", [], [])], "train", encoder, 0)


def test_places_count_the_passages_of_a_query_s_own_collection(collection, encoder):
    both = [collection, replace(collection, name="again")]
    queries = Queries.of(LexSemBridgeRecipe(made=1), both, "dev", encoder, 0)
    products = np.random.default_rng(0).random((len(queries.kinds), len(queries.asked.passages)))
    half = len(queries.asked.passages) // 2
    for i, place in enumerate(queries.places(products)):
        home = slice(0, half) if i < len(queries.kinds) // 2 else slice(half, None)
        [answer] = queries.asked.relevant[i]
        order = np.argsort(-products[i, home]).tolist()
        assert order[place] == answer - (home.start or 0)


QUICK = {"steps": 40, "every": 10, "batch": 32, "learning_rate": 3e-2, "made": 6, "vocabulary": 50}


def quick(variant):
    return LexSemBridgeRecipe(variant=variant, **{**QUICK, "learning_rate": 3e-3 if variant == "clr" else 3e-2})


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_on_a_frozen_encoder(collection, encoder, tmp_path, variant):
    task = quick(variant).prepare([collection], encoder, 0)
    with torch.no_grad():
        task.model.eval()
        before, first = task.scores(), float(task.loss(0))
        places = task.dev.places(task.dev.asked.questions @ task.dev.asked.passages.T)
        missed = 1 - np.where(places < 10, 1 / (1 + places), 0)
        kinds = [missed[task.dev.kinds == kind].mean() for kind in ("asked", "keywords", "part")]
        assert before["1 - MRR@10"] == pytest.approx(np.mean(kinds)), "untrained it is the encoder itself"
    run, _ = fit(task, quick(variant), tmp_path, 0)
    assert run.best["1 - MRR@10"] < before["1 - MRR@10"]
    with torch.no_grad():
        assert float(task.loss(0)) < first
    arrays = task.arrays()
    assert len(arrays["tokens"]) <= 50
    assert not set(arrays["tokens"].tolist()) & encoder.tokenizer.special_ids


@pytest.mark.parametrize("variant", VARIANTS)
def test_trained_weights_are_used_as_they_were_trained(collection, encoder, tmp_path, variant):
    recipe = quick(variant)
    for name in "ab":
        result = train(recipe, [collection], encoder, tmp_path / name, seed=3)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1], "the same seed gives the same weights"
    assert [row["split"] for row in result.table] == ["dev", "test"]
    retriever, corpus = LexSemBridgeRetriever(weights=str(tmp_path / "a")), sample_corpus(encoder)
    task = recipe.prepare([collection], encoder, 3)
    fit(task, recipe, tmp_path / "c", 3)
    made, _ = with_made(collection, "dev", encoder.tokenizer, np.random.default_rng(seed_of(3, -2)), 2)
    with torch.no_grad():
        turned = task.turned(task.dev, slice(0, 8)).numpy()
    for question, vector in zip(made.questions, turned):
        np.testing.assert_allclose(retriever.vector(question.query, corpus), vector, atol=0.03)


def test_training_refuses_an_encoder_without_token_numbers(collection):
    with pytest.raises(ConfigError, match="reads token numbers, which the tokenizer of hash does not give"):
        LexSemBridgeRecipe().prepare([collection], HashEncoder(), 0)


def test_clr_refuses_an_encoder_without_word_vectors():
    with pytest.raises(ConfigError, match="CLR needs the word vectors of a transformer, which hash does not have"):
        word_vectors(RememberingEncoder.of(HashEncoder()))
    with pytest.raises(ModelError, match="CLR needs the word embedding matrix"):
        LexSemBridge.of("clr", [1, 2], 4)


def test_word_vectors_are_those_of_the_model(encoder, tiny_folder):
    model = SentenceTransformer(str(tiny_folder), device="cpu")[0].auto_model
    np.testing.assert_array_equal(word_vectors(encoder), model.get_input_embeddings().weight.detach().numpy())
    assert isinstance(encoder.tokenizer, ModelTokenizer)
    assert encoder.tokenizer.special_ids == {0, 1, 2, 3, 4}
