"""`fovea bench mixers`: its texts, its rows by hand, its picture, and the command at tiny sizes."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.pipelines.cli.bench_mixers import chosen
from fovea.pipelines.cli.main import main
from fovea.pipelines.evaluation.measurements import Row
from fovea.rag import registry
from fovea.rag.errors import ConfigError
from fovea.rag.mixer import Mixer
from tests.pipelines.bench.test_bench_segmentation import KEYS

torch = pytest.importorskip("torch")

from fovea.pipelines.bench.mixers import language, plot, recall, speed  # noqa: E402
from fovea.pipelines.bench.mixers.network import Method, Network, Plan, fitted  # noqa: E402

TINY = ("--width", "16", "--steps", "2", "--batch", "2", "--tokens", "16", "--pairs", "2", "--window", "16")


def method(name, **settings):
    return Method(name, Mixer.model_validate({"use": name, **settings}))


@given(seed=st.integers(0, 999), pairs=st.integers(1, 20), spare=st.integers(0, 30))
@settings(max_examples=20)
def test_each_key_comes_twice_and_asks_for_its_value(seed, pairs, spare):
    tokens = 4 * pairs + 2 * spare
    found, wanted = recall.texts(np.random.default_rng(seed), 3, tokens, pairs)
    for row, want in zip(found.tolist(), wanted.tolist()):
        pair_of = dict(zip(row[: 2 * pairs : 2], row[1 : 2 * pairs : 2]))
        assert len(pair_of) == len(set(pair_of.values())) == pairs
        asked = [n for n, value in enumerate(want) if value]
        assert min(asked) >= 2 * pairs
        assert {row[n]: want[n] for n in asked} == pair_of
        assert all(row[n + 1] == want[n] for n in asked), "the value follows its key"
        assert sum(map(bool, row)) == 4 * pairs
    again, _ = recall.texts(np.random.default_rng(seed), 3, tokens, pairs)
    assert torch.equal(found, again)


def test_short_waits_are_more_frequent():
    _, wanted = recall.texts(np.random.default_rng(0), 400, 64, 2)
    places = wanted.nonzero()[:, 1].numpy()
    assert (places < 20).sum() > 2 * (places >= 48).sum()


@pytest.mark.parametrize(("tokens", "pairs"), [(15, 2), (14, 4), (400, 40)])
def test_texts_that_cannot_be_are_refused(tokens, pairs):
    with pytest.raises(ConfigError, match="pairs are asked in an even number of tokens from"):
        recall.texts(np.random.default_rng(0), 1, tokens, pairs)


def test_a_network_learns_to_recall_what_a_short_window_cannot_reach(monkeypatch):
    monkeypatch.setattr(recall, "SYMBOLS", 16)
    plan = Plan(width=32, steps=60, batch=16, learning_rate=2e-2)
    near, far = (
        {row.metric: row for row in recall.rows([each], plan, 24, 2)}
        for each in (method("window", window=1, kv_heads=4), method("softmax", kv_heads=4))
    )
    assert far["recall"].value > near["recall"].value + 0.2
    assert far["state kB"].value == 4 * 2 * 32 * 24 / 1000
    assert near["state kB"].value == 0
    assert far["recall"].n == recall.ASKED
    assert abs(far["weights"].value - near["weights"].value) < 200


def test_seconds_end_a_training_as_steps_do():
    seen = []

    def loss(network, step):
        seen.append(step)
        return network(torch.zeros(1, 4, dtype=torch.long)).square().mean()

    fitted(method("softmax"), 8, Plan(width=16, steps=5), 0, loss)
    assert seen == [0, 1, 2, 3, 4]
    seen.clear()
    fitted(method("softmax"), 8, Plan(width=16, steps=10**9, seconds=0.05), 0, loss)
    assert len(seen) >= 1
    assert seen == list(range(len(seen)))


def test_layers_differ_by_their_place():
    network = Network(Mixer.model_validate("lightning"), 8, 16, 3)
    assert [layer.mixing.depth for layer in network.layers] == [0.0, 0.5, 1.0]


def test_bytes_are_those_of_the_text_and_its_end_is_held_out():
    train, held = language.parts("ab" * 500, 20)
    assert bytes(train) + bytes(held) == b"ab" * 500
    assert len(held) == 100
    assert len(language.parts(None, 128)[0]) > 9 * language.MADE // 10 - 1
    with pytest.raises(ConfigError, match=r"a tenth of the text has 10 bytes, a window needs 21\n  fix: a text of 220"):
        language.parts("a" * 100, 20)


def test_an_untrained_network_needs_eight_bits_a_byte_or_more_and_a_trained_one_fewer():
    plan = Plan(width=16, steps=30, batch=4, learning_rate=2e-2)
    [bits, *_] = language.rows([method("gated_convolution")], plan, "the same words again. " * 60, 32)
    [before, *_] = language.rows(
        [method("gated_convolution")], plan._replace(steps=1), "the same words again. " * 60, 32
    )
    assert before.value > 6
    assert bits.value < 4
    assert bits.data == "bytes of a text, 32 at a time, 30 steps"


def test_speed_has_its_three_columns_at_each_length():
    found = list(speed.rows([method("lightning")], Plan(width=16), (8, 24)))
    assert [(row.data, row.metric) for row in found] == [
        (f"one layer 16 wide, {length} tokens", metric)
        for length in (8, 24)
        for metric in ("tokens/s", "ms a step", "state kB")
    ]
    assert all(row.value > 0 for row in found)
    assert [row.value for row in found if row.metric == "state kB"] == [4 * 64 / 1000] * 2


def rows_of(values, data="recall"):
    return [
        Row("mixers", data, name, metric, value)
        for name, pair in values.items()
        for metric, value in zip(("recall", "state kB"), pair)
    ]


def test_the_front_is_of_those_no_other_beats():
    found = plot.points(rows_of({"a": (0.5, 10), "b": (0.9, 100), "c": (0.4, 50), "d <x>": (0.9, 200)}))
    assert [name for *_, name in found] == ["a", "c", "b", "d <x>"]
    assert [name for *_, name in plot.front(found)] == ["a", "b"]


def test_the_picture_is_whole_and_of_the_last_recall(tmp_path):
    rows = rows_of({"z": (0.1, 1)}, "fewer pairs") + rows_of({"a": (0.0, 0.0), "d <x>": (1.0, 200)})
    plot.save(tmp_path / "p.svg", rows)
    svg = ElementTree.parse(tmp_path / "p.svg").getroot()
    texts = [each.text for each in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "recall" in texts
    assert {"a", "d <x>"} <= set(texts)
    assert "z" not in texts
    with pytest.raises(ConfigError, match="no recall was measured"):
        plot.draw([])


def test_the_command_measures_all_mixers_unless_some_are_named(capsys, tmp_path):
    assert [each.name for each in chosen(None, 64)] == registry.names("mixer")
    picture, asked = tmp_path / "m.svg", ["softmax", "titans", "routing"]
    args = ["--lengths", "16", "--json", "--quiet", "--plot", str(picture), "--methods", ",".join(asked)]
    assert main(["bench", "mixers", *TINY, *args]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found[0]) == KEYS
    assert list(dict.fromkeys(row["method"] for row in found)) == asked
    assert {row["metric"] for row in found} == {
        "recall", "state kB", "weights", "bits a byte", "tokens/s", "ms a step",
    }  # fmt: skip
    assert picture.exists()


def test_the_command_takes_settings_and_prints_tables(capsys):
    asked = "{use: window, window: 4}, window"
    assert main(["bench", "mixers", *TINY, "--methods", asked, "--tasks", "recall,language", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "recall of 2 pairs in 16 tokens, 1 layers 16 wide" in out
    assert "bytes of made-up prose, 16 at a time, 2 steps" in out
    assert out.count("window window=4") == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["--tasks", "recal"],
            "--tasks: there is no task 'recal'\n  allowed: recall, language, speed\n  did you mean 'recall'?",
        ),
        (["--methods", "sofmax"], "did you mean 'softmax'?"),
        (["--width", "10"], "a width of 10 has no 4 heads of even width"),
        (["--plot", "m.png"], "--plot: pictures are drawn as SVG"),
        (["--plot", "m.svg", "--tasks", "speed"], "--plot: recall is drawn, and it is not measured"),
    ],
)
def test_what_cannot_be_is_said_at_once(args, said, capsys):
    assert main(["bench", "mixers", *args]) == 2
    assert said in capsys.readouterr().err
