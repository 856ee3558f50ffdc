"""`fovea ask`, where the documents do not say: what a person reads, to the letter."""

import json

import pytest

from fovea.rag.models import find
from tests.command import fovea

pytestmark = pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")

PIPELINE = """\
encoder: {use: sentence_transformer, model: sentence-transformers/all-MiniLM-L6-v2}
store: {use: embedded, path: .fovea/mine}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusal")
    (folder / "docs").mkdir()
    (folder / "docs" / "moon.txt").write_text(
        "The Moon orbits the Earth in 27 days. Neil Armstrong walked on it in 1969.\n"
    )
    (folder / "docs" / "tea.md").write_text("# Tea\n\nGreen tea is brewed at 80 degrees.\n")
    (folder / "docs" / "rivers.txt").write_text("The Danube flows through ten countries. It ends in the Black Sea.\n")
    (folder / "p.yaml").write_text(PIPELINE)
    fovea(folder, "ingest", "p.yaml", "docs", "--quiet")
    return folder


@pytest.mark.parametrize(
    "question",
    [
        "How many countries does the Zorvandel flow through?",
        "Who walked on the Moon in 1971?",
        "How do I reset the password of my router?",
        "what is the price of a train ticket to the sea?",
    ],
)
def test_the_documents_do_not_say(library, question):
    assert fovea(library, "ask", "p.yaml", question).stdout == "The documents do not say.\n"
    answer = json.loads(fovea(library, "ask", "p.yaml", question, "--json").stdout)
    assert (answer["text"], answer["citations"]) == ("The documents do not say.", [])


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How many countries does the Danube flow through?", "ten countries"),
        ("Who walked on the Moon in 1969?", "Neil Armstrong"),
        ("how hot should the water for green tea be?", "80 degrees"),
    ],
)
def test_what_the_documents_say_is_said(library, question, said):
    assert said in fovea(library, "ask", "p.yaml", question).stdout.split("\n")[0]
