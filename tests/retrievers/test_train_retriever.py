"""Training of retrievers: the query map learns what can be learned, the verb, mined negatives, and interruptions."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from fovea.pipelines.cli.main import main
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trained import load, shipped
from fovea.rag.types import Document, Query, Span
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.collections.read import read
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.query_map import QueryMapRetriever
from fovea.retrievers.training.asked import Asked
from fovea.retrievers.training.contrast import candidates_of, info_nce
from fovea.retrievers.training.measure import ranked, scores
from fovea.retrievers.training.mining import hard_negatives
from fovea.retrievers.training.query_map import QueryMapRecipe
from fovea.retrievers.training.train import counts, train
from tests.retrievers.test_collections import article, ask

pytestmark = pytest.mark.usefixtures("one_thread")

ENCODER = HashEncoder(size=64)
WORDS = [f"{a}{b}" for a in ("bar", "den", "fol", "gim", "hap", "jus") for b in ("ane", "ilo", "umi", "oke")]
"""Passages are about one of these; questions ask for it by another word, the same one always."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """TimeQA's form, in which questions and passages never share a word that tells."""
    rng, rows = np.random.default_rng(0), []
    for number in range(48):
        topics = rng.choice(WORDS, 4, replace=False)
        paras = [f"the {t} of this place is {t} and so it was {t} then" for t in topics]
        asked = [ask(f"who was q{t[::-1]} here", i + 1) for i, t in enumerate(topics)]
        rows.append(article(f"/wiki/{number}", *asked, paras=["Title", *paras]))
    path = tmp_path_factory.mktemp("data") / "train.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="module")
def collection(data):
    return read(data)


QUICK = QueryMapRecipe(steps=80, every=20, learning_rate=1e-2, negatives=4, batch=32)


def mrr(collection, retriever, split="test"):
    part = collection.part(split)
    return scores(ranked(retriever, part, ENCODER), part.questions)["MRR@10"]


def test_the_map_learns_what_the_encoder_does_not_know(collection, tmp_path):
    result = train(QUICK, [collection], ENCODER, tmp_path)
    before, after = mrr(collection, DenseRetriever()), mrr(collection, QueryMapRetriever(weights=str(tmp_path)))
    assert before < 0.35
    assert after > before + 0.4
    assert result.scores["MRR"] > 0.7
    [dev, test] = result.table
    assert (dev["split"], test["split"]) == ("dev", "test")
    assert (test["MRR@10"], test["MRR@10 of dense"]) == (f"{after:.3f}", f"{before:.3f}")
    assert (tmp_path / "weights.safetensors").stat().st_size < 2 * 64 * 64 + 1000


def test_answers_at_random_teach_nothing(collection, tmp_path):
    rng = np.random.default_rng(0)
    ids = {split: [c.id for c in collection.part(split).chunks] for split in ("train", "dev", "test")}
    shuffled = [replace(q, relevant={str(rng.choice(ids[q.split])): 1}) for q in collection.questions]
    train(QUICK, [replace(collection, questions=shuffled)], ENCODER, tmp_path)
    chance = mrr(collection, DenseRetriever())
    assert mrr(collection, QueryMapRetriever(weights=str(tmp_path))) < chance + 0.1


def test_the_same_seed_gives_the_same_weights(collection, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(replace_steps(QUICK, 10), [collection], ENCODER, tmp_path / name, seed=seed)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]


def replace_steps(recipe, steps):
    return recipe.model_copy(update={"steps": steps})


def test_before_training_the_map_changes_nothing(collection):
    task = QUICK.prepare([collection], ENCODER, 0)
    assert not task.arrays()["map"].any()
    asked = task.dev
    plain = asked.questions @ asked.passages.T
    homes = np.zeros(len(asked.passages), int)
    assert np.array_equal(asked.homes, homes)
    first = [int((row > row[r].max() + 1e-6).sum()) + 1 for row, r in zip(plain, asked.relevant)]  # Equal but for bits.
    with torch.no_grad():
        assert task.scores()["MRR"] == pytest.approx(np.mean([1 / f for f in first]), abs=1e-6)


def test_collections_are_searched_apart(collection):
    asked = Asked.of([collection.part("dev"), collection.part("test")], ENCODER, DenseRetriever(), 3)
    parts = [collection.part("dev"), collection.part("test")]
    assert [len(p.chunks) for p in parts] == np.bincount(asked.homes).tolist()
    assert [asked.home(i) for i in range(len(asked.questions))] == [
        home for home, part in enumerate(parts) for _ in part.questions
    ]
    chunks = [c for part in parts for c in part.chunks]
    for i, question in enumerate(q for part in parts for q in part.questions):
        assert {chunks[row].id for row in asked.relevant[i]} == set(question.relevant)
        assert {asked.homes[row] for row in asked.negatives[i]} == {asked.home(i)}
        assert not set(asked.negatives[i]) & set(asked.relevant[i])
    task = QUICK.prepare([collection, replace(collection, name="again")], ENCODER, 0)
    alone = QUICK.prepare([collection], ENCODER, 0)
    with torch.no_grad():
        assert task.scores() == pytest.approx(alone.scores(), abs=1e-6), "another collection's passages do not count"


