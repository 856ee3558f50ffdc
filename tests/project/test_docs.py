"""What we show runs: every notebook, and every snippet of the README."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.rag.models import find
from tests.conftest import ROOT

needs_minilm = pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")


@needs_minilm
@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda p: p.name)
def test_every_notebook_runs(path, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT}}).execute()


def fences(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def desk(tmp_path, docs):
    """A folder like a newcomer's: documents, and nothing else."""
    (tmp_path / "handbook").symlink_to(docs)
    return tmp_path


@needs_minilm
def test_every_readme_snippet_runs(desk, monkeypatch):
    """In order, in one folder: YAML is saved as the name in its first line, shell and Python are run."""
    shell, python, yaml = fences("sh"), fences("python"), fences("yaml")
    assert shell
    assert python
    assert yaml
    for text in yaml:
        (desk / re.match(r"# (\S+)", text).group(1)).write_text(text)
    monkeypatch.chdir(desk)
    env = {**os.environ, "FOVEA_OFFLINE": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in "".join(shell).splitlines():
        if line.startswith("fovea "):
            done = subprocess.run(shlex.split(line, comments=True), capture_output=True, text=True, env=env)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    for text in python:
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=env)
        assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_every_path_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_make_targets_the_readme_names_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)`?", (ROOT / "README.md").read_text("utf-8"))) <= targets
