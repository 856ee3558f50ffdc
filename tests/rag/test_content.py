"""Models are known by what their files hold, and what lies in memory is let go when the files change."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fovea.rag.content import content_of, state_of
from fovea.rag.trained import load, save


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "lm"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"one")
    return folder


def rewritten(path, content):
    """Changed in place, its size and time as they were."""
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "model.gguf", "chat_template.jinja", "additional_chat_templates/tool.jinja", "code.py"],
)
def test_every_file_that_decides_is_a_part_of_it(model, name):
    path = model / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"one")
    first, state = content_of(str(model)), state_of(model)
    assert (content_of(str(model)), state_of(model)) == (first, state)
    rewritten(path, b"two")
    assert content_of(str(model)) != first
    assert state_of(model) != state
    rewritten(path, b"one")
    assert content_of(str(model)) == first


def test_what_is_only_read_by_people_is_none(model):
    first = content_of(str(model))
    (model / "README.md").write_text("new")
    assert content_of(str(model)) == first


def test_a_copy_of_a_folder_is_the_same_model(model, tmp_path):
    first = content_of(str(model))
    model.rename(tmp_path / "other")
    assert content_of(str(tmp_path / "other")) == first
    assert content_of(str(model)) == str(model), "one that is not there goes by its name"


def test_weights_that_change_in_place_are_read_again(tmp_path):
    pytest.importorskip("safetensors", reason="needs fovea-rag[onnx]")
    path, about = tmp_path / "weights.safetensors", {"method": "mine"}
    save(path, {"a": np.zeros(4, np.float32)}, about)
    first = load(str(path), "mine")
    assert load(str(path), "mine") is first
    other = tmp_path / "other.safetensors"
    save(other, {"a": np.ones(4, np.float32)}, about)
    rewritten(path, other.read_bytes())
    again = load(str(path), "mine")
    assert again.digest != first.digest
    assert again.arrays["a"].tolist() == [1, 1, 1, 1]