def test_info_nce_is_its_formula():
    rng = np.random.default_rng(0)
    q, c = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rng.normal(size=(5, 8)), rng.normal(size=(9, 8))))
    answers, apart = np.zeros((5, 9), bool), np.zeros((5, 9), bool)
    for i in range(5):
        answers[i, [i, i + 1]] = True
        apart[i, 8 - i :] = i == 0
    e = np.exp(q @ c.T / 0.1) * ~apart
    expected = -np.log((e * answers).sum(1) / e.sum(1)).mean()
    found = info_nce(torch.tensor(q), torch.tensor(c), torch.tensor(answers), 0.1, torch.tensor(apart))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_candidates_are_all_of_a_batch(collection):
    asked = Asked.of([collection.part("train")], ENCODER, DenseRetriever(), 5)
    rows, answers = candidates_of(asked, [0, 3])
    expected = {*asked.relevant[0], *asked.negatives[0], *asked.relevant[3], *asked.negatives[3]}
    assert rows.tolist() == sorted(expected)
    for line, i in zip(answers, (0, 3)):
        assert rows[line].tolist() == sorted(asked.relevant[i])


def texts_of(found):
    return [[chunk.text for chunk in chunks] for chunks in found]


def test_hard_negatives_by_hand():
    answer = "the old mill by the river was burnt down in the great war"
    texts = [
        answer,
        answer + " too",
        "the river is old and long",
        "the mill is old",
        "the war was great",
        "nothing of it here",
    ]
    documents = [Document(f"d{i}", text) for i, text in enumerate(texts)]
    chunks = [d.chunk(Span(0, len(d.text))) for d in documents]
    question = Judged("q", Query("old mill by the river in the great war"), {chunks[0].id: 1})
    one = Collection("x", documents, chunks, [question])
    corpus = MemoryCorpus(documents, chunks, ENCODER)
    order = [h.chunk.text for h in BM25Retriever().search(question.query, 10, corpus)]
    assert order[:2] == texts[:2] or order[:2] == texts[1::-1]
    found = texts_of(hard_negatives(one, BM25Retriever(), corpus, count=2))
    assert found == [order[2:4]], "neither what answers nor its near copy"
    assert texts_of(hard_negatives(one, BM25Retriever(), corpus, count=2, skip=2)) == [order[3:5]]
    assert found == texts_of(hard_negatives(one, BM25Retriever(), corpus, count=2))


def test_what_is_no_retriever_says_how_it_is_measured(collection):
    with pytest.raises(ConfigError, match="nobody knows how to measure 'hash', of the kind encoder"):
        ranked(ENCODER, collection.part("dev"), ENCODER)


def test_counts(collection):
    rows = counts([collection, Collection("bare", collection.documents[:2], collection.chunks[:8])])
    assert [(r["collection"], r["split"]) for r in rows] == [
        *(("timeqa", s) for s in ("train", "dev", "test")),
        ("bare", "all"),
    ]
    assert rows[-1]["chunks"] == "8"
    assert sum(int(r["documents"]) for r in rows[:3]) == 48


# The verb

ARGS = ("--encoder", "{use: hash, size: 64}", "--quiet")
SHORT = ("--set", "steps=20", "--set", "every=10", "--set", "learning_rate=0.01")


def fovea(capsys, *args, code=0):
    found = main(["train", "retriever", *map(str, args), *ARGS])
    out, err = capsys.readouterr()
    assert found == code, err
    return out if code == 0 else err


def test_the_verb_trains_and_writes_a_card(data, tmp_path, capsys, monkeypatch):
    args = ["query_map", "--data", data, "--out", tmp_path / "out", "--licence", "our own", *SHORT]
    monkeypatch.setattr(sys, "argv", ["fovea", "train", "retriever", *map(str, args)])
    out = fovea(capsys, *args)
    assert "20 steps, ended by steps" in out
    retriever = QueryMapRetriever(weights=str(tmp_path / "out"))
    about = retriever.trained.about
    assert (about["method"], about["encoder"], about["encoder_name"], about["dim"]) == (
        "query_map",
        ENCODER.space,
        "hash",
        64,
    )
    assert about["training"]["steps"] == 20
    card = (tmp_path / "out" / "README.md").read_text()
    collection = read(data)
    test = collection.part("test")
    value = f"{mrr(collection, retriever):.3f}"
    for expected in (
        "# Weights of the retriever `query_map`",
        "    fovea train retriever query_map --data",
        "| train.json | ",
        f"| timeqa | test | {len(test.documents)} | {len(test.chunks)} | {len(test.questions)} |",
        "Licence of the data: our own",
        "- encoder: hash",
        "`miner=dense`",
        "the encoder alone (dense)",
    ):
        assert expected in card, card
    assert value in card.splitlines()[-2]
    assert f"timeqa (test, {len(test.questions)} questions)" in out
    assert f"MRR@10 {value}" in out


