"""`fovea bench segmentation` on tiny made-up data: rows by hand, one encoding for all, and what is missing."""

import json
import re
import sqlite3
from contextlib import closing
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.bench.segmentation import METRICS, corpora, rows
from fovea.pipelines.bench.segmentation_methods import Method, chosen, chosen_encoder, references
from fovea.pipelines.bench.segmentation_peers import ends
from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.pipelines.cli.main import main
from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError, StoreError
from fovea.segmenters.decode import best
from fovea.segmenters.gaps import GapSegmenter
from fovea.segmenters.sectioned import Sectioned
from fovea.segmenters.units import Units
from tests.command import fovea
from tests.segmenters.test_corpora import article, put

KEYS = {"bench", "data", "method", "settings", "metric", "value", "low", "high", "n", "seconds"}
RIVER = ["The river rose over the bridge .", "The river took the mill .", "The river fell again ."]
TEA = ["Green tea is made of leaves .", "Black tea is made of leaves too .", "White tea is made of buds ."]
RULE = "==========\n"


class Neighbours(GapSegmenter):
    """Distance of neighbours: a boundary where no word is shared."""

    name: ClassVar[str] = "neighbours"
    threshold: float = 0.25

    def scores(self, units, encoder):
        vectors = units.vectors(encoder)
        return np.clip((1 - (vectors[1:] * vectors[:-1]).sum(axis=1)) / 2, 0, 1)

    def choose(self, scores, count):
        return scores > self.threshold if count is None else best(scores, count)


class Counting(HashEncoder):
    """Remembers what it was asked to encode."""

    name: ClassVar[str] = "counting"
    asked: ClassVar[list[str]] = []

    def encode(self, texts, role="document"):
        self.asked.extend(texts)
        return super().encode(texts, role)


@pytest.fixture
def neighbours(monkeypatch):
    registry.components("segmenter")
    monkeypatch.setitem(registry._components, ("segmenter", "neighbours"), Neighbours)


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setattr(Counting, "asked", [])
    return Counting()


@pytest.fixture
def data(tmp_path):
    for name in ("0", "1"):
        put(tmp_path, f"choi/3-3/{name}.ref", "\n".join([*RIVER, RULE, *TEA]))
    paras = [" ".join(RIVER), RIVER[0] + " " + RIVER[1], "Tea .", " ".join(TEA)]
    links = [f"/wiki/{i}" for i in range(3)]
    put(tmp_path, "wiki/human_annotated_dev.json", [article(link, *paras) for link in links])
    return tmp_path


def table(found):
    """(data, method, metric) to row."""
    return {(r["data"], r["method"], r["metric"]): r for r in found}


def bench(capsys, *args):
    assert main(["bench", "segmentation", "--encoder", "hash", "--json", "--quiet", *map(str, args)]) == 0
    out, err = capsys.readouterr()
    return table(json.loads(out)), err


def test_the_verb_gives_rows_whose_references_are_right_by_hand(data):
    done = fovea(data, "bench", "segmentation", "--data", "choi", "--data", "wiki", "--encoder", "hash", "--json")
    found = json.loads(done.stdout)
    assert all(set(row) == KEYS for row in found)
    assert {row["bench"] for row in found} == {"segmentation"}
    rows = table(found)
    assert {data for data, _, _ in rows} == {"choi 3-3", "timeqa"}

    # 6 units in halves: k is 2 (1.5 rounds to even), 4 windows, of which 2 hold the boundary.
    none = [rows["choi 3-3", "no boundary", metric] for metric in METRICS]
    assert [r["value"] for r in none] == [50, 50, 0, 0, 0]
    assert [r["n"] for r in none] == [2] * len(METRICS)
    for r in none:  # two texts that are alike say nothing of the spread; of a share at its end Wilson's interval does
        assert (r["low"], r["high"]) in ((None, None), (0, pytest.approx(0.658, abs=0.001)))
    assert rows["choi 3-3", "no boundary", "CPU s"]["value"] == none[0]["seconds"] >= 0
    assert ("choi 3-3", "every paragraph", "Pk %") not in rows, "Choi's texts have no paragraphs"

    # Paragraphs of 3, 2 and 3 sentences, the last a section: k is 2, 6 windows; gaps 2 and 4 are found, 4 is true.
    # Windows at gaps (1, 2), (2, 3), (3, 4), (4, 5) hold a found one, the last two a true one.
    every = [rows["timeqa", "every paragraph", metric]["value"] for metric in METRICS]
    assert every == pytest.approx([100 * 2 / 6, 100 * 2 / 6, 1 / 2, 2 / 3, 2 / 3])
    none = [rows["timeqa", "no boundary", metric]["value"] for metric in METRICS]
    assert none == pytest.approx([100 * 2 / 6, 100 * 2 / 6, 0, 0, 0])
    assert rows["timeqa", "random, n given", "Pk %"]["settings"] == {"seed": 0}


