from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.rag.errors import FoveaError, QueryError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks import testbed_eval, train_testbed  # noqa: E402
from benchmarks.testbed_tasks import texts  # noqa: E402
from benchmarks.testbed_tasks.learner import new_model  # noqa: E402
from benchmarks.testbed_tasks.page import Page  # noqa: E402
from benchmarks.testbed_tasks.prompts import ANSWER, NOTHING, TEXT, episode, make  # noqa: E402
from benchmarks.testbed_tasks.tasks import TASKS  # noqa: E402
from benchmarks.testbed_tasks.trunk import hidden  # noqa: E402

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
NAMES = ["river", "stone", "garden", "market", "window", "letter", "copper", "silver", "winter", "doctor", "sailor"]

SAID = """
The secret number of it is 5. The pass key is 6. Remember it. What is the pass key? The bell rings.
How many times does the bell ring? The most frequent word: Let a -> b. Trace
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of small texts, with enough repeated words for a vocabulary of them."""
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    stems = [a + b for a in NAMES for b in ("", *"abcdefg")]
    for i in range(12):
        words = rng.choice(stems, 900).tolist()
        (folder / f"{i}.txt").write_text(" ".join(words) + SAID, "utf-8")
    return folder


@pytest.fixture(scope="module")
def page(data: Path) -> Page:
    found = texts.documents(data)
    tokenizer = texts.train_tokenizer(found, 800)
    return Page(tokenizer, texts.encode(found, tokenizer))


@settings(max_examples=80)
@given(st.sampled_from(list(TASKS)), st.integers(500, 1500), st.floats(0, 1), st.integers(0, 10**6))
def test_a_prompt_fits_its_length_and_holds_its_answer_where_it_says(page, task, length, depth, seed):
    made = make(task, page, length, depth, seed)
    assert len(made.prompt) + len(made.answer) == length
    assert all(0 <= start < end <= length - len(made.answer) for start, end in made.evidence)
    if task == "frequent_word":
        assert most_common(made.prompt, page) == made.answer[0]
    elif task == "count":
        assert made.answer == [page.digits[len(made.evidence)]]
    elif task == "variable_tracking":
        links = [words_of(made.prompt[start:end], page) for start, end in made.evidence]
        assert [a[1:] for a in links] == [b[:1] for b in links[1:]] + [[]]
        assert words_of(made.answer, page) == [word for link in links for word in link[1:]]
        assert contains(made.prompt[slice(*made.evidence[-1])], made.answer[-3:])
    else:
        assert contains(made.prompt[slice(*made.evidence[0])], made.answer)


def most_common(prompt: list[int], page: Page) -> int:
    found = words_of(prompt, page)
    return max(set(found), key=found.count)


def words_of(row: list[int], page: Page) -> list[int]:
    return [token for token in row if token in set(page.words.tolist())]


def contains(row: list[int], part: list[int]) -> bool:
    return any(row[i : i + len(part)] == part for i in range(len(row) - len(part) + 1))


@pytest.mark.parametrize("task", ["needle", "key_value", "json_pairs", "passkey"])
def test_depth_is_where_the_fact_stands(page, task):
    for depth in (0.0, 0.5, 1.0):
        for seed in range(5):
            made = make(task, page, 1200, depth, seed)
            start, end = made.evidence[0]
            question = len(TASKS[task].facts(np.random.default_rng(0), page, 1)[0].question)
            assert abs(start / (len(made.prompt) - question - (end - start)) - depth) < 0.03


def test_prompts_are_the_same_for_a_seed_and_differ_between_seeds(page):
    for task in TASKS:
        assert make(task, page, 700, 0.3, 7) == make(task, page, 700, 0.3, 7)
        assert make(task, page, 700, 0.3, 7) != make(task, page, 700, 0.3, 8)


def test_prompts_that_cannot_be_are_refused(page):
    with pytest.raises(QueryError, match="no testbed task"):
        make("needel", page, 400, 0.5, 0)
    with pytest.raises(QueryError, match="share of the page"):
        make("needle", page, 400, 1.5, 0)
    with pytest.raises(QueryError, match="too few"):
        make("multi_needle", page, 40, 0.5, 0)


@given(st.integers(0, 10**6), st.sampled_from([128, 400, 1024]))
def test_an_episode_fills_its_row_and_its_answers_are_told_before(page, seed, length):
    tokens, kinds = episode(np.random.default_rng(seed), page, length)
    assert tokens.shape == kinds.shape == (length,)
    assert tokens.min() >= 0
    assert tokens.max() < len(page.tokenizer)
    task = [name for i, name in enumerate(TASKS) if (kinds == ANSWER + i).any()]
    assert len(task) <= 1
    if task == ["key_value"]:
        for at in np.flatnonzero(kinds >= ANSWER):
            assert contains(tokens[:at].tolist(), tokens[at - 2 : at + 1].tolist())
    if not task:
        assert (kinds == TEXT).all()
    else:
        assert (kinds == NOTHING).any()