def test_the_verb_goes_on_after_kill_9_to_the_same_weights(data, tmp_path, capsys):
    args = ["query_map", "--data", str(data), "--set", "steps=50", "--set", "every=5", "--set", "patience=1000"]
    assert "ended by steps" in fovea(capsys, *args, "--out", tmp_path / "whole")
    command = [
        sys.executable,
        "-m",
        "fovea.pipelines.cli.main",
        "train",
        "retriever",
        *args,
        "--out",
        str(tmp_path / "killed"),
        *ARGS,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 300
    while not (tmp_path / "killed" / "checkpoint.safetensors").exists():
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=30)
    assert not (tmp_path / "killed" / "weights.safetensors").exists(), "it was in the middle"
    assert "ended by seconds; the same command goes on" in fovea(
        capsys, *args, "--out", tmp_path / "killed", "--max-seconds", 0
    )
    assert "ended by steps" in fovea(capsys, *args, "--out", tmp_path / "killed")
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
    err = fovea(capsys, *args, "--out", tmp_path / "killed", "--seed", 1, code=2)
    assert "seed was 0, is 1" in err


def test_vectors_of_passages_are_made_once(data, tmp_path, capsys, monkeypatch):
    args = ["query_map", "--data", data, "--cache", tmp_path / "cache", *SHORT]
    fovea(capsys, *args, "--out", tmp_path / "a")
    passages = {c.text for c in read(data).chunks}
    real = HashEncoder.encode

    def encode(self, texts, role="document"):
        assert not passages.intersection(texts), "encoded again"
        return real(self, texts, role)

    monkeypatch.setattr(HashEncoder, "encode", encode)
    fovea(capsys, *args, "--out", tmp_path / "b")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["query_mop"], "no retriever called 'query_mop' can be trained"),
        (["query_mop"], "did you mean 'query_map'?"),
        (["mining"], "allowed: "),
        (["query_map", "--set", "negative=3"], "did you mean 'negatives'?"),
        (["query_map", "--set", "miner=dens"], "unknown retriever 'dens'"),
        (["query_map", "--set", "negatives=few"], "input should be a valid integer"),
    ],
)
def test_mistakes_are_named(data, tmp_path, capsys, args, message):
    assert message in fovea(capsys, *args, "--data", data, "--out", tmp_path / "out", code=2)


def test_data_without_a_part_is_refused(data, tmp_path, capsys):
    rows = [row for row in json.loads(data.read_text()) if read(data).parts[row["link"]] == "train"]
    (tmp_path / "some.json").write_text(json.dumps(rows))
    err = fovea(capsys, "query_map", "--data", tmp_path / "some.json", "--out", tmp_path / "out", code=2)
    assert f"no question is for 'dev', of {4 * len(rows)} questions" in err


# The component


def test_another_encoder_is_refused_with_both_names(data, tmp_path, capsys):
    fovea(capsys, "query_map", "--data", data, "--out", tmp_path, *SHORT)
    corpus = MemoryCorpus.of({"a": "text"}, HashEncoder(size=128))
    with pytest.raises(ConfigError) as error:
        QueryMapRetriever(weights=str(tmp_path)).search(Query("x"), 1, corpus)
    for part in (
        "read vectors of hash (64 numbers)",
        "the encoder here is hash (128)",
        "fovea train retriever query_map",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("path", sorted(shipped("retriever").glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_weights_are_small_and_have_a_card(path):
    method = path.stem.removesuffix("_slr").removesuffix("_llr").removesuffix("_clr")
    card = path.with_suffix(".md").read_text("utf-8")
    about = load(path.stem, method, "retriever").about
    assert path.stat().st_size <= 2_000_000
    maker = "python benchmarks/rerank.py" if method == "reranker" else f"fovea train retriever {about['method']}"
    assert f"{maker} --data" in card
    assert f"- encoder: {about['encoder_name']}" in card
    assert "Licence of the data: " in card
    assert "Licence of the data: not stated" not in card
    for name, value in about["training"].items():
        assert name == "seed" or f"`{name}={value}`" in card
