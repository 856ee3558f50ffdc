"""docs/filters.md: its snippets run, and each line of its tables finds what it says."""

import re

import pytest

from fovea.rag.filters import compares, parse
from fovea.rag.testing.stores import OPERATORS
from tests.conftest import ROOT

PAGE = (ROOT / "docs/filters.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]


def filters_in(cell: str) -> list[str]:
    """What stands in code in a cell, between single or double backticks."""
    return [double.strip() or single for double, single in re.findall(r"``(.*?[^`])``(?!`)|`([^`]+)`", cell)]


FOUND = [
    (text, found)
    for row in ROWS
    if (found := row[-1].strip(" |")) not in ("finds above", "---")
    for text in filters_in(row[-2] if len(row) == 4 else row[0])
]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("desk"))
        exec(compile(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], "docs/filters.md", "exec"), made)
        assert sorted(hit.chunk.document_id for hit in made["hits"]) == ["coffee", "tea"]
        yield made["pipeline"]
        made["pipeline"].close()


@pytest.mark.parametrize(("text", "found"), FOUND)
def test_a_line_of_the_tables_finds_what_it_says(pipeline, text, found):
    hits = pipeline.retrieve("at how many degrees?", k=9, where=text)
    assert sorted(hit.chunk.document_id for hit in hits) == sorted(found.split(", "))


def test_the_page_shows_every_operator():
    shown = {
        part.op
        for row in ROWS
        for text in filters_in(row[0])
        if " " in text or "(" in text
        for part in compares(parse(text))
    }
    assert shown == set(OPERATORS)


def test_the_commands_of_the_page_are_filters():
    commands = re.findall(r'--where "(.*)"', PAGE)
    assert len(commands) == 2
    assert all(parse(command) for command in commands)
