"""The example library loads whole, and every passage its questions name is where they say."""

import json
from pathlib import Path

import pytest

from fovea.pipelines.loaders.select import Selection, loader_for
from fovea.rag import registry
from fovea.rag.testing.loaders import check_loader
from fovea.rag.trace import Trace
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
LIBRARY = EXAMPLES / "library"


@pytest.fixture(scope="module")
def documents():
    loaders = [cls() for cls in registry.components("loader").values()]
    trace, found = Trace(), {}
    with trace.stage("load"):
        selection = Selection([LIBRARY], loaders)
        for path in selection.files():
            (document,) = check_loader(loader_for(path, loaders), path)
            found[path.relative_to(LIBRARY).as_posix()] = document
    assert not trace.warnings
    assert not selection.skipped
    return found


def test_it_is_as_its_page_says(documents):
    readme = (EXAMPLES / "README.md").read_text()
    assert {Path(name).suffix for name in documents} == {".html", ".md", ".docx", ".pdf", ".txt"}
    assert all(f"`library/{name}`" in readme for name in documents)
    size = sum(len(d.text) for d in documents.values())
    assert f"{size / 1000:.0f},000 characters" in readme
    assert f"{len(documents['sqlite/testing.pdf'].pages)} pages" in readme
    assert {d.title for n, d in documents.items() if n.startswith("sqlite/")} <= {
        cell.strip() for line in readme.splitlines() for cell in line.split("|")
    }


def test_nothing_of_the_web_site_is_left(documents):
    for document in documents.values():
        for word in ("<script", "function toggle_div", "Search Documentation", "honeypot", "\ufffd"):
            assert word not in document.text


def test_questions_point_at_their_passages(documents):
    lines = (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    assert len(questions) >= 12
    assert len({q["id"] for q in questions}) == len(questions)
    for question in questions:
        assert question["question"].endswith("?")
        assert question["source"] == question["references"][0]["source"]
        for passage in question["references"]:
            text = documents[passage["source"]].text
            assert text[passage["start"] : passage["end"]] == passage["text"], question["id"]
    assert {p["source"] for q in questions for p in q["references"]} == set(documents)
