"""Attention of tokens as shares of passages and sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fovea.pipelines.answering.attended import by_character, looked_at, places
from fovea.pipelines.answering.prompt import messages
from fovea.rag.types import Chunk, Hit, Query


def hit(text: str, start: int, n: int) -> Hit:
    return Hit(Chunk(document_id="d", start=start, end=start + len(text), text=text), score=1.0 / n)


def test_all_that_is_given_is_somewhere():
    offsets = [(0, 3), (3, 3), (3, 8), (8, 10)]
    density = by_character(10, offsets, np.array([0.3, 0.2, 0.5, 0.0]))
    assert density.sum() == pytest.approx(0.8)  # a token without characters has no place
    assert density[0] == pytest.approx(0.1)
    assert density[9] == 0


def test_passages_in_order_sentences_by_weight():
    one, two = "Mars has two moons. Earth has one.", "Pluto has five moons."
    prompt = f"Read: {one} And: {two} Answer."
    offsets = [(n, n + 1) for n in range(len(prompt))]
    attention = np.full(len(prompt), 1e-6)
    earth, pluto = prompt.find("Earth"), prompt.find("Pluto")
    attention[earth : earth + 5], attention[pluto] = 0.1, 0.2
    seen = looked_at(prompt, offsets, attention, [hit(one, 100, 1), hit(two, 500, 2)])
    assert [each["passage"] for each in seen] == [1, 2]
    assert seen[0]["share"] == pytest.approx(0.5, abs=1e-3)
    assert seen[0]["spans"][0] == {"start": 120, "end": 134, "share": pytest.approx(0.5, abs=1e-3)}
    assert seen[1]["spans"][0]["start"] == 500


def test_a_passage_that_the_template_rewrote_is_left_out():
    assert looked_at("nothing of it", [(0, 13)], np.ones(1), [hit("Mars.", 0, 1)]) == []


@pytest.mark.parametrize("text", ["Answer", "Mars", "number", "Question"])
def test_a_passage_whose_words_stand_elsewhere_is_found_between_its_tags(text):
    hits = [hit("Pluto has five moons.", 0, 1), hit(text, 50, 2)]
    hits[1] = Hit(replace(hits[1].chunk, title="Mars"), hits[1].score)
    prompt = "\n\n".join(said for _, said in messages(Query("Mars?"), hits))
    at = places(prompt, hits)
    assert prompt[at[1] :].startswith(f"{text}\n</passage-")
    assert prompt[at[0] :].startswith("Pluto has five moons.\n</passage-")


def test_twice_the_same_text_is_two_passages():
    prompt, text = "Mars is red. Mars is red.", "Mars is red."
    offsets = [(0, 12), (13, 25)]
    seen = looked_at(prompt, offsets, np.array([0.25, 0.75]), [hit(text, 0, 1), hit(text, 40, 2)])
    assert [each["share"] for each in seen] == [0.25, 0.75]
