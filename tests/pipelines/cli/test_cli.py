"""The command line, as a person uses it: in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from fovea.pipelines.cli.main import VERBS

PIPELINE = """\
name: mine
encoder: {use: hash}
segment: {use: sentence, max_tokens: 14}
store: {use: embedded, path: .fovea/mine}
"""


@pytest.fixture
def here(tmp_path, docs):
    (tmp_path / "p.yaml").write_text(PIPELINE)
    return tmp_path


def fovea(cwd, *args, code=0, stdin=None, **env):
    done = subprocess.run(
        [sys.executable, "-m", "fovea.pipelines.cli.main", *args], cwd=cwd, capture_output=True, text=True, input=stdin,
        env={**os.environ, "PYTHONUTF8": "1", **env},
    )  # fmt: skip
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def test_from_nothing_to_an_answer(tmp_path, docs):
    fovea(tmp_path, "init", "qa.yaml")
    text = (tmp_path / "qa.yaml").read_text().replace(
        "{use: sentence_transformer, model: sentence-transformers/all-MiniLM-L6-v2}", "{use: hash}")  # fmt: skip
    (tmp_path / "qa.yaml").write_text(text)
    assert "fine" in fovea(tmp_path, "check", "qa.yaml").stdout
    assert "3 added" in fovea(tmp_path, "ingest", "qa.yaml", "docs/").stdout
    answer = fovea(tmp_path, "ask", "qa.yaml", "Who walked on it in 1969?").stdout
    assert "Armstrong" in answer
    assert "docs/moon.txt:" in answer
    assert "generate extractive" in answer
    assert "the store is whole" in fovea(tmp_path, "check", "qa.yaml").stdout
    assert "3 unchanged" in fovea(tmp_path, "ingest", "qa.yaml", "docs/").stdout


def test_init_never_overwrites(here):
    done = fovea(here, "init", "p.yaml", code=2)
    assert done.stderr == "p.yaml exists already\n  fix: name another file, or remove this one\n"
    assert (here / "p.yaml").read_text() == PIPELINE


def test_json_is_json_and_has_exact_spans(here):
    fovea(here, "ingest", "p.yaml", "docs", "--quiet")
    answer = json.loads(fovea(here, "ask", "p.yaml", "How is green tea brewed?", "--json", "--explain").stdout)
    for citation in answer["citations"]:
        text = (here / citation["source"]).read_text()
        assert text[citation["start"] : citation["end"]] == citation["quote"]
    assert answer["explain"]
    assert {"name", "seconds", "counts"} <= set(answer["trace"]["stages"][0])
    hits = json.loads(fovea(here, "search", "p.yaml", "Danube", "-k", "2", "--json").stdout)["hits"]
    assert len(hits) == 2
    status = json.loads(fovea(here, "status", "p.yaml", "--json").stdout)
    assert {s["name"] for s in status["sources"]} == {"docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"}


def test_search_explains_and_reads_the_question_from_standard_input(here):
    fovea(here, "ingest", "p.yaml", "docs")
    out = fovea(here, "search", "p.yaml", "-", "--explain", stdin="Which river is longer?").stdout
    assert "docs/sub/rivers.txt" in out
    assert "why these chunks:" in out


def test_a_failed_file_gives_exit_1_a_reason_and_a_way_on(here):
    (here / "docs" / "bad.jsonl").write_text("{\n")
    done = fovea(here, "ingest", "p.yaml", "docs", code=1)
    assert "3 added" in done.stdout
    assert "bad.jsonl" in done.stderr
    assert "fovea retry p.yaml" in done.stderr
    assert "bad.jsonl" in fovea(here, "status", "p.yaml", code=1).stdout
    (here / "docs" / "bad.jsonl").write_text('{"text": "Mended."}\n')
    assert "1 changed" in fovea(here, "retry", "p.yaml").stdout
    assert "0 failed" in fovea(here, "status", "p.yaml").stdout


def test_remove_and_rebuild(here):
    fovea(here, "ingest", "p.yaml", "docs")
    assert fovea(here, "remove", "p.yaml", "docs/tea.md").stdout == "1 removed\n"
    assert "rebuilt" in fovea(here, "rebuild", "p.yaml").stdout
    assert "docs/tea.md" not in fovea(here, "status", "p.yaml", "--all").stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["ask", "none.yaml", "x"], 2, "there is no file none.yaml\n  fix: fovea init none.yaml"),
        (["ask", "p.yaml", ""], 2, "the question is empty"),
        (["ask", "p.yaml", "moon"], 1, "fovea ingest"),
        (["ask", "p.yaml", "moon", "--where", "year >"], 2, "cannot read the filter"),
        (["ask", "p.yaml", "moon", "-k", "0"], 2, "expected a number from 1"),
        (["ingest", "p.yaml", "dcs"], 1, "/docs?"),
        (["status", "p.yaml"], 1, "fovea ingest"),
        (["chek", "p.yaml"], 2, "invalid choice: 'chek'"),
    ],
)
def test_mistakes_are_named_and_exit_not_0(here, args, code, message):
    assert message in fovea(here, *args, code=code).stderr


def test_bad_yaml_has_file_line_and_column(here):
    (here / "p.yaml").write_text(PIPELINE + "retrieve:\n  - {use: dens}\n")
    done = fovea(here, "check", "p.yaml", code=2)
    assert done.stderr.startswith("p.yaml:6:11: retrieve[0]: unknown retriever 'dens'\n")
    assert "did you mean 'dense'?" in done.stderr


def test_schema_and_doctor_are_json(here):
    assert json.loads(fovea(here, "schema").stdout)["title"] == "Fovea pipeline"
    fovea(here, "ingest", "p.yaml", "docs")
    doctor = json.loads(fovea(here, "doctor", "p.yaml", "--json").stdout)
    assert doctor["problems"] == []
    assert doctor["facts"]["encoder"].startswith("hash: 256 dimensions")
    assert "store" in doctor["facts"]


def test_help_names_every_verb_and_imports_little():
    code = (
        "import sys, contextlib, io\nfrom fovea.pipelines.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out: main(['--help'])\n"
        "print(out.getvalue()); print('MODULES', *sys.modules)"
    )
    out, _, modules = subprocess.check_output([sys.executable, "-c", code], text=True).partition("MODULES")
    assert all(verb in out for verb in VERBS)
    assert not {"pydantic", "yaml", "numpy", "rich", "torch"} & set(modules.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    from fovea.pipelines.cli.main import main

    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])
    assert done.value.code == 0
    assert verb in capsys.readouterr().out
