"""`fovea bench retrieval` on tiny made-up data: rows by hand, methods as YAML, one encoding, and what cannot run."""

import json

import numpy as np
import pytest

from fovea.pipelines.bench.retrieval import differences, rows
from fovea.pipelines.bench.retrieval_methods import chosen
from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.pipelines.bench.situated import Corpora
from fovea.pipelines.cli.main import main
from fovea.pipelines.evaluation.ranking_metrics import NAMES
from fovea.rag import errors
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, MissingExtra
from fovea.rag.testing.corpus import cut
from fovea.rag.types import Document, Query
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.collections.read import read
from fovea.retrievers.situators.headings import HeadingSituator
from tests.pipelines.bench.test_bench_segmentation import KEYS, Counting, table
from tests.retrievers.test_collections import beir, lines
from tests.retrievers.test_fine_grained import passages

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")

CORPUS = [
    {"_id": "moon", "text": "the moon orbits the earth in many days"},
    {"_id": "tea", "text": "green tea is brewed at eighty degrees"},
    {"_id": "tide", "text": "tides rise when the moon pulls at the sea"},
]
QUERIES = [{"_id": "1", "text": "what is brewed"}, {"_id": "2", "text": "moon pulls sea"}]
QRELS = {"test": [("1", "tea", 1), ("2", "moon", 1), ("2", "tide", 2)]}


@pytest.fixture
def data(tmp_path):
    return beir(tmp_path / "toy", corpus=CORPUS, queries=QUERIES, qrels=QRELS)


@pytest.fixture
def large(tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large/corpus.jsonl").write_text(lines([{"_id": i, "text": t} for i, t in enumerate(passages(20))]))
    return tmp_path / "large"


def bench(capsys, *args, code=0):
    assert main(["bench", "retrieval", "--encoder", "hash", "--json", "--quiet", *map(str, args)]) == code
    out, err = capsys.readouterr()
    found = json.loads(out) if out else []
    return table(found) if isinstance(found, list) else {}, err


def test_rows_by_hand(data, capsys):
    found, err = bench(
        capsys, "--data", data, "--methods", "bm25, {name: cut, retrieve: bm25, refine: [{use: top_k, keep: 1}]}"
    )
    assert not err
    assert all(set(row) == KEYS for row in found.values())
    # Question 1 shares "is" and "brewed" with tea alone; 2 is best matched by tide, then by moon.
    assert [found["toy", "bm25", m]["value"] for m in NAMES] == [(1 + 1 / 2) / 2, 1, 1, 1, 1]
    third = 2 / (2 + 1 / np.log2(3))
    assert [found["toy", "cut", m]["value"] for m in NAMES] == pytest.approx([0.75, 0.75, 0.75, 1, (1 + third) / 2])
    assert found["toy", "bm25", "R@1"]["n"] == 2
    assert found["toy", "bm25", "R@1"]["settings"]["retrieve"][0]["use"] == "bm25"
    against = [found["toy", "cut - bm25", m]["value"] for m in NAMES]
    assert against == pytest.approx([0, -0.25, -0.25, 0, (third - 1) / 2])
    assert found["toy", "cut - bm25", "p R@1"]["value"] == 1
    assert 0.9 < found["toy", "cut - bm25", "p R@5"]["value"] <= 1, "one difference in two says nothing"


def test_the_default_methods_run_and_are_measured_against_dense(data, capsys):
    found, err = bench(capsys, "--data", data, "--limit", 1)
    methods = list(dict.fromkeys(method for _, method, _ in found))
    assert methods[:3] == ["dense", "bm25", "dense + bm25"]
    assert "dense + bm25, rrf - dense" in methods
    assert found["toy", "dense", "R@1"]["n"] == 1
    assert found["toy", "lexical_feedback", "R@1"]["value"] is not None
    assert found["toy", "query_map", "R@1"]["value"] is None, "its weights are for another encoder"
    assert "the weights 'query_map' of query_map read vectors of" in err


def test_tasks_share_one_encoding_of_the_chunks(large, capsys, monkeypatch):
    monkeypatch.setattr(Counting, "asked", [])
    monkeypatch.setattr("fovea.pipelines.bench.segmentation_methods.chosen_encoder", lambda text: Counting())
    found, _ = bench(
        capsys, "--data", large, "--split", "all", "--tasks", "keyword3, pop16", "--methods", "bm25, dense"
    )
    assert {name for name, _, _ in found} == {"large keyword3", "large pop16"}
    assert found["large pop16", "bm25", "R@1"]["value"] == 1
    texts = [json.loads(line)["text"] for line in (large / "corpus.jsonl").read_text().splitlines()]
    assert sorted(t for t in Counting.asked if t in set(texts)) == sorted(texts)
    assert len(Counting.asked) == 3 * len(texts), "chunks once, and one question a chunk and task"


@pytest.mark.parametrize("retriever", ["bm25", "dense"])
def test_a_method_may_situate_its_chunks(retriever):
    texts = {"Mercury": "it orbits the sun in many days", "Phobos": "it orbits the sun in many days"}
    documents = [Document(name, text, source=name, title=name) for name, text in texts.items()]
    chunks = [c for d in documents for c in cut(d, 100)]
    asked = [Judged(c.id, Query(c.document_id), {c.id: 1}) for c in chunks]
    methods = chosen(
        f"{{name: alone, retrieve: {retriever}}}, {{name: told, situate: headings, retrieve: {retriever}}}"
    )
    encoder = SharedEncoder.over(HashEncoder(), [], label="places")
    found = list(rows(Collection("places", documents, chunks, asked), methods, encoder, missing=pytest.fail))
    first = {row.method: row for row in found if row.metric == "R@1"}
    assert first["told"].value == 1, "titles alone tell the two apart"
    assert first["alone"].value <= 0.5
    assert first["told"].settings["situate"]["use"] == "headings"


def test_situated_as_in_a_library(large):
    """Vectors and words are those that ingestion gives the same documents."""
    encoder, found = HashEncoder(), read(large)
    situator = HeadingSituator(weight=2.0)
    corpora = Corpora(found, encoder)
    made = corpora.of(situator)
    assert corpora.of(HeadingSituator(weight=2.0)) is made
    assert corpora.of(None) is not made
    for document in found.documents:
        chunks = [c for c in found.chunks if c.document_id == document.id]
        own = encoder.encode([c.text for c in chunks])
        assert np.array_equal(made.vectors(chunks), situator.vectors(document, chunks, own, encoder))
        assert made.situations(chunks) == situator.texts(document, chunks)
    words_only = corpora.of(HeadingSituator(form="none"))
    assert np.array_equal(words_only.vectors(found.chunks), corpora.of(None).vectors(found.chunks))
    assert not any(corpora.of(HeadingSituator(lexical=False)).situations(found.chunks))


def test_a_situator_that_cannot_run_is_a_row_without_a_value(data, capsys):
    methods = "dense, {name: late, situate: late, retrieve: dense}, sitemb"
    _, err = bench(capsys, "--data", data, "--methods", methods, code=2)
    assert "situate: {'use': 'sitemb', 'weights': 'sitemb'}" in err
    methods = "dense, {name: late, situate: late, retrieve: dense}, {situate: sitemb, retrieve: sitemb}"
    found, err = bench(capsys, "--data", data, "--methods", methods)
    assert found["toy", "late", "R@1"]["value"] is None
    assert "late is missing" in err
    assert "sitemb, sitemb is missing: situate: the weights 'sitemb' of sitemb read vectors of" in err


def test_what_cannot_run_is_a_row_without_a_value(data, capsys):
    methods = "bm25, {use: dense}, [dense, {use: langchain, weights: x}]"
    _, err = bench(capsys, "--data", data, "--methods", methods, code=2)
    assert "--methods" in err
    broken = "{name: odd, retrieve: [dense, bm25], fuse: {use: convex, weights: {dense: 1}}}"
    found, err = bench(capsys, "--data", data, "--methods", f"bm25, {broken}")
    assert found["toy", "odd", "R@1"]["value"] is None
    assert "odd is missing: convex: 'weights' says nothing of the retriever 'bm25'" in err
    assert ("toy", "odd - bm25", "R@1") not in found


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--split", "dev"], "nothing of toy is for 'dev'"),
        (["--tasks", "keywrd3"], "no task 'keywrd3'"),
        (["--tasks", "pop16"], "no passage of toy can be asked for by pop16"),
        (["--methods", "dens"], "did you mean 'dense'"),
        (["--methods", "dense, dense"], "the same method twice: dense"),
        (["--methods", "{retrieve: dense, segment: fixed}"], "a method has no 'segment'"),
        (["--methods", "{fuse: rrf}"], "a method needs 'retrieve'"),
        (["--methods", "{retrieve: dense, refine: [{use: top_k, m: 1}]}"], "unknown setting 'm'"),
        (["--methods", ""], "no method is named"),
        (["--methods", "[dense"], "--methods"),
    ],
)
def test_mistakes_are_messages(data, capsys, args, said):
    found, err = bench(capsys, "--data", data, *args, code=1 if said.startswith("no passage") else 2)
    assert not found
    assert said in err


