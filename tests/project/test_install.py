"""Installs are small: the base is a whole framework, and the default encoder needs no torch."""

import json
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project.conftest import pip

MOST_DISTRIBUTIONS = 15
MOST_BYTES = 340_000_000
"""From the wheel to the first cited answer with the default encoder; bytecode and pip are 60 million more."""


@pytest.fixture(scope="module")
def light(built, tmp_path_factory):
    """An environment with what the default encoder runs with, the loaders of documents, and the pip that is here."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder)
    [packages] = folder.glob("lib/*/site-packages")
    (packages / "pip").symlink_to(Path(find_spec("pip").origin).parent)
    pip(folder / "bin" / "python", "install", "-q", "--no-compile", f"{built.wheel}[onnx,files]")
    return folder / "bin" / "python"


def distributions(python: Path) -> set[str]:
    listed = run(
        python, "-c", "import json, importlib.metadata as m; print(json.dumps([d.name for d in m.distributions()]))"
    )
    return {name.lower() for name in json.loads(listed)}


def run(python, *code, cwd=None):
    done = subprocess.run([python, *code], capture_output=True, text=True, cwd=cwd or python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_base_install_stays_small(bare):
    names = distributions(bare) - {"pip", "setuptools"}
    assert len(names) <= MOST_DISTRIBUTIONS, sorted(names)


@pytest.mark.slow
def test_the_default_encoder_answers_without_torch_and_in_little_room(light, tmp_path, monkeypatch):
    """From the wheel: install, fetch the model, ingest, ask."""
    assert not distributions(light) & {"torch", "sentence-transformers", "transformers", "onnx"}
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("FOVEA_OFFLINE", "0")
    fovea = light.with_name("fovea")
    got = subprocess.run([fovea, "models", "get", "minilm"], capture_output=True, text=True)
    if got.returncode and "No matching distribution" in got.stderr:
        pytest.skip("the package index cannot be reached")
    assert got.returncode == 0, got.stderr
    monkeypatch.setenv("FOVEA_OFFLINE", "1")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "moon.md").write_text("# Moon\n\nNeil Armstrong walked on it in 1969. It has no air.\n")
    (tmp_path / "p.yaml").write_text("encoder: {use: sentence_transformer, model: minilm}\n")
    for command in (["ingest", "p.yaml", "docs"], ["ask", "p.yaml", "Who walked on the Moon in 1969?"]):
        done = subprocess.run([fovea, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "docs/moon.md:" in done.stdout
    taken = sum(f.stat().st_size for at in (light.parents[1], tmp_path) for f in at.rglob("*") if not f.is_symlink())
    assert taken <= MOST_BYTES, f"{taken:,} bytes"


def test_every_package_imports_without_extras(bare):
    run(bare, "-c", "import fovea.segmenters, fovea.retrievers, fovea.attention_retrieval, fovea.pipelines.pipeline; "
        "from fovea.rag import registry; assert len(registry.kinds()) >= 8")  # fmt: skip


def test_from_documents_to_an_answer_without_extras(bare, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "moon.md").write_text("# Moon\n\nNeil Armstrong walked on the Moon in 1969. It has no air.\n")
    (tmp_path / "p.yaml").write_text("encoder: hash\n")
    fovea = str(Path(bare).with_name("fovea"))
    subprocess.run([fovea, "ingest", "p.yaml", "docs"], cwd=tmp_path, check=True, capture_output=True)
    out = subprocess.check_output([fovea, "ask", "p.yaml", "Who walked on the Moon?"], cwd=tmp_path, text=True)
    assert "Armstrong" in out
    assert "docs/moon.md:" in out


@pytest.mark.parametrize(
    ("yaml", "fix"),
    [
        ("encoder: hash\nstore: chroma\n", 'pip install "fovea-rag[chroma]"'),
        ("encoder: hash\nstore: qdrant\n", 'pip install "fovea-rag[qdrant]"'),
        ("encoder: hash\nstore: pgvector\n", 'pip install "fovea-rag[pgvector]"'),
        ("encoder: sentence_transformer\n", 'pip install "fovea-rag[onnx]"'),
        ("encoder: {use: sentence_transformer, model: ./here}\n", 'pip install "fovea-rag[onnx]"'),
    ],
)
def test_a_missing_extra_is_named_with_its_command(bare, tmp_path, monkeypatch, yaml, fix):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("One sentence.\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "here" / "tokenizer.json").write_text("{}")
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "p.yaml").write_text(yaml)
    command = [Path(bare).with_name("fovea"), "ingest", "p.yaml", "docs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"fix: {fix}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_packages_that_run_here_are_the_ones_of_this_tree():
    from fovea.rag import registry

    assert Path(registry.__file__).resolve().is_relative_to(ROOT), f"testing {registry.__file__}, with {sys.executable}"
