"""What documents and file names hold reaches the terminal as text; warnings come once; mistakes are messages."""

import json
import os

import pytest

from tests.command import fovea
from tests.pipelines.cli.test_cli import here

__all__ = ["here"]

HOSTILE = "\x1b]0;owned\x07\x1b[2J"
NAME = "tea\n\x1b[31m.md"


@pytest.fixture
def hostile(here):
    (here / "docs" / NAME).write_text(f"# Kettle {HOSTILE}\n\nThe kettle {HOSTILE} sings\x9b in the morning.\n")
    (here / "docs" / "bad\x1b[5m.jsonl").write_text('{"text": "\x1b[31m\n')
    return here


def quiet(text):
    return not any(c in text for c in "\x1b\x07\x9b") and "\n\x1b[31m.md" not in text


@pytest.mark.parametrize(
    "args",
    [
        ["ask", "p.yaml", "What does the kettle do?"],
        ["ask", "p.yaml", "What does the kettle do?", "--explain"],
        ["ask", "p.yaml", "What does the kettle do?", "--json", "--explain"],
        ["search", "p.yaml", "kettle"],
        ["search", "p.yaml", "kettle", "--explain"],
        ["search", "p.yaml", "kettle", "--json"],
        ["remove", "p.yaml", "docs", "--dry-run"],
    ],
)
def test_nothing_in_documents_acts(hostile, args):
    fovea(hostile, "ingest", "p.yaml", "docs", code=1)
    done = fovea(hostile, *args)
    assert quiet(done.stdout + done.stderr)
    assert "tea\\n\\x1b[31m.md" in done.stdout or "tea\\n\\u001b[31m.md" in done.stdout
    if "--json" in args:
        assert json.loads(done.stdout)


def test_nothing_in_names_and_errors_acts(hostile):
    done = fovea(hostile, "ingest", "p.yaml", "docs", code=1)
    assert quiet(done.stdout + done.stderr)
    assert "bad\\x1b[5m.jsonl" in done.stderr
    for options in ([], ["--all"], ["--json"]):
        assert quiet(fovea(hostile, "status", "p.yaml", *options, code=1).stdout)
    (hostile / "docs" / NAME).unlink()
    assert "gone, and still answering: docs/tea\\n" in fovea(hostile, "status", "p.yaml", code=1).stdout
    done = fovea(hostile, "remove", "p.yaml", "docs/\x1b[31m", code=2)
    assert quiet(done.stderr)


def test_each_warning_is_printed_once_with_its_count(here):
    for i in range(5):
        (here / "docs" / f"{i}.jsonl").write_text('{"text": "A text with \\u0000 in it."}\n')
    done = fovea(here, "ingest", "p.yaml", "docs")
    assert (done.stdout + done.stderr).count("no store can keep") == 1
    assert "replaced by U+FFFD (5 times)" in done.stdout


def test_a_warning_that_no_report_shows_is_printed_at_the_end(here):
    fovea(here, "ingest", "p.yaml", "docs")
    (here / "p.yaml").write_text((here / "p.yaml").read_text().replace("max_tokens: 14", "max_tokens: 40"))
    said = "sources were taken in with other settings (segment) than the pipeline has now"
    done = fovea(here, "search", "p.yaml", "moon")
    assert done.stderr == f"warning: {said}: fovea ingest takes their files again (3 times)\n"
    assert f"{said}: fovea ingest takes their files again (3 times)" in fovea(here, "ask", "p.yaml", "moon").stderr
    assert f"3 {said}" in fovea(here, "status", "p.yaml").stdout
    assert json.loads(fovea(here, "status", "p.yaml", "--json").stdout)["settings"] == ["segment"]


def test_an_empty_folder_is_an_error_with_the_flag_that_forgets(here):
    fovea(here, "ingest", "p.yaml", "docs")
    os.rename(here / "docs", here / "away")
    (here / "docs").mkdir()
    done = fovea(here, "ingest", "p.yaml", "docs", code=1)
    assert "is empty, and the store has 3 sources from it" in done.stderr
    assert "--forget" in done.stderr
    assert "3 moved" in fovea(here, "ingest", "p.yaml", "away").stdout


def test_what_moved_in_part_is_said_with_the_command(here):
    fovea(here, "ingest", "p.yaml", "docs")
    os.rename(here / "docs", here / "away")
    (here / "away" / "tea.md").unlink()
    done = fovea(here, "ingest", "p.yaml", "away")
    assert "2 moved" in done.stdout
    assert "1 other sources have no file any more" in done.stdout
    assert "fovea remove p.yaml docs" in fovea(here, "status", "p.yaml").stdout
    assert fovea(here, "remove", "p.yaml", "docs").stdout == "docs/tea.md\n1 removed\n"


@pytest.mark.parametrize("verb", [["ingest"], ["remove"]])
def test_a_name_that_is_too_long_is_a_message(here, verb):
    fovea(here, "ingest", "p.yaml", "docs")
    done = fovea(here, *verb, "p.yaml", "x" * 5000, code=1 if verb == ["ingest"] else 2)
    assert "xxx" in done.stderr
    assert "xxx" in fovea(here, "check", "y" * 300 + "xxx.yaml", code=2).stderr


def test_an_empty_store_is_an_error(here):
    (here / "docs2").mkdir()
    (here / "docs2" / "a.jsonl").write_text("{\n")
    fovea(here, "ingest", "p.yaml", "docs2", code=1)
    for verb in ("ask", "search"):
        done = fovea(here, verb, "p.yaml", "moon", code=1)
        assert "nothing is in the store: 1 source could not be read" in done.stderr
        assert "fovea status" in done.stderr
        assert done.stdout == ""
