"""What is shipped is whole, small, described, and lives beside whatever a user's project and environment hold."""

import json
import re
import subprocess
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project.conftest import foreign, pip, run, unpack

ROOMS = ("rag", "segmenters", "retrievers", "attention_retrieval", "pipelines")
MEGABYTE = 1_000_000


def names(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def metadata(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
    return Parser().parsestr(archive.read(name).decode("utf-8"))


def test_the_wheel_of_the_source_distribution_is_that_of_the_checkout(built):
    assert names(built.from_sdist) == names(built.wheel)


def test_the_wheel_holds_every_file_of_the_rooms_and_no_top_level_name_but_ours(built):
    listed = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout, which alone says what belongs to it")
    found = names(built.wheel)
    assert {f"fovea/{name}" for name in listed.stdout.split()} <= found
    assert {name.partition("/")[0] for name in found} == {"fovea"}


def test_sizes(built):
    """Of either, five megabytes are the weights that ship; the testbed's, twice that, stay out."""
    assert built.wheel.stat().st_size < 7.3 * MEGABYTE
    assert built.sdist.stat().st_size < 7.6 * MEGABYTE
    with tarfile.open(built.sdist) as archive:
        largest = max(archive, key=lambda member: member.size)
        assert largest.size < 1.5 * MEGABYTE, largest.name
        assert not any(member.issym() for member in archive)


def test_the_page_on_an_index_has_no_link_that_needs_the_repository(built):
    text = metadata(built.wheel).get_payload()
    relative = [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith(("https://", "#"))]
    assert not relative, "the README's own links are rewritten by pyproject.toml"
    assert "](docs/" in (ROOT / "README.md").read_text(encoding="utf-8"), "nothing was there to rewrite"
    pages = set(re.findall(r"`fovea docs (\w+)`", text))
    assert pages
    assert {f"fovea/docs/{page}.md" for page in pages} <= names(built.wheel)


@pytest.fixture
def project(tmp_path):
    """A user's folder with packages of our rooms' names, which nobody but the user may import."""

    def make(with_init: bool) -> Path:
        for room in ROOMS:
            (tmp_path / room).mkdir()
            (tmp_path / room / "mine.py").write_text("OWNER = 'the user'\n")
            if with_init:
                (tmp_path / room / "__init__.py").write_text("OWNER = 'the user'\n")
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "moon.md").write_text("# Moon\n\nNeil Armstrong walked on the Moon in 1969.\n")
        (tmp_path / "p.yaml").write_text("encoder: hash\n")
        return tmp_path

    return make


@pytest.mark.parametrize(("with_init", "path"), [(True, "."), (False, "")])
def test_a_project_with_folders_of_our_rooms_names_works(bare, project, with_init, path):
    here, fovea = project(with_init), bare.with_name("fovea")
    env = {"PYTHONPATH": path} if path else {}
    code = (
        "from fovea import Pipeline\nimport fovea, pipelines.mine, rag.mine\n"
        "assert rag.mine.OWNER == pipelines.mine.OWNER == 'the user'\n"
        "Pipeline.from_yaml('p.yaml').ingest('docs')\nprint(fovea.__version__)"
    )
    version = run(bare, "-c", code, cwd=here, **env).strip()
    assert run(fovea, "--version", cwd=here, **env) == f"fovea {version}\n"
    assert run(bare, "-m", "fovea", "--version", cwd=here, **env) == f"fovea {version}\n"
    assert "1 unchanged" in run(bare, "-m", "fovea", "ingest", "p.yaml", "docs", cwd=here, **env)
    assert "Armstrong" in run(fovea, "ask", "p.yaml", "Who walked on the Moon?", cwd=here, **env)


def test_distributions_of_our_rooms_names_lie_beside_ours(built, beside, project, tmp_path):
    """Whichever came first: no file of theirs is one of ours, which have one top-level name."""
    here, python = project(False), beside()
    theirs = [
        foreign(tmp_path, name, {f"{name}/__init__.py": f"OWNER = '{name}'\n", f"{name}/types.py": ""})
        for name in ("rag", "pipelines", "retrievers")
    ]
    unpack(python, *theirs)
    pip(python, "install", "-q", "--no-compile", "--no-deps", built.wheel)
    code = (
        "import rag, pipelines, retrievers\nfrom fovea import Pipeline\n"
        "assert (rag.OWNER, pipelines.OWNER, retrievers.OWNER) == ('rag', 'pipelines', 'retrievers')\n"
        "import fovea.rag.registry as r; assert len(r.kinds()) > 8"
    )
    run(python, "-c", code, cwd=tmp_path / "docs")
    assert "1 " in run(python.with_name("fovea"), "ingest", "p.yaml", "docs", cwd=here)
    assert run(python.with_name("fovea"), "doctor", cwd=tmp_path / "docs").count("problem") == 0


def test_the_other_project_called_fovea_is_found_out_with_what_mends_it(built, beside, tmp_path):
    """Whichever came last, and wrote over what both have."""
    python = beside()
    theirs = foreign(tmp_path, "fovea", {"fovea/__init__.py": "OTHER = True\n", "fovea/other.py": ""})
    for wheels in ((theirs, built.wheel), (built.wheel, theirs)):
        unpack(python, *wheels)
        said = run(python, "-m", "fovea", "doctor", cwd=tmp_path, code=1)
        assert (
            "problem: the package 'fovea' is also installed by fovea, another project: one overwrites the other" in said
        )
        assert "fix: pip uninstall -y fovea && pip install --force-reinstall --no-deps fovea-rag" in said
    pip(python, "uninstall", "-q", "-y", "fovea")
    pip(python, "install", "-q", "--no-compile", "--force-reinstall", "--no-deps", built.wheel)
    assert "problem" not in run(python, "-m", "fovea", "doctor", cwd=tmp_path)


def test_an_editable_install_is_this_tree_from_anywhere(beside, tmp_path):
    python = beside()
    pip(python, "install", "-q", "--no-compile", "--no-deps", "-e", ROOT)
    code = "import fovea.pipelines.pipeline as p; from fovea import Pipeline; print(p.__file__)"
    assert Path(run(python, "-c", code, cwd=tmp_path).strip()).resolve() == ROOT / "pipelines" / "pipeline.py"
    assert "segmenters" in run(python.with_name("fovea"), "docs", cwd=tmp_path)


def test_documentation_and_examples_come_with_the_wheel(bare, tmp_path):
    fovea = bare.with_name("fovea")
    assert "segmenters" in run(fovea, "docs", cwd=tmp_path)
    assert run(fovea, "docs", "segmenters", cwd=tmp_path) == (ROOT / "docs" / "segmenters.md").read_text("utf-8")
    run(fovea, "init", "--example", "ex", cwd=tmp_path)
    shipped = {p.relative_to(ROOT / "examples").as_posix() for p in (ROOT / "examples" / "library").rglob("*.*")}
    assert shipped <= {p.relative_to(tmp_path / "ex").as_posix() for p in (tmp_path / "ex").rglob("*.*")}
    assert "fine" in run(fovea, "check", "--schema-only", "ex/example.yaml", cwd=tmp_path)
    said = run(fovea, "check", "ex/example.yaml", cwd=tmp_path, code=1)
    assert "ex/example.yaml:" in said
    assert ": encoder: " in said
    assert 'pip install "fovea-rag[' in said
    assert "exists already" in run(fovea, "init", "--example", "ex", cwd=tmp_path, code=2)


def test_doctor_says_all_it_can_without_the_encoder_it_was_run_to_find_out_about(bare, tmp_path):
    fovea = bare.with_name("fovea")
    (tmp_path / "p.yaml").write_text("retrieve: [dense, bm25, bm25s]\nstore: chroma\n")
    report = json.loads(run(fovea, "doctor", "p.yaml", "--json", cwd=tmp_path, code=1))
    facts, problems = report["facts"], "\n".join(report["problems"])
    assert {"fovea", "python", "sqlite", "onnxruntime", "chromadb", "cache", "reads", "gpu", "encoder"} <= set(facts)
    assert facts["encoder"] == "sentence_transformer: MISSING, see below"
    assert facts["retrieve[0]"] == "dense: ready"
    assert facts["retrieve[2]"] == "bm25s: MISSING, see below"
    assert "p.yaml:1:25: retrieve[2]: the retriever 'bm25s' needs the package 'bm25s'" in problems
    assert "p.yaml:2:8: store: the store 'chroma' needs the package 'chromadb'" in problems
    assert 'pip install "fovea-rag[chroma]"' in problems
    text = run(fovea, "doctor", "p.yaml", cwd=tmp_path, code=1)
    assert all(name in text for name in facts)