def test_a_corpus_without_questions_has_tasks_only(large, capsys, caplog):
    _, err = bench(capsys, "--data", large, code=2)
    assert "large has no questions" in err
    found, err = bench(capsys, "--data", large, "--tasks", "pop5", "--limit", 3, "--methods", "bm25")
    assert found["large pop5", "bm25", "R@1"]["n"] == 3
    assert "a corpus has no questions" in caplog.messages
    assert err == "", "it was to be quiet"


def test_without_ir_measures_the_extra_is_named(data, capsys, monkeypatch):
    real = errors.import_module

    def without(name):
        if name == "ir_measures":
            raise ModuleNotFoundError(name=name)
        return real(name)

    monkeypatch.setattr(errors, "import_module", without)
    _, err = bench(capsys, "--data", data, code=MissingExtra.exit_code)
    assert 'pip install "fovea-rag[bench]"' in err


def test_names_of_methods():
    text = (
        "dense, [dense, bm25], {use: bm25}, {retrieve: [dense, bm25], fuse: rrf, refine: [{use: top_k, keep: 3}, mmr]}"
    )
    assert [m.name for m in chosen(text)] == ["dense", "dense + bm25", "bm25", "dense + bm25, rrf, top_k keep=3 mmr"]
    assert chosen("{retrieve: [dense], candidates: 20}")[0].spec.candidates == 20
    with pytest.raises(ConfigError, match="k: 5 chunks cannot be kept"):
        chosen("{retrieve: [dense], candidates: 2}")


def test_p_is_corrected_for_the_number_of_methods():
    rng = np.random.default_rng(0)
    base = rng.random(60)
    found = {"base": base, "better": base + 0.1, "noise": base + rng.normal(0, 0.05, 60)}
    rows = {
        (r.method, r.metric): r.value for r in differences("x", {n: dict.fromkeys(NAMES, v) for n, v in found.items()})
    }
    assert rows["better - base", "R@1"] == pytest.approx(0.1)
    assert rows["better - base", "p R@1"] == pytest.approx(2 / 10_001)
    assert rows["noise - base", "p R@1"] > 0.05
    assert list(differences("x", {"base": dict.fromkeys(NAMES, base)})) == []
    assert list(differences("x", {})) == []