def test_every_segmenter_that_scores_gaps_has_both_rows_and_what_cannot_run_is_missing(data):
    done = fovea(data, "bench", "segmentation", "--data", "choi", "--encoder", "hash", "--json", "--quiet")
    rows = table(json.loads(done.stdout))
    names = [n for n, cls in registry.components("segmenter").items() if issubclass(cls, GapSegmenter)]
    for name in names:
        for label in (name, f"{name}, n given"):
            row = rows["choi 3-3", label, "Pk %"]
            if row["value"] is None:
                assert f"{name} is missing: " in done.stderr
                assert row["low"] is row["high"] is row["n"] is None
            else:
                assert 0 <= row["value"] <= 100
                assert row["settings"]["use"] == name


@pytest.mark.usefixtures("neighbours")
def test_ours_with_the_number_unknown_and_given(data, capsys):
    methods = "neighbours, {use: neighbours, candidates: all, threshold: 1.0}"
    rows, err = bench(capsys, "--data", data, "--methods", methods)
    assert not err
    assert {m for _, m, _ in rows} == {
        "no boundary", "every paragraph", "random, n given", "neighbours", "neighbours, n given",
        "neighbours candidates=all threshold=1.0", "neighbours candidates=all threshold=1.0, n given",
    }  # fmt: skip
    for corpus in ("choi 3-3", "timeqa"):
        for label in ("neighbours, n given", "neighbours candidates=all threshold=1.0, n given"):
            assert [rows[corpus, label, m]["value"] for m in METRICS] == [0, 0, 1, 1, 1]
        strict = rows[corpus, "neighbours candidates=all threshold=1.0", "boundary F1"]
        assert strict["value"] == 0
        assert strict["settings"]["candidates"] == "all"
        assert strict["settings"]["threshold"] == 1


@pytest.mark.usefixtures("neighbours")
def test_units_are_encoded_once_for_all_methods(data, counting, monkeypatch):
    from fovea.segmenters.corpora.read import read

    found = corpora(read(data), "test")
    methods = [*references(0), *chosen("neighbours, {use: neighbours, threshold: 0.4}")]
    assert len(list(rows(found, methods[:3], counting, missing=pytest.fail))) == (2 + 3) * (len(METRICS) + 1)
    assert not counting.asked, "what no method asks for is not encoded"
    list(rows(found, methods, counting, missing=pytest.fail))
    for corpus, texts in found.items():
        distinct = {t for one in texts for t in one.units.texts}
        assert distinct <= set(counting.asked), corpus
    assert sorted(counting.asked) == sorted(t for texts in found.values() for t in
                                            {t for one in texts for t in one.units.texts})  # fmt: skip


