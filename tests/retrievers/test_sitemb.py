"""SitEmb: the formulas of situator and retriever, what they refuse, and that training learns what there is to learn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, StoreError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.testing.retrievers import check_retriever
from fovea.rag.testing.situators import MARKDOWN, SAMPLES, check_situator, pieces
from fovea.rag.trace import Trace
from fovea.rag.trained import load, save
from fovea.rag.types import Document, Query
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.read import read
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.sitemb import SitEmbRetriever
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.retrievers.situators.sitemb import SitEmbSituator, surroundings
from tests.learned_weights import about, weights_of
from tests.retrievers.test_collections import article, ask

ENCODER = HashEncoder(size=64)
DOCUMENT = Document("d", MARKDOWN, title="Rivers of Europe", media_type="text/markdown")
CHUNKS = pieces(DOCUMENT)
OWN = ENCODER.encode([chunk.text for chunk in CHUNKS])


def written(folder, heading=0.0, around=0.0, turn=0.0, encoder=ENCODER) -> str:
    arrays = {"map": turn * np.eye(encoder.dim, k=1), "weights": np.array([heading, around])}
    path = folder / f"{heading}_{around}_{turn}.safetensors"
    save(path, {k: v.astype(np.float16) for k, v in arrays.items()}, {**about("sitemb", encoder), "reach": 2})
    return str(path)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


# The formulas


def test_the_laws():
    check_situator(SitEmbSituator(weights=weights_of("sitemb", ENCODER)), ENCODER)
    check_retriever(SitEmbRetriever(weights=weights_of("sitemb", HashEncoder())), sample_corpus(HashEncoder()))


def test_weights_of_zero_leave_chunks_and_questions_as_they_are(tmp_path):
    weights = written(tmp_path)
    for document in SAMPLES:
        chunks = pieces(document)
        own = ENCODER.encode([chunk.text for chunk in chunks])
        made = SitEmbSituator(weights=weights).vectors(document, chunks, own, ENCODER)
        assert np.allclose(made, own, rtol=0, atol=1e-6)
    corpus = sample_corpus(ENCODER)
    found = SitEmbRetriever(weights=weights).vector(Query("green tea"), corpus)
    assert np.allclose(found, corpus.embed("green tea"), rtol=0, atol=1e-6)


def test_the_sum_of_chunk_heading_and_surroundings(tmp_path):
    said = HeadingSituator().texts(DOCUMENT, CHUNKS)
    heads = np.stack([ENCODER.encode([text])[0] if text else np.zeros(64, np.float32) for text in said])
    means = np.stack([unit(OWN[max(0, i - 2) : i + 3].mean(axis=0)) for i in range(len(OWN))])
    situator = SitEmbSituator(weights=written(tmp_path, 0.5, 0.25), weight=0.8)
    expected = unit(OWN + 0.8 * (0.5 * heads + 0.25 * means))
    assert np.allclose(situator.vectors(DOCUMENT, CHUNKS, OWN, ENCODER), expected, rtol=0, atol=1e-5)
    assert situator.texts(DOCUMENT, CHUNKS) == said


def test_surroundings_are_of_the_neighbours_and_of_no_other_chunk():
    """Whatever changes further away than `reach`, or in another document, changes nothing."""
    own = unit(np.random.default_rng(0).normal(size=(9, 8))).astype(np.float32)
    before = surroundings(own, 2)
    for far in range(9):
        other = own.copy()
        other[far] = -own[far]
        moved = np.abs(surroundings(other, 2) - before).max(axis=1) > 1e-6
        assert np.flatnonzero(moved).tolist() == [i for i in range(9) if abs(i - far) <= 2]


def test_documents_say_nothing_of_each_other():
    pytest.importorskip("torch")
    from fovea.retrievers.training.sitemb import placed, situated

    both = Collection("all", SAMPLES, [c for d in SAMPLES for c in pieces(d)])
    parts = [both.only([d.id]) for d in SAMPLES]
    situator = SitEmbSituator(weights=weights_of("sitemb", ENCODER))
    alone = np.concatenate([situated(situator, part, ENCODER) for part in parts])
    assert np.allclose(situated(situator, both, ENCODER), alone, rtol=0, atol=1e-6)
    for name in ("headings", "around"):
        trained_on = [getattr(placed(part, ENCODER, 2), name).numpy() for part in (both, *parts)]
        assert np.allclose(trained_on[0], np.concatenate(trained_on[1:]), rtol=0, atol=1e-6)


def test_the_batches_of_the_encoder_decide_nothing():
    class Single(HashEncoder):
        def encode(self, texts, role="document"):
            found = [super(Single, self).encode([text], role) for text in texts]
            return np.concatenate(found) if found else super().encode([], role)

    situator = SitEmbSituator(weights=weights_of("sitemb", ENCODER))
    whole = situator.vectors(DOCUMENT, CHUNKS, OWN, ENCODER)
    for encoder in (Single(size=64), RememberingEncoder.of(ENCODER, slice=1)):
        assert encoder.space == ENCODER.space
        assert np.allclose(situator.vectors(DOCUMENT, CHUNKS, OWN, encoder), whole, rtol=0, atol=1e-6)
    assert np.array_equal(situator.vectors(DOCUMENT, CHUNKS, OWN, ENCODER), whole)


# What is refused


def test_another_encoder_is_refused_with_both_names():
    other, weights = HashEncoder(size=128), weights_of("sitemb", ENCODER)
    own = other.encode([c.text for c in CHUNKS])
    with pytest.raises(ConfigError) as of_chunks:
        SitEmbSituator(weights=weights).vectors(DOCUMENT, CHUNKS, own, other)
    with pytest.raises(ConfigError) as of_questions:
        SitEmbRetriever(weights=weights).search(Query("x"), 1, MemoryCorpus.of({"a": "text"}, other))
    for error in (of_chunks, of_questions):
        for part in ("hash (64 numbers)", "the encoder here is hash (128)", "fovea train retriever sitemb"):
            assert part in str(error.value)


def test_a_pipeline_has_both_sides_or_neither(tmp_path):
    one, two = written(tmp_path, 0.5), written(tmp_path, 0.5, 0.5)
    for situate in (None, {"use": "headings"}, {"use": "sitemb", "weights": two}, {"use": "sitemb", "model": "m"}):
        with pytest.raises(ConfigError, match="with the same weights") as error:
            PipelineSpec(encoder=ENCODER, situate=situate, retrieve=[{"use": "sitemb", "weights": one}])
        assert one in str(error.value)
    PipelineSpec(encoder=ENCODER, situate={"use": "sitemb", "weights": one})
    PipelineSpec(encoder=ENCODER, situate={"use": "sitemb", "weights": one}, retrieve={"use": "sitemb", "weights": one})
    with pytest.raises(ConfigError, match="with the same weights"):
        PipelineSpec(encoder=ENCODER, retrieve=[{"use": "sitemb", "model": "m"}], situate={"use": "sitemb"})


def test_weights_by_their_content_make_the_fingerprint(tmp_path):
    one, two = written(tmp_path, 0.5), written(tmp_path, 0.5, 0.5)
    for cls in (SitEmbSituator, SitEmbRetriever):
        assert len({cls(weights=one).fingerprint, cls(weights=two).fingerprint}) == 2


def test_a_pipeline_finds_what_a_heading_says(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("Velmora", "Ashwick"):
        text = f"# {name}\n\nIt is a town by the sea.\n\nIt was destroyed by a flood.\n"
        (tmp_path / "docs" / f"{name}.md").write_text(text)
    weights = written(tmp_path, 0.5, 0.1)
    sides = {"situate": {"use": "sitemb", "weights": weights}, "retrieve": [{"use": "sitemb", "weights": weights}]}
    with Pipeline(base=tmp_path, encoder=ENCODER, segment={"use": "sentence", "max_tokens": 8}, **sides) as pipeline:
        assert pipeline.ingest(tmp_path / "docs").ok
        for name in ("Velmora", "Ashwick"):
            (hit,) = pipeline.retrieve(f"What destroyed {name} by flood?", k=1)
            assert (hit.chunk.source, "flood" in hit.chunk.text) == (f"docs/{name}.md", True)


def of_weights(tmp_path, weights, **stages):
    sides = {"situate": {"use": "sitemb", "weights": weights}, "retrieve": [{"use": "sitemb", "weights": weights}]}
    return Pipeline(base=tmp_path, encoder=ENCODER, **{**sides, **stages})


def test_chunks_situated_by_other_weights_are_told_with_both_names(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("sea", "flood"):
        (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n\nIt is a town by the {name}.\n")
    one, two = written(tmp_path, 0.5), written(tmp_path, 0.5, 0.1)
    asked = "a town by the sea"
    with of_weights(tmp_path, one) as pipeline, of_weights(tmp_path, two) as other:
        pipeline.ingest(tmp_path / "docs")
        assert len(pipeline.retrieve(asked)) == 2
        for action in (other.retrieve, other.ask):
            with pytest.raises(StoreError) as refused:
                action(asked)
            assert f'were situated by sitemb with "{one}"' in str(refused.value)
            assert f'the retriever sitemb is for sitemb with "{two}"' in str(refused.value)
            assert "fovea ingest" in str(refused.value)
        other.ingest(tmp_path / "docs" / "sea.md")
        for each in (pipeline, other):
            trace = Trace()
            assert len(each.retrieve(asked, trace=trace)) == 2
            ((warning, chunks),) = [pair for pair in trace.warnings.items() if "sitemb" in pair[0] and one in pair[0]]
            assert (two in warning, chunks) == (True, 1)
        other.ingest(tmp_path / "docs")
        trace = Trace()
        assert len(other.retrieve(asked, trace=trace)) == 2
        assert not trace.warnings
        with pytest.raises(StoreError, match="situated by sitemb with"):
            pipeline.retrieve(asked)


def test_what_the_retriever_does_not_share_with_the_situator_may_differ(tmp_path):
    (tmp_path / "a.md").write_text("# Sea\n\nIt is a town.\n")
    weights = written(tmp_path, 0.5)
    with of_weights(tmp_path, weights) as pipeline:
        pipeline.ingest(tmp_path / "a.md")
    lighter = {"use": "sitemb", "weights": weights, "weight": 0.5}
    with of_weights(tmp_path, weights, situate=lighter) as pipeline:
        assert pipeline.retrieve("a town")
    with of_weights(tmp_path, weights, retrieve="dense", situate=None) as pipeline:
        assert pipeline.retrieve("a town"), "a retriever that searches any vectors has nothing to be told"
        pipeline.ingest(tmp_path / "a.md")
    with of_weights(tmp_path, weights) as pipeline, pytest.raises(StoreError, match="situated by no situator"):
        pipeline.retrieve("a town")


def test_a_file_that_fails_keeps_the_name_of_who_made_its_chunks(tmp_path):
    (tmp_path / "a.md").write_text("# Sea\n\nIt is a town.\n")
    one, two = written(tmp_path, 0.5), written(tmp_path, 0.5, 0.1)
    with of_weights(tmp_path, one) as pipeline:
        pipeline.ingest(tmp_path / "a.md")
    (tmp_path / "a.md").write_text("")
    with of_weights(tmp_path, two) as pipeline:
        assert not pipeline.ingest(tmp_path / "a.md").ok
        with pytest.raises(StoreError, match="were situated by sitemb with"):
            pipeline.retrieve("a town")


# A situated model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("sentence_transformers")
    from tests.tiny import save_encoder

    return str(save_encoder(tmp_path_factory.mktemp("situated"), window=48, seed=1))


def test_vectors_of_a_situated_model_are_added(model):
    encoder = HashEncoder(size=32)
    document = Document("d", "the moon orbits. tea is brewed. rivers flow. a day.")
    chunks = [c for c in pieces(document, 17) if c.text.strip()]
    own = encoder.encode([c.text for c in chunks])
    situator = SitEmbSituator(model=model, group=2)
    read = situator.read(document, chunks)
    a, b, c = (chunk.text for chunk in chunks)
    assert read == [f"{a} </s> {a}{b}", f"{b} </s> {a}{b}", f"{c} </s> {c}"]
    made = situator.vectors(document, chunks, own, encoder)
    assert np.allclose(made, unit(own + situator.situated.encode(read)), rtol=0, atol=1e-5)
    check_situator(situator, encoder)
    corpus = MemoryCorpus([document], chunks, encoder, vectors=made)
    asked = SitEmbRetriever(model=model).vector(Query("tea"), corpus)
    both = encoder.encode(["tea"], "query")[0] + situator.situated.encode(["tea"], "query")[0]
    assert np.allclose(asked, unit(both), rtol=0, atol=1e-5)
    assert situator.fingerprint != SitEmbSituator(model=model, group=3).fingerprint


def test_a_context_too_long_for_the_model_is_narrowed_around_the_chunk_and_counted(model):
    document = Document("d", " ".join(f"{word} in the days." for word in "abcdefghijklmnop"))
    chunks, trace = pieces(document, 15), Trace()
    situator = SitEmbSituator(model=model)
    with trace.stage("situate"):
        read = situator.read(document, chunks)
    assert all(text.startswith(c.text) and c.text in text[len(c.text) :] for c, text in zip(chunks, read))
    assert max(map(situator.situated.tokenizer.count, read)) <= situator.situated.window
    assert sum(trace.warnings.values()) == len(chunks)


def test_a_situated_model_of_another_length_is_refused_with_both_names(model):
    for fails in (
        lambda: SitEmbSituator(model=model).vectors(DOCUMENT, CHUNKS, OWN, ENCODER),
        lambda: SitEmbRetriever(model=model).vector(Query("tea"), sample_corpus(ENCODER)),
    ):
        with pytest.raises(ConfigError, match="cannot be added") as error:
            fails()
        assert f"{model} have 32 numbers" in str(error.value)
        assert "hash 64" in str(error.value)


# Training


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Questions name the page by a title, and the passage by a word that passages never hold."""
    pytest.importorskip("torch")
    rng, rows = np.random.default_rng(0), []
    words = [f"{a}{b}" for a in ("bar", "den", "fol", "gim") for b in ("ane", "ilo", "umi", "oke")]
    for number in range(48):
        topics = rng.choice(words, 4, replace=False)
        paras = [f"the {t} of this place is {t} and so it was {t} then" for t in topics]
        asked = [ask(f"who was q{t[::-1]} in zan{number}", i + 1) for i, t in enumerate(topics)]
        rows.append(article(f"/wiki/{number}", *asked, paras=[f"zan{number}", *paras]))
    path = tmp_path_factory.mktemp("data") / "train.json"
    path.write_text(json.dumps(rows))
    return read(path)


