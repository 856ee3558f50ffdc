"""The base install is small, and is a whole framework: without any extra it goes from documents to a cited answer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project.conftest import pip

MOST_DISTRIBUTIONS = 15


def run(python, *code, cwd=None):
    done = subprocess.run([python, *code], capture_output=True, text=True, cwd=cwd or python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_base_install_stays_small(bare):
    found = json.loads(pip(bare, "list", "--format=json"))
    names = {d["name"] for d in found} - {"pip", "setuptools"}
    assert len(names) <= MOST_DISTRIBUTIONS, sorted(names)


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
    ("yaml", "extra"),
    [
        ("encoder: hash\nstore: chroma\n", "chroma"),
        ("encoder: hash\nstore: qdrant\n", "qdrant"),
        ("encoder: sentence_transformer\n", ""),
    ],
)
def test_a_missing_extra_is_named_with_its_command(bare, tmp_path, yaml, extra):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("One sentence.\n")
    (tmp_path / "p.yaml").write_text(yaml)
    command = [Path(bare).with_name("fovea"), "ingest", "p.yaml", "docs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert f'pip install "fovea-rag[{extra}' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_packages_that_run_here_are_the_ones_of_this_tree():
    from fovea.rag import registry

    assert Path(registry.__file__).resolve().is_relative_to(ROOT), f"testing {registry.__file__}, with {sys.executable}"
