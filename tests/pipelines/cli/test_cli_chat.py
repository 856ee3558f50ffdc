"""`fovea chat`: questions one after another, as a person asks them and as a program pipes them."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys

import pytest

from fovea.pipelines.cli.main import main
from tests.command import process

PIPELINE = "encoder: {use: hash}\nsegment: {use: sentence, max_tokens: 14}\nstore: {use: embedded, path: .fovea/mine}\n"
ASKED = "How long is the Danube?\nHow many countries does it flow through?\n/sources\n/new\n\n/sorces\nWho was on it?\n"


@pytest.fixture
def here(tmp_path, docs, monkeypatch):
    (tmp_path / "p.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    assert main(["ingest", "p.yaml", "docs", "--quiet"]) == 0
    return tmp_path


def chat(monkeypatch, capsys, said: str, *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    capsys.readouterr()
    code = main(["chat", "p.yaml", *args])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_lines_are_answered_with_what_was_said_before(here, monkeypatch, capsys):
    code, out, err = chat(monkeypatch, capsys, ASKED)
    assert code == 0
    assert "(asked: How many countries does Danube flow through?)" in out
    assert "The Danube flows through ten countries." in out
    assert "docs/sub/rivers.txt:" in out
    assert "\n1. docs/" in out, "/sources shows the passages"
    assert "a new conversation" in err
    assert "unknown command /sorces; a question a line" in err
    assert out.count("(asked:") == 1, "after /new, nothing was said before"


def test_json_is_a_line_an_answer(here, monkeypatch, capsys):
    code, out, _ = chat(monkeypatch, capsys, "How long is the Danube?\nAnd the Nile?\n", "--json")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert not [stage for stage in first["trace"]["stages"] if stage["name"] == "rewrite"]
    [stage] = [stage for stage in second["trace"]["stages"] if stage["name"] == "rewrite"]
    assert stage["notes"]["rewritten"] == "How long is the Nile?"


def test_a_question_that_fails_is_said_and_the_next_is_answered(here, monkeypatch, capsys):
    code, out, err = chat(monkeypatch, capsys, "x" * 30_000 + "\nHow hot is green tea brewed?\n")
    assert code == 2
    assert "the question has 30,000 characters" in err
    assert "80 degrees" in out
    code, out, _ = chat(monkeypatch, capsys, "x" * 30_000 + "\nHow hot is green tea brewed?\n", "--json")
    failed, answered = map(json.loads, out.splitlines())
    assert (code, failed["exit_code"]) == (2, 2)
    assert "80 degrees" in answered["text"]


def test_explain_and_quiet(here, monkeypatch, capsys):
    _, out, _ = chat(monkeypatch, capsys, "How long is the Danube?\nAnd the Nile?\n", "--explain", "--quiet")
    assert out.count("why these chunks:") == 2
    assert "(asked:" not in out


def test_an_empty_store_is_said_at_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "p.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    code, out, err = chat(monkeypatch, capsys, "Who?\n")
    assert (code, out) == (1, "")
    assert "fix:" in err


def test_hostile_text_does_nothing_to_the_terminal(here, monkeypatch, capsys):
    (here / "docs" / "evil.txt").write_text("The \x1b[31mkettle\x07 boils at 100 degrees.\n")
    assert main(["ingest", "p.yaml", "docs", "--quiet"]) == 0
    for args in ([], ["--json"], ["--explain"]):
        _, out, _ = chat(monkeypatch, capsys, "At how many degrees does the kettle boil?\n/sources\n", *args)
        assert "kettle" in out
        assert "\x1b" not in out
        assert "\x07" not in out


def test_piped_it_ends_with_the_pipe(here):
    done = process(here, "chat", "p.yaml", code=0)
    assert done.stdout == ""


def test_a_person_sees_the_answer_as_it_comes_and_ends_with_ctrl_d(here):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fovea", "chat", "p.yaml"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=here, start_new_session=True
    ) as running:
        os.close(theirs)
        heard = until(ours, b"? ")
        assert b"ctrl-D ends" in heard
        os.write(ours, b"How many countries does the Danube flow through?\n")
        heard = until(ours, b"\n? ")
        assert b"ten countries." in heard
        assert b"- docs/sub/rivers.txt:" in heard
        os.write(ours, b"\x04")
        try:
            while select.select([ours], [], [], 60)[0] and os.read(ours, 4096):
                pass
        except OSError:  # the terminal is gone with the process
            pass
        assert running.wait(10) == 0
    os.close(ours)


def test_ctrl_c_at_the_prompt_drops_the_line(here, monkeypatch, capsys):
    """As in a shell: it is no end, and nothing is said to be interrupted."""
    lines = iter([KeyboardInterrupt, "How many countries does the Danube flow through?", KeyboardInterrupt, EOFError])

    def typed(prompt: str) -> str:
        line = next(lines)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main(["chat", "p.yaml"]) == 0
    out = capsys.readouterr()
    assert "ten countries." in out.out
    assert "interrupted" not in out.out + out.err


def until(terminal: int, end: bytes) -> bytes:
    heard = b""
    while not heard.replace(b"\r", b"").endswith(end):
        assert select.select([terminal], [], [], 60)[0], heard
        heard += os.read(terminal, 4096)
    return heard
