"""Training: interrupted in any way it ends with the same weights, what is wrong is said, and the card says all."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch

from rag.errors import ConfigError, ModelError
from segmenters.training.loop import Run, fit, rate
from tests.toy_training import Toy, ToyRecipe


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_goes_on_to_the_same_weights(whole, tmp_path, number):
    command = [sys.executable, "-m", "tests.toy_training", str(tmp_path), "0.05"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    checkpoint = tmp_path / "checkpoint.safetensors"
    until = time.monotonic() + 60
    while not checkpoint.exists():
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == -number or number == signal.SIGINT
    assert process.returncode != 0, "it was in the middle"
    run, _ = fit(Toy(0), ToyRecipe(), tmp_path, 0, max_seconds=0)
    assert run.step < 60
    assert number == signal.SIGKILL or run.step % 10 > 1, "Ctrl-C keeps the step it came in, not the last measurement"
    task = Toy(0)
    run, _ = fit(task, ToyRecipe(), tmp_path, 0)
    assert same(weights(task), whole[0])
    assert sorted(p.name for p in tmp_path.glob("*") if not p.name.startswith(".part-")) == ["checkpoint.safetensors"]


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


def test_equal_scores_are_no_improvement():
    run = Run().measured({"pk": 0.5, "other": 1})
    assert run.measured({"pk": 0.5, "other": 0}).waited == 1
    assert run.measured({"pk": 0.4}).best == {"pk": 0.4}
