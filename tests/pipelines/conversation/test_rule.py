"""Follow-up questions rewritten by rule: what is carried on, what stands alone, and laws for any text."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fovea.pipelines.conversation.rule import LONGEST, joined, rewritten
from fovea.rag.types import Turn

WHO = [Turn("user", "Who coached Sweden in 1990?"), Turn("assistant", "Olle Nordin coached Sweden.")]
TEAM = [Turn("user", "Which team did Kjell Scherpen play for from 2016 to 2018?")]


@pytest.mark.parametrize(
    ("said", "question", "full"),
    [
        # a time in the place of a time
        (WHO, "And in 1994?", "Who coached Sweden in 1994?"),
        (WHO, "1994?", "Who coached Sweden in 1994?"),
        (WHO, "And in May 1994?", "Who coached Sweden in May 1994?"),
        (TEAM, "And from May 2018 to 2020?", "Which team did Kjell Scherpen play for from May 2018 to 2020?"),
        (TEAM, "what about in the early 1990s", "Which team did Kjell Scherpen play for in the early 1990s?"),
        ([Turn("user", "Who coached Sweden?")], "And in 1994?", "Who coached Sweden in 1994?"),
        # a name in the place of a name
        (WHO, "And Norway?", "Who coached Norway in 1990?"),
        (WHO, "What about Norway in 1998?", "Who coached Norway in 1998?"),
        (TEAM, "What about Matt Macey?", "Which team did Matt Macey play for from 2016 to 2018?"),
        ([Turn("user", "When did Bell move to Boston from Canada?")], "And to New York?",
         "When did Bell move to New York from Canada?"),
        # pronouns
        (WHO, "Where was he born?", "Where was Olle Nordin born? (Sweden)"),
        (WHO, "What is his nickname?", "What is Olle Nordin's nickname? (Sweden)"),
        (TEAM, "When did he sign?", "When did Kjell Scherpen sign?"),
        ([Turn("user", "Who went to Wittenberg to hear Luther speak?")], "What was his career?",
         "What was Luther's career? (Wittenberg)"),
        ([Turn("user", "What is the capital of Sweden?"), Turn("assistant", "Stockholm.")], "How old is it?",
         "How old is Stockholm? (Sweden)"),
        ([Turn("user", "what is the notice period for employees?")], "Can it be extended?",
         "Can it be extended? (notice period employees)"),
        # things that are called by a noun, and places
        ([Turn("user", "Which club did Kjell Scherpen join?"), Turn("assistant", "Brighton.")],
         "Who owned the club in 2020?", "Who owned the club (Brighton) in 2020? (Kjell Scherpen)"),
        ([Turn("user", "What is the capital of Sweden?"), Turn("assistant", "Stockholm.")],
         "How many people live there?", "How many people live there? (Stockholm, Sweden)"),
        # what asks nothing by itself
        (WHO, "Why?", "Who coached Sweden in 1990? Why?"),
        (WHO, "In which year?", "Who coached Sweden in 1990? In which year?"),
        (WHO, "How many games?", "Who coached Sweden in 1990? How many games?"),
        (WHO, "Who else?", "Who coached Sweden in 1990? Who else?"),
        (WHO, "tell me more", "Who coached Sweden in 1990? tell me more"),
        (WHO, "And the population?", "And the population? (Sweden)"),
        # a topic that is carried on, and one that is dropped
        ([*WHO, Turn("user", "And Norway?"), Turn("assistant", "Egil Olsen.")], "And in 1995?",
         "Who coached Norway in 1995?"),
        ([*WHO, *TEAM], "And in 2021?", "Which team did Kjell Scherpen play for in 2021?"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_put_in(said, question, full):
    assert rewritten(question, said) == full


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of Norway?",
        "And who coached Norway in 1990?",
        "Is it true that Norway won?",
        "How long does it take to brew green tea?",
        "How many teams are there in Italy?",
        "What did Germany lose with its coach?",
        "When did the team that won the cup disband?",
        "Which university has its origins in a school of medicine?",
        "Other than his speeches, what was Caesar known for?",
        "Who was the former manager of the football league?",
        "What is the notice period?",
        "Why do cats purr when they sleep?",
        "Who won this year?",
        "List the rivers of Norway",
        "Wer war der Trainer von Norwegen?",
        "挪威的首都是哪里？",
        "¿Cuál es la capital de Noruega?",
        "  Spaces stay?  Who was Caesar? ",
    ],
)
def test_what_stands_alone_stays_as_it_is(question):
    assert rewritten(question, WHO) == question


SAID = "and what about who did he she it there then Sweden Norway in 1990 from to the club why how many ? . , 's"
WORDS = SAID.split()
TEXT = st.text(max_size=200)
ASKED = TEXT | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
TURNS = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), ASKED), max_size=6)


@given(ASKED)
def test_without_a_history_nothing_changes(question):
    assert rewritten(question, []) == question


@given(ASKED, TURNS)
def test_any_text_is_taken_the_same_each_time_and_bounded(question, said):
    made = rewritten(question, said)
    assert made == rewritten(question, said)
    assert len(made) <= len(question) + 4 * LONGEST


@given(ASKED, ASKED)
@example("AND:A0", "\x1b\u00b2")  # A name may stand behind what is no letter and no space.
def test_what_was_made_to_stand_alone_says_all_that_was_asked_or_replaces_the_topics_own(question, topic):
    """No word comes from anywhere else."""
    made = joined(question, topic, "")
    known = (question + topic).lower()
    assert all(word in known for word in re.findall(r"\w+", re.sub(r"'s\b", "", made.lower())))


def test_long_questions_are_carried_by_their_names():
    topic = "Who coached Sweden? " + "and so on " * 500
    assert rewritten("Why?", [Turn("user", topic)]) == "Why? (Sweden)"
    assert rewritten("x" * 20_000 + " he?", WHO) == "x" * 20_000 + " he?"


def test_time_grows_with_the_text():
    """The patterns do not backtrack: two hundred thousand characters of what they look for."""
    for piece in ("Sweden ", "in the early ", "he ", "A.", "“", "from 1990 to ", "the club ", "and "):
        rewritten("And he?", [Turn("user", piece * (100_000 // len(piece)))])
        rewritten(piece * (20_000 // len(piece)), WHO)


@pytest.mark.parametrize("text", ["Mr. ", "Mr. 1990 ", "In Mr. ", "A.B. ", "Aa Aa, "])
def test_a_turn_of_any_kind_costs_linear_time(text):
    """Whoever may ask sends the history."""

    def seconds(times):
        said = [Turn("user", text * times), Turn("assistant", text * times)]
        began = time.process_time()
        for question in ("And Norway?", "Where was he born?"):
            rewritten(question, said)
        return time.process_time() - began

    seconds(100)
    assert min(seconds(4000) for _ in range(2)) < 16 * max(min(seconds(1000) for _ in range(3)), 0.01)


def test_a_question_does_not_grow_by_what_is_no_name():
    for name in ("Sweden " * 5000, "Nam" * 5000, '"' + "x" * 9000 + '"'):
        for question in ("And Norway?", "Where was he born?", "Why?"):
            said = [Turn("user", f"Who coached {name}?"), Turn("assistant", f"{name}.")]
            assert len(rewritten(question, said)) < 1500
