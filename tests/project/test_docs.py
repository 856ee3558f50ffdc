"""What we show runs: every notebook, and every snippet of the README."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.rag.models import find
from tests.command import fovea
from tests.conftest import ROOT

needs_minilm = pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")


SMOLLM2 = find("smollm2")
"""In the user's cache; tests have one of their own otherwise."""
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
IN_JUPYTER = ROOT / "notebooks" / "02_where_topics_end.ipynb"
"""The one that takes least: a kernel of its own imports everything anew."""
ENCODES_ALL = ROOT / "notebooks" / "01_first_answer.ipynb"


def few(folder: Path) -> Path:
    """A folder whose examples are two documents: encoding all takes half a minute, and proves the same."""
    (folder / "examples" / "library").mkdir(parents=True)
    for name in ("wal.html", "limits.md"):
        (folder / "examples" / "library" / name).symlink_to(ROOT / "examples" / "library" / "sqlite" / name)
    return folder


@needs_minilm
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path != IN_JUPYTER], ids=lambda p: p.name)
def test_every_notebook_runs(path, monkeypatch, tmp_path):
    """Cell by cell, in this process, which has what they import; of Jupyter they use nothing but what displays."""
    import nbformat

    if "smollm2" in path.read_text("utf-8"):
        if SMOLLM2 is None:
            pytest.skip("needs the model: fovea models get smollm2")
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / SMOLLM2.path.name).symlink_to(SMOLLM2.path)
        monkeypatch.setenv("FOVEA_CACHE", str(tmp_path))

    monkeypatch.chdir(few(tmp_path) if path == ENCODES_ALL else ROOT)
    notebook, names = nbformat.read(path, as_version=4), {"__name__": "__main__"}
    assert all(not cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path.name}, cell {number}", "exec"), names)


@needs_minilm
def test_a_notebook_runs_in_jupyter():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(IN_JUPYTER, as_version=4)
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
    for line in "".join(shell).splitlines():
        if line.startswith("fovea "):
            fovea(desk, *shlex.split(line, comments=True)[1:])
    for text in python:
        exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})
    installed = subprocess.run([Path(sys.executable).with_name("fovea"), "docs"], capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr


def test_every_path_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_make_targets_the_readme_names_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)`?", (ROOT / "README.md").read_text("utf-8"))) <= targets
