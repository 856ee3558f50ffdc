"""Drafted questions: spans that hold, in turns, the same each time; a model's quotes found to the letter or refused."""

import json

import pytest

from fovea.pipelines.evaluation.drafting import BLANK, draft
from fovea.pipelines.evaluation.judging import Judging
from fovea.pipelines.evaluation.key_sentences import keys, telling
from fovea.pipelines.evaluation.questions import check_questions, read_questions
from fovea.rag.replies import Replies
from fovea.rag.types import Document

GUIDE = Document(
    "guide.md",
    "# Tea guide\n\nTea is made of the leaves of a plant that grows in Asia and Africa. It is drunk hot.\n\n"
    "## Brewing green tea\n\nGreen tea leaves are brewed at 80 degrees for about two minutes. Boiling water makes "
    "green tea leaves bitter.\n\n- a list item that is long enough to be taken for prose, without its mark.\n\n"
    "## Growing tea leaves\n\nMost tea leaves of the world were grown in China in 2019, as for many years before. But "
    "this leans on the sentence before it, and so it is passed over here.\n",
    title="Tea guide",
    media_type="text/markdown",
)  # fmt: skip
NOTES = Document("notes.txt", "The Moon orbits the Earth in 27 days and keeps one face to it. Short one.\nNo stop here")


def test_openings_of_sections_and_key_sentences_take_turns():
    found = [
        (key.heading.words if key.heading else "", GUIDE.text[key.span.start : key.span.end]) for key in keys(GUIDE)
    ]
    assert {words for words, _ in found[:3]} <= {"Tea guide", "Brewing green tea", "Growing tea leaves", ""}
    texts = dict(found)
    assert texts["Brewing green tea"].startswith("Green tea leaves are brewed")
    assert texts["Brewing green tea"].endswith("bitter.")
    assert "\n\n" not in texts["Growing tea leaves"]
    assert not any(text.startswith(("-", "But", "It is")) for _, text in found)


def test_offline_drafts_are_the_same_each_time_and_fit_their_documents(tmp_path):
    first, again = draft([GUIDE, NOTES], 10), draft([GUIDE, NOTES], 10)
    rows = [one.to_dict() for one in first.made]
    assert rows == [one.to_dict() for one in again.made]
    assert [row["references"][0]["document"] for row in rows[:2]] == ["guide.md", "notes.txt"]
    assert all(row["draft"] is True and row["by"] in ("heading", "cloze") for row in rows)
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(check_questions(read_questions(path), [GUIDE, NOTES]).questions) == len(rows) == 4


def test_a_heading_is_asked_for_and_a_key_sentence_loses_its_number():
    made = draft([GUIDE, NOTES], 10).made
    headed = next(one for one in made if one.by == "heading" and "Brewing" in one.question)
    assert headed.question == "What is said of “Brewing green tea” in Tea guide?"
    [cloze] = [one for one in made if one.document is NOTES]
    assert cloze.question == f"What is missing: “The Moon orbits the Earth in {BLANK} days and keeps one face to it.”"
    assert cloze.answer == "27"


def test_count_is_a_limit_and_nothing_gives_nothing():
    assert len(draft([GUIDE, NOTES], 2).made) == 2
    assert draft([Document("empty", "")], 5).made == []
    assert draft([], 5).made == []


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("It was in 1969 and 12 men.", "1969"),
        ("The Moon orbits Earth.", "Earth"),
        ("it is brewed", "brewed"),
        ("…", ""),
    ],
)
def test_the_telling_word(sentence, word):
    assert telling(sentence) == word


# With a model


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("langchain_core", reason="needs fovea-rag[langchain]")
    from tests.scripted_chat import Scripted

    def judging(*replies):
        one = Judging.of(Scripted(script={"write one question": list(replies)}, heard=[]))
        one._replies = Replies(tmp_path / "replies.sqlite")
        return one

    return judging


def quoted(quote, question="How hot is green tea brewed?"):
    return {"question": question, "quote": quote, "answer": "80 degrees"}


def test_a_quote_is_found_to_the_letter(model):
    found = draft([GUIDE], 1, model(quoted("brewed at 80 degrees")))
    [one] = found.made
    assert GUIDE.text[one.span.start : one.span.end] == "brewed at 80 degrees"
    assert one.to_dict()["references"][0]["text"] == "brewed at 80 degrees"
    assert (one.answer, one.question) == ("80 degrees", "How hot is green tea brewed?")
    assert not found.refused


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (quoted("brewed at 90 degrees"), "the quote does not stand in the passage"),
        (quoted("tea leaves"), "the quote stands in the passage twice"),
        ({"question": "?"}, "no question, quote and answer"),
        (quoted(" "), "no question, quote and answer"),
        ("certainly!", "no JSON: Expecting value"),
    ],
)
def test_what_cannot_be_located_is_refused_and_counted(model, reply, why):
    judging = model(reply)
    found = draft([GUIDE], 3, judging)
    assert found.made == []
    places = len(keys(GUIDE))
    assert found.refused == {why: places}
    assert judging.counts["asked"] == 2 * places