@pytest.mark.usefixtures("neighbours")
def test_vectors_are_kept_for_the_next_run(data, counting, tmp_path, capsys):
    from fovea.segmenters.corpora.read import read

    found, methods = corpora(read(data), "test"), chosen("neighbours")
    first = list(rows(found, methods, counting, cache=tmp_path / "kept", missing=pytest.fail))
    counting.asked.clear()
    again = list(rows(found, methods, counting, cache=tmp_path / "kept", missing=pytest.fail))
    assert not counting.asked
    assert [(r.method, r.metric, r.value) for r in first if r.metric != "CPU s"] == [
        (r.method, r.metric, r.value) for r in again if r.metric != "CPU s"
    ]
    list(rows(found, methods, Counting(size=64), cache=tmp_path / "kept", missing=pytest.fail))
    assert counting.asked, "another encoder's vectors are not taken"
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot keep vectors"):
        SharedEncoder.over(counting, [], label="", cache=tmp_path / "file")
    (tmp_path / "theirs").mkdir()
    with closing(sqlite3.connect(tmp_path / "theirs" / "vectors.db")) as other:
        other.execute("CREATE TABLE vectors (model, key, vector)")
    with pytest.raises(StoreError, match="another program's"):
        SharedEncoder.over(counting, [], label="", cache=tmp_path / "theirs")


def one(texts=("a b", "c d", "e f"), boundaries=(False, True), **more):
    return Sectioned("one", Units.given(texts), np.array(boundaries), "mine", **more)


def test_the_shared_encoder_gives_the_vectors_of_the_one_behind(counting):
    shared = SharedEncoder.over(counting, ["a", "bb", "a"], label="x")
    assert (shared.space, shared.settings()) == (counting.space, counting.settings())
    expected = HashEncoder().encode(["bb", "zzz", "a"])
    assert np.array_equal(shared.encode(["bb", "zzz", "a"]), expected)
    assert np.array_equal(shared.encode(["bb", "zzz", "a"]), expected)
    assert sorted(counting.asked) == ["a", "bb", "zzz"]
    assert shared.encode([]).shape == (0, counting.dim)
    assert shared.awaited.seconds > 0


def test_encoding_is_no_method_s_time(counting):
    from time import process_time

    class Slow(Counting):
        def encode(self, texts, role="document"):
            until = process_time() + 0.5
            while process_time() < until:
                pass
            return super().encode(texts, role)

    method = Method("asks", lambda u, e, count: u.vectors(e)[1:, 0] > 2, given=False)
    found = list(rows({"mine": [one()]}, [method], Slow(), missing=pytest.fail))
    assert found[-1].metric == "CPU s"
    assert found[-1].value < 0.4


def test_the_true_number_is_given_and_the_random_one_is_seeded():
    told = []

    def rule(units, encoder, count):
        told.append(count)
        return np.array([True, False])

    texts = [one(), one(boundaries=(True, True))]
    list(rows({"mine": texts}, [Method("m", rule)], HashEncoder(), missing=pytest.fail))
    assert told == [None, None, 1, 2]
    units = Units.given([str(i) for i in range(40)])
    (draw,) = (m.rule for m in references(3) if m.name == "random")
    (other,) = (m.rule for m in references(4) if m.name == "random")
    assert draw(units, None, 7).sum() == 7
    assert np.array_equal(draw(units, None, 7), draw(units, None, 7))
    assert not np.array_equal(draw(units, None, 7), other(units, None, 7))


def test_a_user_s_trouble_is_a_missing_row_and_a_fault_is_not_hidden():
    def trouble(units, encoder, count):
        raise ModelError("no weights")

    def fault(units, encoder, count):
        raise RuntimeError("a bug")

    said = []
    methods = [Method("m", trouble, {"a": 1}), *references(0)[:1]]
    found = list(rows({"mine": [one()]}, methods, HashEncoder(), missing=said.append))
    assert said == ["m is missing: no weights"], "said once"
    missing = [r for r in found if r.value is None]
    assert [(r.method, r.metric, r.settings) for r in missing] == [
        ("m", "Pk %", {"a": 1}),
        ("m, n given", "Pk %", {"a": 1}),
    ]
    assert len(found) == 2 + len(METRICS) + 1
    with pytest.raises(RuntimeError, match="a bug"):
        list(rows({"mine": [one()]}, [Method("m", fault)], HashEncoder(), missing=said.append))


