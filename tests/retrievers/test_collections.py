"""Readers of retrieval collections: tiny files by hand, what is broken, and the shared data where it is there."""

import json
import shutil
from collections import Counter

import pytest

from fovea.rag.errors import ConfigError, DocumentError
from fovea.rag.trace import Trace
from fovea.rag.training.files import eighth
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.drawn import drawn
from fovea.retrievers.collections.read import read
from tests.conftest import SHARED


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


CORPUS = [
    {"_id": "a", "title": "Moon", "text": "It orbits.", "metadata": {"year": 1969, "tags": ["x"]}},
    {"_id": "b", "title": "", "text": "Tea is brewed."},
    {"_id": 7, "text": "Rivers flow."},
]
QUERIES = [{"_id": "q2", "text": "tea?"}, {"_id": "q1", "text": "moon?"}, {"_id": "q3", "text": "nothing?"}]
QRELS = {"test": [("q1", "a", 2), ("q1", "b", 0), ("q2", "7", 1)], "train": [("q3", "b", 0)]}


def beir(folder, *, corpus=CORPUS, queries=QUERIES, qrels=QRELS, heading="query-id\tcorpus-id\tscore\n"):
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(lines(corpus), encoding="utf-8")
    (folder / "queries.jsonl").write_text(lines(queries), encoding="utf-8")
    for split, rows in qrels.items():
        text = heading + "".join(f"{q}\t{d}\t{g}\n" for q, d, g in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


def read_with_warnings(path):
    trace = Trace()
    with trace.stage("read"):
        return read(path), dict(trace.warnings)


def holds(collection: Collection):
    """The law of the house, and that every name is of one thing."""
    documents = {d.id: d for d in collection.documents}
    assert len(documents) == len(collection.documents)
    assert all(documents[c.document_id].text[c.start : c.end] == c.text for c in collection.chunks)
    ids = {c.id for c in collection.chunks}
    assert len(ids) == len(collection.chunks)
    assert len({q.id for q in collection.questions}) == len(collection.questions)
    assert all(q.relevant and q.relevant.keys() <= ids for q in collection.questions)
    order = [list(documents).index(c.document_id) for c in collection.chunks]
    assert order == sorted(order)
    return collection


def answers(collection):
    texts = {c.id: c.text for c in collection.chunks}
    return {q.query.text: [(texts[c], grade) for c, grade in q.relevant.items()] for q in collection.questions}


def test_beir(tmp_path):
    found, warnings = read_with_warnings(beir(tmp_path / "set"))
    holds(found)
    assert found.name == "set"
    assert [c.text for c in found.chunks] == ["Moon\nIt orbits.", "Tea is brewed.", "Rivers flow."]
    assert [(d.id, d.title) for d in found.documents] == [("a", "Moon"), ("b", ""), ("7", "")]
    assert found.chunks[0].metadata == {"year": 1969}
    assert answers(found) == {"tea?": [("Rivers flow.", 1)], "moon?": [("Moon\nIt orbits.", 2)]}
    assert [q.id for q in found.questions] == ["q2", "q1"]
    assert warnings == {
        "metadata that are no plain values were left out": 1,
        "questions that no text answers were left out": 1,
    }
    assert [q.id for q in found.part("test").questions] == ["q2", "q1"]
    assert not found.part("train").questions
    assert len(found.part("train").chunks) == 3, "questions alone are divided"


def test_beir_without_headings_and_with_wrong_names(tmp_path):
    qrels = {"dev": [("q1", "a", 1), ("q1", "nowhere", 1), ("q9", "a", 1)], "train": [("q1", "b", 1), ("q2", "b", 1)]}
    found, warnings = read_with_warnings(beir(tmp_path / "set", qrels=qrels, heading=""))
    assert {q.id: (q.split, len(q.relevant)) for q in found.questions} == {"q1": ("dev", 1), "q2": ("train", 1)}
    assert warnings["dev.tsv judges texts that are not in the corpus; they were left out"] == 1
    assert warnings["dev.tsv judges questions that are not in queries.jsonl; they were left out"] == 1
    assert warnings["questions judged in several parts count for the one that is held out"] == 1


def test_a_corpus_alone(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(lines(CORPUS), encoding="utf-8")
    found, warnings = read_with_warnings(tmp_path)
    assert (len(found.chunks), len(found.questions)) == (3, 0)
    assert "a corpus has no questions" in warnings


def broken(folder, name, change):
    path = folder / name
    path.write_text(change(path.read_text("utf-8")), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "change", "place", "what"),
    [
        ("corpus.jsonl", lambda t: t[:-3] + "\n", "corpus.jsonl:3:", "not JSON"),
        ("corpus.jsonl", lambda t: "[]\n" + t, "corpus.jsonl:1", "it has no _id"),
        ("corpus.jsonl", lambda t: t + t, "corpus.jsonl:4", "given before, at"),
        ("corpus.jsonl", lambda t: "", "corpus.jsonl", "the corpus is empty"),
        ("corpus.jsonl", lambda t: '{"_id": "a", "text": null}\n', "corpus.jsonl:1", "'text' is no text: None"),
        ("corpus.jsonl", lambda t: '{"_id": "a", "text": "", "title": ""}\n', "corpus.jsonl", "the corpus is empty"),
        ("queries.jsonl", lambda t: t + t, "queries.jsonl:4", "given before, at"),
        ("qrels/test.tsv", lambda t: t + "q1 a 1\n", "qrels/test.tsv:5", "got 'q1 a 1'"),
        ("qrels/test.tsv", lambda t: t + "q1\ta\t0.5\n", "qrels/test.tsv:5", "a whole number"),
    ],
)
def test_broken_beir_is_placed(tmp_path, name, change, place, what):
    with pytest.raises(DocumentError) as error:
        read(broken(beir(tmp_path / "set"), name, change))
    assert place in error.value.where
    assert what in error.value.what


def test_missing_parts_of_beir(tmp_path):
    folder = beir(tmp_path / "set")
    (folder / "qrels/train.tsv").rename(folder / "qrels/tiral.tsv")
    with pytest.raises(DocumentError, match="named after no part"):
        read(folder)
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DocumentError, match="cannot read it"):
        read(folder)
    shutil.rmtree(folder / "qrels")
    (folder / "queries.jsonl").write_text(lines(QUERIES))
    with pytest.raises(DocumentError, match="questions without judgments"):
        read(folder)
    with pytest.raises(ConfigError, match="there is no"):
        read(tmp_path / "none")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.json").write_text("{}")
    with pytest.raises(DocumentError, match="no collection to retrieve from"):
        read(tmp_path / "other")


