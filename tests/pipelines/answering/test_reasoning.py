"""What a model thinks aloud is kept apart from its answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.reasoning import Listening, opens, split
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.testing.corpus import MemoryCorpus

ANSWER = "Green tea is brewed at 80 degrees. [1]"
THOUGHT = "Black tea is brewed at 95 degrees."
THINKING = {
    "block": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}",
    "its opening tag stood in the prompt": f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "other names": f"<thinking>{THOUGHT}</thinking>\n{ANSWER}",
    "reasoning": f"<reasoning>{THOUGHT}</reasoning>{ANSWER}",
    "brackets": f"[THINK]{THOUGHT}[/THINK]{ANSWER}",
    "capitals": f" <THINK>{THOUGHT}</THINK> {ANSWER}",
    "channels": f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
    "channels without their special tokens": f"analysis{THOUGHT}assistantfinal{ANSWER}",
}
PLAIN = {
    "nothing thought": ANSWER,
    "a tag in code": "Close it with `</think>`, as in\n```\n</think>\n```\n",
    "a word that begins like one": "<thinner> walls let more through.",
    "analysis as a word": "analysis of tea shows that the assistant final report is right.",
    "nothing": "",
}


@pytest.mark.parametrize("said", THINKING.values(), ids=THINKING)
def test_reasoning_and_answer_are_told_apart(said):
    assert split(said) == (THOUGHT, ANSWER)


@pytest.mark.parametrize("said", PLAIN.values(), ids=PLAIN)
def test_an_answer_without_reasoning_stays_as_it_is(said):
    assert split(said) == ("", said)


def test_an_empty_block_is_no_reasoning_and_an_unclosed_one_no_answer():
    assert split(f"<think>\n\n</think>\n{ANSWER}") == ("", ANSWER)
    assert split("<think>Black tea, perhaps") == ("Black tea, perhaps", "")


def heard(said: str, size: int, *, opened: bool = False) -> str:
    listening = Listening(opened=opened)
    pieces = [listening.take(said[at : at + size]) for at in range(0, len(said), size)]
    return "".join([*pieces, listening.close()])


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("name", ["block", "other names", "reasoning", "brackets", "capitals", "channels"])
def test_in_pieces_of_any_size_only_the_answer_comes_through(name, size):
    assert heard(THINKING[name], size) == ANSWER


def test_a_prompt_may_have_opened_the_reasoning():
    assert opens("<|im_start|>assistant\n<think>\n")
    assert opens("...<think>\n<|go|>")
    assert not opens("<think>\n</think>\n")
    assert heard(f"{THOUGHT}</think>\n{ANSWER}", 4, opened=True) == ANSWER
    assert heard("never comes to an end", 4, opened=True) == ""


@given(st.text(alphabet="<>/think \n[]TK`ab|", max_size=80), st.integers(1, 7))
def test_pieces_never_say_more_than_the_whole(said, size):
    """What is given piece by piece is the answer of the whole, or (where a closing tag came unannounced) all of it."""
    assert heard(said, size) in (split(said)[1], said)


def test_reasoning_is_neither_cited_nor_part_of_the_text():
    corpus = MemoryCorpus.of(
        {"tea": "Green tea is brewed at 80 degrees. Black tea is brewed at 95 degrees."}, HashEncoder()
    )
    hits = corpus.nearest(corpus.embed("tea"), 3)
    answer = cite(THINKING["block"], hits, corpus)
    assert answer.text == "Green tea is brewed at 80 degrees."
    assert answer.reasoning == THOUGHT
    assert [c.quote for c in answer.citations] == ["Green tea is brewed at 80 degrees."]
    assert answer.to_dict()["reasoning"] == THOUGHT
