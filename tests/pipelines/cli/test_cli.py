"""The command line, as a person uses it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from fovea.pipelines.cli.main import VERBS, main
from fovea.pipelines.spec import yaml_source
from tests.command import fovea, process

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


def test_from_nothing_to_an_answer(tmp_path, docs):
    fovea(tmp_path, "init", "qa.yaml")
    text = (tmp_path / "qa.yaml").read_text()
    model = "  use: sentence_transformer\n  model: sentence-transformers/all-MiniLM-L6-v2\n"
    assert model in text
    (tmp_path / "qa.yaml").write_text(text.replace(model, "  use: hash\n"))
    assert "fine" in fovea(tmp_path, "check", "qa.yaml").stdout
    assert "3 added" in process(tmp_path, "ingest", "qa.yaml", "docs/").stdout
    answer = process(tmp_path, "ask", "qa.yaml", "Who walked on it in 1969?").stdout
    assert "Armstrong" in answer
    assert "docs/moon.txt:" in answer
    assert "generate extractive" not in answer
    explained = fovea(tmp_path, "ask", "qa.yaml", "Who walked on it in 1969?", "--explain").stdout
    assert "generate extractive" in explained
    assert "the store is whole" in fovea(tmp_path, "check", "qa.yaml").stdout
    assert "3 unchanged" in fovea(tmp_path, "ingest", "qa.yaml", "docs/").stdout


def test_init_never_overwrites(here):
    done = process(here, "init", "p.yaml", code=2)
    assert done.stderr == "p.yaml exists already\n  fix: name another file, or remove this one\n"
    assert (here / "p.yaml").read_text() == PIPELINE
    assert not (here / "fovea.schema.json").exists()
    (here / "fovea.schema.json").write_text("mine")
    done = fovea(here, "init", "q.yaml")
    assert "kept fovea.schema.json, which was there" in done.stdout
    assert (here / "fovea.schema.json").read_text() == "mine"


def test_init_writes_the_schema_that_its_first_line_names_and_keys_that_editors_complete(tmp_path):
    said = fovea(tmp_path, "init", "sub.yaml").stdout
    assert "wrote sub.yaml" in said
    assert "wrote fovea.schema.json" in said
    text = (tmp_path / "sub.yaml").read_text()
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", text.partition("\n")[0])[1]
    schema = json.loads((tmp_path / named).read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml_source.parse(text).data)
    assert not re.search(r"^[^#]*[{]", text, re.MULTILINE), "editors complete no keys in flow style"


def test_the_example_is_ingested_asked_and_measured(tmp_path):
    fovea(tmp_path, "init", "--example", "ex")
    yaml = tmp_path / "ex" / "example.yaml"
    yaml.write_text(
        yaml.read_text().replace(
            "  use: sentence_transformer\n  model: sentence-transformers/all-MiniLM-L6-v2\n", "  use: hash\n"
        )
    )
    assert "8 added" in fovea(tmp_path, "ingest", "ex/example.yaml", "ex/library", "--quiet").stdout
    out = fovea(tmp_path, "eval", "ex/example.yaml", "ex/questions.jsonl", "--metrics", "R@5", "--quiet").stdout
    assert "R@5" in out


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
    out = process(here, "search", "p.yaml", "-", "--explain", stdin="Which river is longer?").stdout
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


def test_doctor_says_the_rest_where_something_is_wrong(here):
    (here / "p.yaml").write_text(
        PIPELINE + 'refine: {use: reranker}\ngenerate: {use: chat, model: "${NOT_SET_HERE}"}\nk: many\n'
    )
    done = fovea(here, "doctor", "p.yaml", code=1)
    for line in ("encoder", "segment", "pool", "store", "refine"):
        assert re.search(rf"^{line}\S* +\w+: ", done.stdout, re.MULTILINE), line
    assert "reranker: MISSING, see below" in done.stdout
    assert "problem: p.yaml:6:30: the environment variable NOT_SET_HERE is not set" in done.stdout
    assert "problem: p.yaml:7:4: k: input should be a valid integer" in done.stdout
    (here / "p.yaml").write_text("segment: [\n")
    done = fovea(here, "doctor", "p.yaml", code=1)
    assert "problem: p.yaml:2:1: not YAML" in done.stdout
    assert "sqlite" in done.stdout
    assert "problem: there is no file none.yaml" in fovea(here, "doctor", "none.yaml", code=1).stdout


def test_docs_are_printed_and_named(here):
    assert fovea(here, "docs", "sweep").stdout.startswith("# Sweep")
    assert "did you mean 'sweep'?" in fovea(here, "docs", "swep", code=2).stderr
    assert "sweep.md" in fovea(here, "docs", "sweep", "--path").stdout


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


@pytest.mark.parametrize("name", ['a: b "c" {d}', "true", "x/../y", "# no", "naïve é", "it's"])
def test_init_writes_a_file_that_can_be_read_whatever_the_name(name):
    from fovea.pipelines.cli.init import template

    data = yaml_source.parse(template(Path("my file.yaml"), name)).data
    assert data["name"] == name
    assert "/" not in data["store"]["path"].removeprefix(".fovea/")


@pytest.mark.parametrize("verb", [("status", "p.yaml"), ("ask", "p.yaml", "tea"), ("search", "nope.yaml", "tea")])
def test_an_error_is_json_too_where_json_was_asked_for(here, verb, capsys, monkeypatch):
    monkeypatch.chdir(here)
    code = main([*verb, "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": err.rstrip("\n"), "exit_code": code}
    assert code in (1, 2)