LONG = "This paragraph has more than eight words, so it is a chunk ."
OTHER = "- A list item of more than eight words is a chunk as well ."


def article(link, *questions, paras=("The Title", LONG, "A Heading .", "- item", OTHER)):
    return {"link": link, "questions": list(questions), "paras": list(paras)}


def ask(text, *paras):
    return [text, [{"para": p, "from": 0, "end": 0, "answer": "x" if p else ""} for p in paras]]


def test_timeqa(tmp_path):
    rows = [
        article("/wiki/A", ask("one?", 1, 1), ask("two?", 4, 1), ask("none?", 0), ask("item?", 3)),
        article("/wiki/B", ask("three?", 4)),
        article("/wiki/A", ask("more?", 4)),
    ]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    found, warnings = read_with_warnings(tmp_path)
    holds(found)
    first = found.documents[0]
    assert first.text == f"# The Title\n\n{LONG}\n\n## A Heading\n\n- item\n\n{OTHER}"
    assert (first.id, first.title, first.media_type) == ("/wiki/A", "The Title", "text/markdown")
    assert [c.text for c in found.chunks] == [LONG, OTHER] * 2
    assert answers(found) == {
        "one?": [(LONG, 1)],
        "two?": [(OTHER, 1), (LONG, 1)],
        "three?": [(OTHER, 1)],
        "more?": [(OTHER, 1)],
    }
    assert warnings == {"questions that no text answers were left out": 2}
    assert found.parts == {
        link: {0: "test", 1: "test", 2: "dev"}.get(eighth(link), "train") for link in ("/wiki/A", "/wiki/B")
    }
    (tmp_path / "val.json").write_text(json.dumps([article("/wiki/B", ask("three?", 4))]))
    again = holds(read(tmp_path))
    assert again.parts["/wiki/B"] == "test", "what a held-out file holds is held out"
    test = again.part("test")
    assert {c.document_id for c in test.chunks} == {link for link, part in again.parts.items() if part == "test"}
    assert {q.split for q in test.questions} == {"test"}
    (tmp_path / "val.json").write_text(json.dumps([{"link": "/wiki/B", "paras": [], "questions": [["x"]]}]))
    with pytest.raises(DocumentError, match="entry 0 is no article"):
        read(tmp_path)


