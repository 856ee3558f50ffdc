"""Tasks of `fovea bench longcontext`: what is hidden where, what is right, how long a prompt is, and bad files."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.bench.longcontext import files, haystacks, records
from fovea.pipelines.bench.longcontext.kinds import CITIES
from fovea.pipelines.bench.longcontext.prompts import TAIL, fit
from fovea.pipelines.bench.longcontext.prose import prose
from fovea.rag.errors import ConfigError

SQUAD = {"data": [{"paragraphs": [
    {"context": f"Passage {n} is about the number {n}.", "qas": [
        {"question": f"What is passage {n} about?", "answers": [{"text": f"the number {n}"}, {"text": f"number {n}"}]},
        {"question": "What is left out?", "answers": []}]}
    for n in range(9)]}]}  # fmt: skip


class Words:
    """A model whose tokens are words, with a template around what it is told."""

    tokenizer = staticmethod(lambda text, add_special_tokens=True: {"input_ids": text.split()})

    @staticmethod
    def tokens(messages):
        return ["<user>", *messages[0][1].split(), "<answer>"]


LM = SimpleNamespace(tokenizer=Words.tokenizer, tokens=Words.tokens)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "squad.json").write_text(json.dumps(SQUAD))
    return tmp_path


def test_the_tasks_that_ship():
    assert files.names() == ["aggregation", "multi_key", "needle", "qa", "variable_tracking"]
    tasks = files.chosen(None, None, None)
    assert [task.name for task in tasks] == ["aggregation", "multi_key", "needle", "variable_tracking"]
    assert all(task.version >= 1 for task in tasks)
    assert files.chosen("none", None, None) == []


@given(st.integers(0, 1 << 30))
def test_made_up_prose_holds_nothing_that_is_asked_for(seed):
    some = list(itertools.islice(prose(seed), 60))
    assert some == list(itertools.islice(prose(seed), 60))
    text = " ".join(some)
    assert not re.search(r"\d|magic|VAR", text)
    assert not any(city in text for city in CITIES)
    assert all(re.fullmatch(r"[A-Z].*\.", sentence) for sentence in some)


@given(st.integers(0, 1 << 30), st.sampled_from(["needle", "multi_key"]))
def test_facts_lie_at_their_depths(seed, name):
    task = files.load(name)
    cases = list(task.cases(prose, str(seed)))
    assert len(cases) == (1 if name == "multi_key" else 5)
    found = []
    for case in cases:
        units = list(itertools.islice(case.units, 200))
        text = case.text(units)
        for question in case.questions(units):
            (value,) = question.answers
            city = next(city for city in CITIES if city in question.text)
            fact = f"The special magic number of {city} is {value}."
            assert text.count(fact) == text.count(value) == 1
            assert text.index(fact) / len(text) == pytest.approx(question.depth, abs=0.03)
            found.append(question.depth)
            assert task.judge(f"{question.lead} {value}.", question.answers) == 1
            assert task.judge(f"{question.lead} {int(value):,}.", question.answers) == 1, "grouped"
            assert task.judge(f"{question.lead} 12", question.answers) == 0
    assert found == [0, 0.25, 0.5, 0.75, 1]


@given(st.integers(0, 1 << 30))
def test_variables_are_assigned_before_they_are_used(seed):
    task = files.load("variable_tracking")
    (case,) = task.cases(prose, str(seed))
    text = case.text(list(itertools.islice(case.units, 50)))
    held = {}
    for name, source in re.findall(r"VAR (\w+) = (?:VAR )?(\w+)\.", text):
        held[name] = held.get(source, source)
    assert len(held) == 6
    for question in case.questions([]):
        (value,) = set(re.findall(r"\d{5}", question.text))
        assert {name for name, what in held.items() if what == value} == set(question.answers)
        assert task.judge(" ".join(question.answers[:2]).lower(), question.answers) == pytest.approx(2 / 3)


def test_the_most_frequent_words_are_those_of_the_text_that_is_shown():
    task = files.load("aggregation")
    (case,) = task.cases(prose, "1")
    prompt = fit(task, case, LM, 400)
    (question, tail) = prompt.questions[0]
    shown = Counter(word for word in (*prompt.prefix, *tail) if re.fullmatch("[a-z]{5}", word) and word != "coded")
    best = [word for word, _ in shown.most_common(3)]
    assert set(best) == set(question.answers)
    assert max(shown[word] for word in shown if word not in best) <= min(shown[word] for word in best)


@given(st.integers(120, 2000), st.sampled_from(["needle", "multi_key", "variable_tracking", "aggregation"]))
def test_a_prompt_is_as_long_as_is_asked_and_shares_what_it_can(length, name):
    task = files.load(name)
    case = next(task.cases(prose, "3"))
    prompt = fit(task, case, LM, length)
    sizes = [len(prompt.prefix) + len(tail) for _, tail in prompt.questions]
    assert length - 40 < max(sizes) <= length, "but for a sentence"
    assert min(len(tail) for _, tail in prompt.questions) >= TAIL
    for question, tail in prompt.questions:
        whole = " ".join([*prompt.prefix, *tail])
        assert whole.startswith("<user> ")
        assert whole.endswith(f"<answer> {question.lead}")
        assert question.text in whole
        assert name == "aggregation" or question.answers[0] in whole
    if len(prompt.questions) > 1:
        assert len({tail[0] for _, tail in prompt.questions}) > 1, "a longer prefix would be shared"


def test_a_length_that_nothing_fits():
    task = files.load("needle")
    with pytest.raises(ConfigError, match="the task needle does not fit 40 tokens"):
        fit(task, next(task.cases(prose, "0")), LM, 40)


def test_questions_of_people(data):
    (task,) = files.chosen("qa", data, None)
    case = next(task.cases(prose, "0"))
    prompt = fit(task, case, LM, 90)
    ((question, tail),) = prompt.questions
    number = question.answers[1].split()[1]
    text = " ".join([*prompt.prefix, *tail])
    assert f"Passage {number} is about" in text
    assert len(re.findall(r"Passage \d", text)) > 3, "others are around it"
    assert task.judge(f"It is The  Number {number}", question.answers) == 1
    assert task.judge("nothing", question.answers) == 0


def test_records_of_lines_are_joined_by_their_passage(tmp_path):
    lines = [{"context": "C", "question": q, "answers": ["a", "a"]} for q in ("one?", "two?")]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert records.read(path) == (records.Record("C", [("one?", ("a",)), ("two?", ("a",))]),)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.jsonl", '{"context": "C", "question": "q"}', "a.jsonl:1"),
        ("a.jsonl", '{"context": "C", "question": "q", "answers": ["x"]}\nno json', "a.jsonl:2"),
        ("a.jsonl", '{"context": "C", "question": "q", "answers": "x"}', "a.jsonl:1"),
        ("a.json", '{"data": [{"title": 1}]}', "a.json"),
        ("a.json", "[]", "a.json"),
        ("a.txt", "text", "--data"),
    ],
)
def test_data_that_is_none(tmp_path, name, text, where):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        records.read(tmp_path)
    assert where in str(caught.value)


def test_depths_of_ones_own_are_taken_where_there_are_depths():
    tasks = files.chosen("needle,aggregation", None, [0.5])
    assert tasks[0].depths == [0.5]
    assert len(list(tasks[0].cases(prose, "0"))) == 1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("kind: facts", "kind: fact"), "kind"),
        (("version: 1", "version: 0"), "version"),
        (("digits: 6", "digit: 6"), "digit"),
        (("depths: [0.0,", "depths: [7,"), "depths"),
    ],
)
def test_a_task_file_that_is_none(tmp_path, change, what):
    path = tmp_path / "own.yaml"
    path.write_text((files.SHIPPED / "needle.yaml").read_text().replace(*change))
    with pytest.raises(ConfigError, match=what) as caught:
        files.load(str(path))
    assert str(path) in str(caught.value)


def test_names_that_are_no_tasks(tmp_path):
    with pytest.raises(ConfigError, match="no task 'needel'"):
        files.chosen("needel", None, None)
    with pytest.raises(ConfigError, match="there is no task file"):
        files.chosen(str(tmp_path / "none.yaml"), None, None)
    with pytest.raises(ConfigError, match="asks what is in data"):
        files.chosen("qa", None, None)


def test_a_text_of_ones_own_goes_round():
    haystack = haystacks.of("It rains. The sun\nshines. A dog barks.")
    some = list(itertools.islice(haystack(1), 6))
    assert some[:3] == some[3:]
    assert set(some) == {"It rains.", "The sun shines.", "A dog barks."}
    with pytest.raises(ConfigError, match="no text"):
        haystacks.of(" \n")
