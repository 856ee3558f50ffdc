"""`fovea heads`, and what `ask --explain` says of where a local model looked."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from fovea.attention_retrieval.heads.table import ROWS
from fovea.pipelines.answering import probing
from fovea.pipelines.cli.main import main
from tests.conftest import TEXTS
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096, template=TEMPLATE)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probing, "PROBES", 2)
    probing.digest.cache_clear()
    yield tmp_path / "cache"
    probing.digest.cache_clear()


def test_a_table_is_made_and_then_found(model, cache, capsys):
    assert main(["heads", model, "--top", "2", "--quiet"]) == 0
    made = capsys.readouterr().out.splitlines()
    assert made[0].startswith(f"{model}: made in ")
    assert [line.split()[0] for line in made[1:]] == ["question", "answer"]
    assert main(["heads", model, "--top", "2"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found[0].startswith(f"{model}: found in ")
    assert found[1:] == made[1:]
    (file,) = (cache / "heads").iterdir()
    said = json.loads(file.read_text())
    assert main(["heads", model, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["scores"] == said["scores"]
    assert plain["identity"] == said["model"]
    assert plain["made"] is False
    assert len(plain["strongest"]["answer"]) == 8


@pytest.mark.parametrize("kind", ["copy", "repeats", "duo", "influence"])
def test_what_else_heads_are_asked_is_another_table(model, cache, capsys, kind):
    assert main(["heads", model, "--kind", kind, "--quiet"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]} == ROWS[kind]
    assert [path.name.rpartition("-")[2] for path in (cache / "heads").iterdir()] == [f"{kind}.json"]
    assert main(["heads", model, "--kind", kind]) == 0
    assert "found in" in capsys.readouterr().out


def test_what_cannot_be_kept_or_loaded_is_a_message(model, cache, capsys):
    cache.mkdir()
    (cache / "heads").write_text("in the way")
    assert main(["heads", model, "--quiet"]) == 2
    assert "the table of heads cannot be kept" in capsys.readouterr().err
    assert main(["heads", "./nowhere"]) == 1
    assert "there is no model folder" in capsys.readouterr().err


def ask(tmp_path, capsys, *options: str, generate: str) -> str:
    path = tmp_path / "p.yaml"
    lines = ["name: p", "encoder: {use: hash}", "segment: {use: sentence}", "retrieve: [{use: dense}]"]
    path.write_text("\n".join([*lines, "store: {use: embedded, path: store}", f"generate: {generate}", ""]))
    assert main(["ingest", str(path), str(tmp_path / "docs"), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["ask", str(path), "How hot is green tea?", "-k", "2", "--explain", *options]) == 0
    return capsys.readouterr().out


def test_explain_shows_where_a_local_model_looked(model, docs, tmp_path, capsys):
    generate = f"{{use: transformers, model: {model}, max_new_tokens: 12}}"
    out = ask(tmp_path, capsys, generate=generate)
    assert "where the model looked (share of its attention" in out
    assert "  the question\n    0." in out
    answer = json.loads(ask(tmp_path, capsys, "--json", generate=generate))
    assert answer["looks"][0]["said"] == "How hot is green tea?"
    assert [look["said"] for look in answer["looks"][1:]] == [s["text"] for s in answer["sentences"]]
    for look in answer["looks"]:
        for place in [*look["sentences"], *look["phrases"]]:
            text = next(text for name, text in TEXTS.items() if place["source"].endswith(name))
            assert text[place["start"] : place["end"]] == place["text"]


def test_explain_without_a_local_model_says_nothing_of_it(docs, tmp_path, capsys):
    assert "where the model looked" not in ask(tmp_path, capsys, generate="{use: extractive}")


def test_a_model_that_cannot_be_looked_at_still_answers(model, docs, tmp_path, capsys, monkeypatch):
    from fovea.pipelines.answering import looks
    from fovea.rag.errors import ModelError

    def refused(*_):
        raise ModelError("it is not a softmax")

    monkeypatch.setattr(looks, "looks", refused)
    out = ask(tmp_path, capsys, generate=f"{{use: transformers, model: {model}, max_new_tokens: 12}}")
    assert "where the model looked is not known: it is not a softmax" in out
    assert "why these chunks:" in out