def test_squad(tmp_path):
    row = {"id": "1", "question": "when?", "answers": []}
    paragraphs = [
        {"context": "First one.", "qas": [row]},
        {"context": "Second.", "qas": [{**row, "id": "2", "question": "never?", "is_impossible": True}]},
    ]
    data = {"data": [{"title": "The_Moon", "paragraphs": paragraphs}, {"title": "", "paragraphs": paragraphs[:0]}]}
    (tmp_path / "x.en.json").write_text(json.dumps(data))
    found, warnings = read_with_warnings(tmp_path / "x.en.json")
    holds(found)
    assert found.documents[0].text == "First one.\n\nSecond."
    assert found.documents[0].title == "The Moon"
    assert answers(found) == {"when?": [("First one.", 1)]}
    assert found.questions[0].split == found.parts["x.en/0"] == drawn("x.en/0")
    assert warnings == {"questions that no text answers were left out": 1}
    for name, split in {"train-v1.json": "train", "dev-v1.json": "test"}.items():
        (tmp_path / name).write_text(json.dumps(data))
        assert {q.split for q in read(tmp_path / name).questions} == {split}


def story(facts, questions, key="10"):
    head = "Produced by hands\nTHE TITLE\nBY AN AUTHOR\n"
    filler = "The long road went on over hills and through woods while nothing at all was said by anyone there. " * 8
    return {
        "metadata": {"passage_id": key},
        "document": head + "\n \n  ".join(f"{fact} {filler}" for fact in facts),
        "questions": [
            {"question_text": q, "responses": [{"response_text": text} for text in told]} for q, told in questions
        ],
    }


FACTS = ["Captain Orlo stole the emerald engine.", "Mirna repaired the broken telescope.", "Dogs sang in the harbour."]


def test_squality(tmp_path):
    asked = [
        ("What is the plot of the story?", ["Captain Orlo stole the emerald engine."] * 4),
        # Two people tell of the engine, one of the telescope, and what the fourth says is not in the story.
        (
            "What was stolen?",
            ["Orlo took the emerald engine.", "The emerald engine of Orlo. Mirna repaired it.", "Gold!"],
        ),
        ("Who sings?", ["Dogs in the harbour.", "Kings on Mars."]),
    ]
    (tmp_path / "dev.jsonl").write_text(lines([story(FACTS, asked), story(FACTS, asked)]))
    found, warnings = read_with_warnings(tmp_path)
    holds(found)
    [document] = found.documents
    assert document.title == "THE TITLE"
    assert document.text == story(FACTS, asked)["document"], "a story stands as it was given"
    assert found.chunks[0].text.startswith("THE TITLE")
    assert all(len(c.text.split()) <= 150 for c in found.chunks)
    body = document.text[document.text.index("THE TITLE") :]
    assert "".join("".join(c.text.split()) for c in found.chunks) == "".join(body.split())
    assert list(answers(found)) == ["What was stolen?"]
    [(text, grade)] = answers(found)["What was stolen?"]
    assert "emerald engine" in text
    assert grade == 1
    assert warnings == {"questions to which the answers point to no chunk were left out": 1}


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared data")
@pytest.mark.parametrize(
    ("path", "documents", "chunks", "questions"),
    [
        ("retrieval/scifact", 5183, 5183, {"train": 809, "dev": 147}),
        ("retrieval/hotpotqa_100", 994, 994, {"dev": 100}),
        ("temporal/timeqa", 318, 9440, {"train": 553, "test": 231, "dev": 98}),
        ("stories/squality", 75, None, None),
        ("qa/xquad_en", 48, 240, {"train": 722, "test": 328, "dev": 140}),
    ],
)
def test_shared_data(path, documents, chunks, questions):
    found = holds(read(SHARED / "data" / path))
    assert len(found.documents) == documents
    assert chunks is None or len(found.chunks) == chunks
    counts = Counter(q.split for q in found.questions)
    assert questions is None or counts == questions
    if found.parts:
        parts = [found.part(split) for split in ("train", "dev", "test")]
        assert sum(len(p.documents) for p in parts) == documents
        assert sum(len(p.questions) for p in parts) == len(found.questions)