def trained(collection, out, **settings):
    from fovea.retrievers.training.sitemb import SitEmbRecipe
    from fovea.retrievers.training.train import train

    recipe = SitEmbRecipe(**{"steps": 80, "learning_rate": 1e-2, "batch": 32, "far": 60, "patience": 9, **settings})
    return recipe, train(recipe, [collection], ENCODER, out)


def mrr(recipe, weights, collection):
    from fovea.retrievers.training.measure import ranked, scores

    part = collection.part("test")
    found = recipe.ranked(weights, part, ENCODER) if weights else ranked(DenseRetriever(), part, ENCODER)
    return scores(found, part.questions)["MRR@10"]


def test_it_learns_what_questions_mean_and_what_titles_say(collection, tmp_path):
    recipe, result = trained(collection, tmp_path)
    before, after = mrr(recipe, "", collection), mrr(recipe, str(tmp_path), collection)
    assert before < 0.4
    assert after > before + 0.3
    assert [row["MRR@10"] for row in result.table if row["split"] == "test"] == [f"{after:.3f}"]
    found = load(str(tmp_path), "sitemb", "retriever")
    assert found.about["reach"] == 2
    assert found.arrays["weights"].shape == (2,)


def test_answers_at_random_teach_nothing(collection, tmp_path):
    rng = np.random.default_rng(0)
    ids = {split: [c.id for c in collection.part(split).chunks] for split in ("train", "dev", "test")}
    shuffled = [replace(q, relevant={str(rng.choice(ids[q.split])): 1}) for q in collection.questions]
    control = replace(collection, questions=shuffled)
    recipe, _ = trained(control, tmp_path)
    for one in (control, collection):  # Of the true answers nothing more is found than by titles, untrained.
        task = recipe.prepare([one], ENCODER, 0)
        save(tmp_path / "untrained.safetensors", task.arrays(), {**about("sitemb", ENCODER), "reach": 2})
        chance = mrr(recipe, str(tmp_path / "untrained.safetensors"), one)
        assert mrr(recipe, str(tmp_path), one) < chance + 0.05


def test_the_same_seed_gives_the_same_weights(collection, tmp_path):
    for name in "ab":
        trained(collection, tmp_path / name, steps=10, every=10)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_before_training_the_map_is_the_identity_and_weights_are_where_they_begin(collection):
    from fovea.retrievers.training.sitemb import SitEmbRecipe

    task = SitEmbRecipe(begin=0.3).prepare([collection], ENCODER, 0)
    arrays = task.arrays()
    assert not arrays["map"].any()
    assert np.allclose(arrays["weights"], 0.3)
