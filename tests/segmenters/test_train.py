"""Training: interrupted in any way it ends with the same weights, what is wrong is said, and the card says all."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from fovea.pipelines.cli.main import main
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.trained import load, shipped
from fovea.rag.training.card import digest_of
from fovea.rag.training.loop import Run, fit, rate
from fovea.segmenters.corpora.drawn import drawn
from fovea.segmenters.corpora.read import read
from fovea.segmenters.sage import SageSegmenter
from fovea.segmenters.training.measure import pk
from tests.segmenters.test_sage import WORDS
from tests.toy_training import Toy, ToyRecipe

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(task):
    return {name: value.clone() for name, value in task.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights of a training that nothing interrupted, and how far it came."""
    torch.set_num_threads(1)
    task = Toy(0)
    run, ended = fit(task, ToyRecipe(), tmp_path_factory.mktemp("whole"), 0)
    return weights(task), run, ended


def test_it_learns_and_keeps_the_best(whole, tmp_path):
    best, run, ended = whole
    task = Toy(0)
    assert run.step == 60
    assert ended == "steps"
    untrained = Toy(0)
    untrained.model.eval()
    assert run.best["loss"] < untrained.scores()["loss"] - 0.1
    task.model.load_state_dict(best)
    task.model.eval()
    assert task.scores() == pytest.approx(run.best), "the model returned is the one that was measured best"


