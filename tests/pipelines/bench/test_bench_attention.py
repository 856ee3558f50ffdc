"""`fovea bench attention` on dumps of tiny random models: rows by hand, every engine and peer, and mistakes."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import numpy as np
import pytest

from fovea.attention_retrieval.capture.causal_lm import Plan as Capturing
from fovea.attention_retrieval.capture.causal_lm import capture
from fovea.attention_retrieval.capture.dump import Dump, as_float
from fovea.attention_retrieval.index.flat import FlatEngine
from fovea.attention_retrieval.partial import Partial
from fovea.pipelines.bench.attention import by_query_head, label
from fovea.pipelines.bench.attention_heads import Plan, heads
from fovea.pipelines.bench.attention_measure import Measured, distance, recall, threads
from fovea.pipelines.bench.attention_methods import chosen, variants
from fovea.pipelines.bench.attention_peers import PEERS
from fovea.pipelines.bench.attention_plot import curves, draw
from fovea.pipelines.cli.main import main
from fovea.pipelines.evaluation.measurements import Row
from fovea.rag import registry
from fovea.rag.errors import ConfigError
from tests.attention_retrieval.capture.test_capture import TEXT, tiny
from tests.pipelines.bench.test_bench_segmentation import KEYS, table

pytest.importorskip("numba")
torch = pytest.importorskip("torch")
METRICS = ("recall@16", "p5 head", "scanned %", "kB", "mass", "rel. L2", "select ms", "ms p95", "build s", "index %")
SMALL = ("-k", "16", "--sinks", "4", "--window", "20", "--steps", "9", "--repeat", "1")


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    path = tmp_path_factory.mktemp("dumps") / "tiny.safetensors"
    plan = Capturing(tokens=900, chunk=300, decode=4, share=0.1, dtype="fp32")
    capture(tiny(), TEXT, path, plan, ["why is it word3", "and 17?"])
    return path


def bench(capsys, *args, code=0):
    assert main(["bench", "attention", "--json", "--quiet", *map(str, args)]) == code
    out, err = capsys.readouterr()
    return table(json.loads(out)) if out else {}, err


def test_every_engine_and_peer_has_its_rows(dump, capsys):
    found, err = bench(capsys, "--data", dump, *SMALL, "--layers", 1, "--steps", 5)
    assert not err
    assert all(set(row) == KEYS for row in found.values())
    (data,) = {key[0] for key in found}
    assert data == "tiny: 900 tokens, 876 keys, d=16, 2 a group, bf16, 1 thread"
    names = {key[1] for key in found}
    assert {*registry.names("engine"), "dense", "sdpa", "sdpa_bf16", "faiss_flat"} <= names
    assert {"faiss_ivf nprobe=8", "faiss_hnsw ef=128"} <= names
    for name in registry.names("engine"):
        row = {metric: found[data, name, metric]["value"] for metric in METRICS}
        assert 0.3 < row["recall@16"] <= 1, name
        assert 0 < row["mass"] <= 1
        assert row["kB"] > 0
        assert found[data, name, "ms"]["settings"]["use"] == name
        assert found[data, name, "ms"]["settings"]["threads"] == 1
    flat = {metric: found[data, "flat", metric]["value"] for metric in METRICS}
    assert flat["recall@16"] > 0.97
    assert (flat["scanned %"], flat["index %"]) == (100, 0)
    assert flat["kB"] == pytest.approx(876 * 16 * 2 / 1000)
    for name in ("dense", "sdpa", "sdpa_bf16"):
        assert found[data, name, "rel. L2"]["value"] < 0.02
        assert (data, name, "recall@16") not in found
    assert found[data, "dense", "mass"]["value"] > 0.98
    assert (data, "sdpa", "mass") not in found, "torch does not tell the sum"
    assert found[data, "faiss_flat", "recall@16"]["value"] > 0.97
    kinds = [found[data, "ivf", f"of {kind}"] for kind in ("question", "decode")]
    assert sum(one["n"] for one in kinds) == 2 * 5, "two kv heads, five steps"
    share = sum(one["n"] * one["value"] for one in kinds) / 10
    assert share == pytest.approx(found[data, "ivf", "recall@16"]["value"])


def test_a_search_for_all_keys_is_exact(dump, capsys):
    found, _ = bench(capsys, "--data", dump, *SMALL, "-k", 876, "--store", "fp32", "--heads", 0, "--layers", 1)
    data = next(iter(found))[0]
    for name in (*registry.names("engine"), "dense", "sdpa"):
        assert found[data, name, "rel. L2"]["value"] < 1e-4, name
        assert name == "sdpa" or found[data, name, "mass"]["value"] > 0.9999


def test_corrections_have_rows_of_their_own(dump, capsys):
    found, _ = bench(capsys, "--data", dump, *SMALL, "--engines", "flat", "--correct", "lift, tail")
    data = next(iter(found))[0]
    assert {key[1] for key in found} == {"flat", "flat + lift", "flat + tail"}
    assert found[data, "flat + tail", "recall@16"]["value"] == found[data, "flat", "recall@16"]["value"]
    assert (data, "flat + lift", "recall@16") not in found, "it searches for other keys on purpose"
    for name in ("flat + lift", "flat + tail"):
        assert (data, name, "mass") not in found, "no mass of rows alone"
        assert 0 < found[data, name, "rel. L2"]["value"] < 2
        assert found[data, name, "ms"]["settings"]["correct"]["use"] == name[7:]
    assert found[data, "flat + tail", "kB"]["value"] > found[data, "flat", "kB"]["value"]
    found, _ = bench(capsys, "--data", dump, *SMALL, "--engines", "flat", "--correct", "lift,tail", "-k", 876)
    for name in ("flat + lift", "flat + tail"):
        assert found[data, name, "rel. L2"]["value"] < 0.02, "all that there is was found: exact, but for bf16"


def test_what_is_exact_is_exact(dump):
    plan = Plan(k=16, sinks=4, window=20, steps=9, dtype="fp32")
    opened = Dump.open(dump)
    facts = opened.facts
    one = list(heads(opened, plan))[-1]
    assert one.label == "l1 h1"
    assert (one.start, one.stop, len(one.steps)) == (4, 880, 9)
    layer = opened.layer(1)
    picked = opened.held_out[np.linspace(0, len(opened.held_out) - 1, 9).astype(int)]
    for step, at in zip(one.steps, picked):
        row = int(opened.query_rows[at])
        low, high = facts.behind(row)
        rows = np.r_[0:900, low:high]
        for n in range(2):
            logits = as_float(layer.keys[1][rows]) @ layer.query(slice(2 + n, 3 + n), np.array([at]))[0, 0]
            assert set(step.ids[n]) == set(np.argsort(-logits[4:880])[:16] + 4)
            weights = np.exp(logits - logits.max())
            out = weights / weights.sum() @ as_float(layer.values[1][rows])
            np.testing.assert_allclose(step.exact.out[n], out, atol=1e-4)
        static = one.static(step)
        rows = np.r_[0:4, 880:900, low:high]
        logits = as_float(layer.keys[1][rows]) @ step.q.T
        np.testing.assert_allclose(static.lse, np.log(np.exp(logits).sum(axis=0)), atol=1e-4)


def test_what_engines_learn_from_came_before(dump):
    opened = Dump.open(dump)
    one = next(heads(opened, Plan(k=16, sinks=4, window=20, dtype="fp32")))
    assert len(one.train) == 2 * len(opened.train)
    assert len(one.queries(700)) == 2 * int((opened.query_rows[opened.train] < 700).sum()) < len(one.train)
    at = opened.train[3]
    np.testing.assert_allclose(one.train[6:8], opened.layer(0).query(slice(0, 2), np.array([at]))[:, 0], rtol=1e-6)
    short = next(heads(opened, Plan(k=16, sinks=4, window=20, dtype="fp32", tokens=500)))
    assert (short.stop, short.train_rows.max() < 500, short.steps[0].behind[0]) == (480, True, 500)
    np.testing.assert_allclose(
        short.keys.block(500, 501), as_float(opened.layer(0).keys[0][900:901]), rtol=1e-6
    )  # the run's rows lie behind the shortened text


def test_scores_by_hand():
    found, best = np.array([[1, 2, 3], [-1, 5, 9]], np.int32), np.array([[3, 2, 8], [5, 6, 7]])
    assert list(recall(found, best)) == pytest.approx([2 / 3, 1 / 3])
    exact = Partial(np.array([[3.0, 4], [0, 0]], np.float32), np.zeros(2, np.float32))
    near = Partial(np.array([[3.0, 4.5], [0, 0.5]], np.float32), np.zeros(2, np.float32))
    assert list(distance(near, exact)) == [pytest.approx(0.1), 0.5]
    each = by_query_head([Measured(recall=[np.array([1, 0.5]), np.array([0.5, 0.5])]), Measured(recall=[np.zeros(2)])])
    assert list(each) == [0.75, 0.5, 0, 0]


def test_growth_and_drift(dump, capsys):
    found, _ = bench(capsys, "--data", dump, *SMALL, "--engines", "flat,dense", "--growth", "400,900", "--drift", 300)
    data = "growth: tiny: 400 tokens, 376 keys, d=16, 2 a group, bf16, 1 thread"
    assert found[data, "flat", "kB"]["value"] == pytest.approx(376 * 32 / 1000)
    assert found[data, "flat", "times"]["value"] == 1
    assert found[data.replace("400", "900").replace("376", "876"), "dense", "times"]["value"] > 0
    data = "300 keys inserted: tiny: 900 tokens, 876 keys, d=16, 2 a group, bf16, 1 thread"
    assert found[data, "flat", "inserted - built"]["value"] == 0
    assert found[data, "flat", "inserted"]["value"] > 0.97
    assert (data, "dense", "inserted") not in found


def test_a_head_by_itself_and_the_picture(dump, capsys, tmp_path):
    picture = tmp_path / "a.svg"
    found, _ = bench(
        capsys, "--data", dump, *SMALL, "--engines", "flat,faiss_hnsw", "--each", "--heads", 1, "--plot", picture
    )
    assert {key[0].rpartition(", ")[2] for key in found} == {"l0 h1", "l1 h1", "1 thread"}
    text = picture.read_text()
    assert text.startswith("<svg")
    assert text.count("<polyline") == 2
    assert re.search("<title>faiss_hnsw ef=256: recall 0?1?[.][0-9]{3}, ", text)


def test_a_picture_has_a_curve_a_method():
    rows = [
        Row("attention", "d", name, metric, value)
        for name, size, hit in (("ivf", 10, 0.8), ("ivf nprobe=96", 20, 0.9), ("roar", 5, 0.95))
        for metric, value in (("recall@100", hit), ("kB", size))
    ]
    found = curves([*rows, Row("attention", "d", "dense", "kB", 9)], 100)
    assert found == {"ivf": [(10, 0.8, "ivf"), (20, 0.9, "ivf nprobe=96")], "roar": [(5, 0.95, "roar")]}
    text = draw(rows, 100, "keys & more")
    assert "keys &amp; more" in text
    spots = [(float(x), float(y)) for x, y in re.findall('cx="([0-9.]+)" cy="([0-9.]+)" r="3.5"', text)]
    (a, b), roar = sorted(spots)[1:], sorted(spots)[0]
    assert roar[1] < b[1] < a[1], "more recall is higher up"
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw([], 100, "")


class Probing(FlatEngine):
    """An engine with a number and a share to sweep."""

    name: ClassVar[str] = "probing"
    share: float = 0.4
    ef: int = 10


def test_one_setting_is_swept():
    assert list(variants(Probing(), "p")) == ["p share=0.1", "p share=0.2", "p share=0.8", "p share=1"]
    assert [one.share for one in variants(Probing(), "p").values()] == [0.1, 0.2, 0.8, 1]
    assert [m.name for m in chosen("flat, sdpa, faiss_ivf", sweep=True)] == ["flat", "sdpa", "faiss_ivf"]
    assert {m.name for m in chosen(None, sweep=False)} == {*registry.names("engine"), *PEERS}


def test_labels_say_what_was_measured(dump):
    opened = Dump.open(dump)
    assert label(opened, Plan()) == "tiny: 900 tokens, 260 keys, d=16, 2 a group, bf16, 1 thread"
    assert "fp32, 2 threads" in label(opened, Plan(threads=2, dtype="fp32"))


def test_threads_are_set_and_put_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--engines", "flt"], "did you mean 'flat'"),
        (["--engines", "flat, flat"], "the same engine twice: flat"),
        (["--engines", ""], "no engine is named"),
        (["--engines", "{use: flat, m: 3}"], "--engines flat: no setting 'm'"),
        (["--correct", "lft"], "did you mean 'lift'"),
        (["--layers", "7"], "layer 7 is not in the dump"),
        (["--heads", "7"], "kv head 7 is not in the dump"),
        (["--window", "890"], "leave 0 keys to search in, and 100 are wanted"),
        (["--plot", "a.png"], "fix: --plot a.svg"),
        (["--engines", "flat", "--growth", "999", "--window", "8"], "the dump has 900 tokens, not 999"),
        (["--engines", "flat", "--drift", "800", "--window", "8"], "too few to insert 800"),
    ],
)
def test_mistakes_are_messages(dump, capsys, args, said):
    assert main(["bench", "attention", "--quiet", "--data", str(dump), "--steps", "2", *args]) in (1, 2)
    out, err = capsys.readouterr()
    assert not out
    assert said in err