def test_positions_grow_and_stay_in_the_window():
    rows = [train_testbed.positions(np.random.default_rng(i), 256) for i in range(200)]
    assert all((np.diff(row) >= 1).all() and row[-1] < train_testbed.WINDOW for row in rows)
    plain = sum((np.diff(row) == 1).all() for row in rows)
    assert 60 < plain < 140
    assert max(row[-1] for row in rows) > 20_000


def test_the_written_out_forward_pass_is_the_models_own():
    model = new_model(100, 0, 0, **SMALL)
    ids = torch.randint(0, 100, (2, 40))
    with torch.no_grad():
        ours = model.lm_head(hidden(model, ids, torch.arange(40)[None]))
        assert torch.allclose(model(ids).logits, ours, atol=1e-5)
        late = model.lm_head(hidden(model, ids, torch.arange(40)[None] + 5000))
    assert torch.allclose(ours, late, atol=1e-3)


def test_a_document_is_whole_on_one_side(data):
    found = texts.documents(data)
    training, held_out = texts.split(found, held_out=0.2)
    assert sorted(training + held_out) == sorted(found)
    assert len(held_out) == 2
    with pytest.raises(FoveaError, match="two documents"):
        texts.split(found[:1])


def test_training_stops_goes_on_and_leaves_a_model_that_is_measured(data, tmp_path, monkeypatch, one_thread):
    monkeypatch.setattr(train_testbed, "VOCABULARY", 600)
    monkeypatch.setattr("benchmarks.testbed_tasks.trunk.shutil.which", lambda name: None)
    args = Namespace(data=data, work=tmp_path / "work", out=tmp_path / "out", minutes=3 / 60, rate=2e-3, seed=0)
    stages = (train_testbed.Stage(128, 2, 0.5), train_testbed.Stage(256, 1, 1.0))
    first = train_testbed.train(args, stages, every=0.1, **SMALL)
    went = first.done["step"]
    args.minutes = 9 / 60
    learner = train_testbed.train(args, stages, every=0.1, **SMALL)
    log = [json.loads(line) for line in (args.out / "training.jsonl").read_text("utf-8").splitlines()]
    steps = [line["step"] for line in log]
    assert 2 < went < learner.done["step"] == steps[-1]
    assert steps == sorted(set(steps))
    assert min(line["text"] for line in log[1:]) < log[0]["text"]  # few steps on a busy machine
    assert (log[0]["length"], log[-1]["length"]) == (128, 256)
    measured = Namespace(
        data=data, model=args.out, tasks=["needle", "copy"], lengths=[128], depths=[0.0, 1.0], prompts=2,
        dtype="float32", seed=1,
    )  # fmt: skip
    rows = list(testbed_eval.measure(measured))
    assert [(r.data, r.metric) for r in rows if r.metric != "depth 1"] == [
        ("held-out text", "perplexity"), ("needle", "depth 0"), ("needle", "all"), ("copy", "depth 0"), ("copy", "all"),
    ]  # fmt: skip
    assert all(0 <= r.value <= 1 for r in rows[1:])
    assert 1 < rows[0].value < 600
    testbed_eval.write_card(args.out, rows)
    assert "| needle | depth 0 | depth 1 | all |" in (args.out / "README.md").read_text("utf-8")


def test_a_checkpoint_brings_everything_back(tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr("benchmarks.testbed_tasks.trunk.COMPILED", 0)  # a step here is shorter than compiling it
    from benchmarks.testbed_tasks.learner import Learner

    ids = torch.randint(0, 100, (2, 32))
    batch = [(ids, torch.full_like(ids, TEXT), torch.arange(32).expand(2, 32))]
    through, stopped = (Learner(new_model(100, 0, 0, **SMALL), 1e-3) for _ in range(2))
    for learner in (through, stopped):
        learner.step(batch, 1.0)
    stopped.save(tmp_path)
    again = Learner(new_model(100, 0, 1, **SMALL), 1e-3)
    assert again.load(tmp_path)
    assert not again.load(tmp_path / "nothing")
    assert again.step(batch, 0.5)["text"] == pytest.approx(through.step(batch, 0.5)["text"], rel=1e-6)
    for name, weight in through.master.items():
        assert torch.equal(weight, again.master[name])