def test_the_rate_rises_over_a_tenth_and_falls_by_a_cosine():
    rates = [rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert all(a > b > 0 for a, b in pairwise(rates[10:]))
    assert [rate(step, 1) for step in range(1)] == [1]


def test_a_training_cut_short_by_time_goes_on_to_the_same_weights(whole, tmp_path):
    sittings = 0
    ended = "seconds"
    while ended == "seconds":
        task = Toy(0)
        run, ended = fit(task, ToyRecipe(), tmp_path, 0, max_seconds=0.02)
        sittings += 1
        assert sittings < 100
    assert sittings > 1
    assert same(weights(task), whole[0])
    assert (run.best, run.best_step) == (whole[1].best, whole[1].best_step)


SIGNALS = (signal.SIGKILL, signal.SIGINT)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """For each signal, the folder of a training that it came to in the middle, and how the process ended."""
    folders = [tmp_path_factory.mktemp(number.name) for number in SIGNALS]
    command = [sys.executable, "-m", "tests.toy_training", "2", *map(str, folders)]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    processes = [int(number) for number in parent.stdout.readline().split()]
    until = time.monotonic() + 300
    while not all(folder.with_suffix(".waits").exists() for folder in folders):
        assert time.monotonic() < until
        assert parent.poll() is None
        time.sleep(0.01)
    for process, number in zip(processes, SIGNALS):
        os.kill(process, number)
    codes = parent.communicate(timeout=30)[0].split()
    return {number: (folder, int(code)) for number, folder, code in zip(SIGNALS, folders, codes)}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_killed_training_goes_on_to_the_same_weights(whole, interrupted, number):
    folder, code = interrupted[number]
    assert code == -number or number == signal.SIGINT
    assert code != 0, "it was in the middle"
    run, _ = fit(Toy(0), ToyRecipe(), folder, 0, max_seconds=0)
    assert run.step < 60
    assert number == signal.SIGKILL or run.step % 10 > 1, "Ctrl-C keeps the step it came in, not the last measurement"
    task = Toy(0)
    run, _ = fit(task, ToyRecipe(), folder, 0)
    assert same(weights(task), whole[0])
    assert sorted(p.name for p in folder.glob("*")) == ["checkpoint.safetensors"]


def test_a_finished_training_is_not_done_again(whole, tmp_path):
    fit(Toy(0), ToyRecipe(), tmp_path, 0)
    task = Toy(0)
    task.loss = lambda step: pytest.fail("a step too many")
    run, _ = fit(task, ToyRecipe(), tmp_path, 0)
    assert run.step == 60
    assert same(weights(task), whole[0])


def test_patience_ends_it(tmp_path):
    task = Toy(0)
    measured = iter([3.0, 2.0, 2.5, 2.0, 2.1, 0.0])
    task.scores = lambda: {"loss": next(measured)}
    run, ended = fit(task, ToyRecipe(patience=3), tmp_path, 0)
    assert (run.step, run.best_step, run.best, ended) == (50, 20, {"loss": 2.0}, "patience")


def test_another_training_is_refused_by_what_differs(tmp_path):
    fit(Toy(0), ToyRecipe(), tmp_path, 0, given={"data": "abc"}, max_seconds=0)
    with pytest.raises(ConfigError, match="learning_rate was 0.001, is 0.01") as error:
        fit(Toy(0), ToyRecipe(learning_rate=0.01), tmp_path, 0, given={"data": "abc"})
    assert "--restart" in str(error.value)
    assert "steps" not in str(error.value)
    with pytest.raises(ConfigError, match="data was abc, is abd"):
        fit(Toy(0), ToyRecipe(), tmp_path, 0, given={"data": "abd"})
    with pytest.raises(ConfigError, match="seed was 0, is 1"):
        fit(Toy(1), ToyRecipe(), tmp_path, 1, given={"data": "abc"})
    run, _ = fit(Toy(1), ToyRecipe(steps=10), tmp_path, 1, restart=True)
    assert run.step == 10


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    fit(Toy(0), ToyRecipe(), tmp_path, 0, max_seconds=0)
    path = tmp_path / "checkpoint.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-7] ^= 1
    path.write_bytes({"cut": raw[: len(raw) // 2], "flipped": raw, "empty": b"", "text": b"hello" * 100}[damage])
    with pytest.raises(ModelError, match="cannot go on from this checkpoint") as error:
        fit(Toy(0), ToyRecipe(), tmp_path, 0)
    assert "--restart" in str(error.value)


def test_numbers_that_are_none_stop_it(tmp_path):
    task = Toy(0)
    task.loss = lambda step: torch.tensor(float("nan"), requires_grad=True)
    with pytest.raises(ModelError, match="the loss of step 0 is nan"):
        fit(task, ToyRecipe(), tmp_path / "a", 0)
    task = Toy(0)
    task.scores = lambda: {"loss": float("inf")}
    with pytest.raises(ModelError, match="the scores after step 10"):
        fit(task, ToyRecipe(), tmp_path / "b", 0)


def test_progress_shows_the_loss_and_the_best_score(tmp_path, monkeypatch):
    notes = []

    class Noted:
        def advance(self, amount=1, note=""):
            notes.append((amount, note))

    monkeypatch.setattr("fovea.rag.progress.bar", lambda label, total: contextlib.nullcontext(Noted()))
    run, _ = fit(Toy(0), ToyRecipe(), tmp_path, 0)
    assert sum(amount for amount, _ in notes) == 60
    assert re.fullmatch(r"loss \d\.\d{4}", notes[0][1])
    assert notes[-1][1].endswith(f"; best loss {run.best['loss']:.4f} at step {run.best_step}")


def test_equal_scores_are_no_improvement():
    run = Run().measured({"pk": 0.5, "other": 1})
    assert run.measured({"pk": 0.5, "other": 0}).waited == 1
    assert run.measured({"pk": 0.4}).best == {"pk": 0.4}


# The verb and the card

NAMES = [f"{i}.md" for i in range(30)]
"""Names decide which texts are trained on: of these some are for each part."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of Markdown whose sections are about a river, bread, the moon or the law."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in NAMES:
        text = ""
        for subject in rng.permutation(list(WORDS)):
            sentences = [
                f"The {' '.join(rng.choice(WORDS[subject].split(), 4))} of {rng.integers(99)}." for _ in range(4)
            ]
            text += f"## {subject}\n\n{' '.join(sentences[:2])}\n\n{' '.join(sentences[2:])}\n\n"
        (folder / name).write_text(text)
    return folder


def fovea(capsys, *args, code=0):
    found = main(["train", "segmenter", *map(str, args)])
    out, err = capsys.readouterr()
    assert found == code, err
    return out if code == 0 else err


QUICK = ("--encoder", "{use: hash, size: 64}", "--set", "steps=20", "--set", "every=10", "--quiet")


def test_the_verb_trains_and_writes_a_card(data, tmp_path, capsys, monkeypatch):
    args = ["sage", "--data", data, "--out", tmp_path / "out", "--licence", "our own", *QUICK]
    monkeypatch.setattr(sys, "argv", ["fovea", "train", "segmenter", *map(str, args)])
    out = fovea(capsys, *args)
    assert "20 steps, ended by steps" in out
    segmenter = SageSegmenter(weights=str(tmp_path / "out"))
    assert segmenter.trained.about["training"]["seed"] == 0
    card = (tmp_path / "out" / "README.md").read_text()
    digest = digest_of(data)
    parts = [drawn(name) for name in NAMES]
    for expected in (
        "# Weights of the segmenter `sage`",
        f"| {data.name} | {digest} |",
        f"| {data.name} | train | {parts.count('train')} | {parts.count('train') * 16} | {parts.count('train') * 4} |",
        f"| {data.name} | test | {parts.count('test')} | {parts.count('test') * 16} | {parts.count('test') * 4} |",
        "Licence of the data: our own",
        "    fovea train segmenter sage --data",
        "- encoder: hash",
        "- seed: 0",
        "`steps=20`",
        "`negatives=random`",
        f"torch {torch.__version__}",
    ):
        assert expected in card, card
    texts = [text for text in read(data) if text.split == "test"]
    value = np.mean([pk(text, segmenter.boundaries(text.units, HashEncoder(size=64))) for text in texts])
    assert f"| {data.name} | test | {len(texts)} | {100 * value:.1f} |" in card
    assert f"(test, {len(texts)} texts): Pk {100 * value:.1f} %" in out


def test_the_verb_goes_on_where_it_was_interrupted(data, tmp_path, capsys):
    args = ["topical_change", "--data", data, *QUICK]
    assert "ended by steps" in fovea(capsys, *args, "--out", tmp_path / "whole")
    args += ["--out", tmp_path / "parts"]
    assert "ended by seconds; the same command goes on" in fovea(capsys, *args, "--max-seconds", "0")
    assert "ended by steps" in fovea(capsys, *args)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]
    err = fovea(capsys, *args, "--seed", "1", code=2)
    assert "seed was 0, is 1" in err
    assert "--restart" in err
    assert "ended by steps" in fovea(capsys, *args, "--seed", "1", "--restart")
    assert (tmp_path / "parts" / "weights.safetensors").read_bytes() != files[0]


def test_vectors_are_made_once(data, tmp_path, capsys, monkeypatch):
    args = ["--data", data, "--cache", tmp_path / "cache", *QUICK]
    fovea(capsys, "sage", *args, "--out", tmp_path / "a")
    monkeypatch.setattr(HashEncoder, "encode", lambda *_: pytest.fail("encoded again"))
    fovea(capsys, "topical_change", *args, "--out", tmp_path / "b")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sagee"], "no segmenter called 'sagee' can be trained"),
        (["sagee"], "did you mean 'sage'?"),
        (["loop"], "allowed: "),
        (["sage.x"], "no segmenter called 'sage.x'"),
        (["sage", "--set", "stepps=5"], "sage has no setting 'stepps'"),
        (["sage", "--set", "stepps=5"], "did you mean 'steps'?"),
        (["sage", "--set", "steps=many"], "--set steps: input should be a valid integer"),
        (["sage", "--set", "steps"], "the setting 'steps' has no value"),
        (["sage", "--set", "negatives=none"], "input should be 'paragraphs', 'sections' or 'random'"),
        (["sage", "--encoder", "hsh"], "did you mean 'hash'?"),
    ],
)
def test_mistakes_are_named(data, tmp_path, capsys, args, message):
    err = fovea(capsys, *args, "--data", data, "--out", tmp_path / "out", code=2)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_data_without_a_part_is_refused(data, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    train = [name for name in NAMES if drawn(name) == "train"]
    for name in train[:3]:
        (tmp_path / "data" / name).write_text((data / name).read_text())
    err = fovea(capsys, "sage", "--data", tmp_path / "data", "--out", tmp_path / "out", *QUICK, code=2)
    assert "no text of the split 'dev' has a boundary, of 3 texts" in err


def test_digests_tell_what_is_in_a_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x.md").write_text("text")
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b") != digest_of(tmp_path / "a" / "sub" / "x.md")
    (tmp_path / "b" / "sub" / "x.md").rename(tmp_path / "b" / "x.md")
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


@pytest.mark.parametrize("path", sorted(shipped("segmenter").glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_weights_are_small_and_have_a_card(path):
    about = load(path.stem, path.stem).about
    card = path.with_suffix(".md").read_text("utf-8")
    assert path.stat().st_size <= 1_000_000
    assert f"fovea train segmenter {about['method']} --data" in card
    assert f"- encoder: {about['encoder_name'] or 'none'}" in card
    assert f"- seed: {about['training']['seed']}" in card
    assert "Licence of the data: " in card
    assert "Licence of the data: not stated" not in card
    for name, value in about["training"].items():
        assert name == "seed" or f"`{name}={value}`" in card