def test_boundaries_of_the_wrong_length_are_no_number():
    said = []
    (row, _) = rows({"m": [one()]}, [Method("m", lambda u, e, c: np.ones(5, bool))], HashEncoder(), missing=said.append)
    assert row.value is None
    assert "one length" in said[0]


def test_parts_and_limits():
    texts = [one(split=s) for s in ("train", "test", "test", "dev")]
    assert {k: len(v) for k, v in corpora(texts, "test").items()} == {"mine": 2}
    assert {k: len(v) for k, v in corpora(texts, "all", 3).items()} == {"mine (all)": 3}
    with pytest.raises(ConfigError, match=r"no text of mine is for 'dev'") as caught:
        corpora(texts[:3], "dev")
    assert caught.value.allowed == ("test", "train", "all")


@pytest.mark.usefixtures("neighbours")
@pytest.mark.parametrize(
    ("methods", "what"),
    [
        ("neighbour", "did you mean 'neighbours'?"),
        ("fixed", "no method 'fixed'"),
        ("{use: neighbours, treshold: 1}", "did you mean 'threshold'?"),
        ("{use: neighbours, threshold: high}", "threshold: "),
        ("{use: neighbours, max_tokens: 3, overlap: 3}", "overlap (3) must be less"),
        ("neighbours, neighbours", "twice: neighbours"),
        ("neighbours, {use", "not YAML"),
        ("[1, 2]", "no method [1, 2]"),
    ],
)
def test_what_cannot_be_chosen(methods, what):
    with pytest.raises(ConfigError) as caught:
        chosen(methods)
    assert what in str(caught.value)
    assert "--methods" in str(caught.value)


def test_encoders_are_chosen_with_their_settings():
    assert chosen_encoder("{use: hash, size: 64}") == HashEncoder(size=64)
    with pytest.raises(ConfigError, match="unknown encoder") as caught:
        chosen_encoder("hsah")
    assert "did you mean 'hash'" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--data", "nowhere"], "there is no nowhere"),
        (["--data", "choi", "--split", "train"], "no text of choi 3-3 is for 'train'"),
        (["--data", "choi", "--limit", "0"], "expected a number from 1"),
        (["--data", "choi", "--encoder", "hsah"], "did you mean 'hash'"),
        ([], "--data"),
    ],
)
def test_mistakes_of_the_command_line_are_messages(data, args, what):
    assert what in fovea(data, "bench", "segmentation", "--encoder", "hash", *args, code=2).stderr


def test_the_table_for_people(data):
    done = fovea(
        data, "bench", "segmentation", "--data", "choi", "--encoder", "hash", "--methods", "langchain_semantic"
    )
    assert re.search(r"no boundary +50 ", done.stdout), "without an interval: both texts have 50"
    assert "choi 3-3" in done.stdout


@given(st.lists(st.tuples(st.text("ab .", min_size=1).filter(str.strip), st.booleans()), min_size=2, max_size=12))
def test_ends_finds_the_runs_a_peer_joined(pairs):
    texts = [text for text, _ in pairs]
    cuts = np.array([cut for _, cut in pairs[:-1]])
    edges = [0, *(np.flatnonzero(cuts) + 1).tolist(), len(texts)]
    for between in (" ", "\n\n", ""):
        pieces = [between.join(texts[a:b]) for a, b in zip(edges, edges[1:])]  # noqa: RUF007
        assert np.array_equal(ends(pieces, texts), cuts)


def test_a_piece_that_ends_inside_a_unit_is_an_error():
    with pytest.raises(ModelError, match="inside a unit"):
        ends(["a", "b c"], ["a b", "c"])
