"""`kill -9` in the middle of `fovea read`, and several processes over one store: nothing stale, lost or left over.

The processes are forked by one that has imported everything and used none of it: each is real, and starts at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

YAML = """
encoder: hash
segment: {use: recursive, max_tokens: 60}
store: {use: embedded, path: store}
generate:
  use: transformers
  model: %s
  read: %s
  max_new_tokens: 4
  instruction: Answer.
  memory: {dtype: int8}
"""
FORKING = """
import contextlib, os, signal
from pathlib import Path
import torch, transformers
import transformers.models.llama.modeling_llama
from fovea.attention_retrieval import hf
from fovea.pipelines import reading
from fovea.pipelines.cli.main import main
from fovea.pipelines.pipeline import Pipeline
from fovea.rag import write_whole

torch.set_num_threads(1)

def start(log, *commands):
    # A process that runs the commands one after another, and notes what they say in the file `log`.
    if pid := os.fork():
        return pid
    code = 1
    with open(log, "a") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for command in commands:
            code = main([*command])
            if code:
                break
    os._exit(code)

def done(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def damaged():
    # Of the values that are there, those that are not whole.
    found = []
    for path in Path("store/read_once").glob("*.cache"):
        try:
            hf.RetrievalCache.load(path)
        except Exception as error:
            found.append(f"{path.name}: {error}")
    return found

"""
BROKEN = """
def killed(n):
    # A process that is killed as it is about to put its n-th file on the disk: a text has three at most.
    flush, left = write_whole.flush, [n]
    def dying(path):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)
    write_whole.flush = dying
    try:
        return done(start("killed.log", ["read", "p.yaml"]))
    finally:
        write_whole.flush = flush

assert done(start("first.log", ["ingest", "p.yaml", "docs"])) == 0
for n in (2, 12):
    assert killed(n) == -signal.SIGKILL
    assert not damaged(), damaged()
Path("docs/03.txt").write_text("All is new. " * 30)
assert done(start("last.log", ["ingest", "p.yaml", "docs"], ["read", "p.yaml"])) == 0
assert not list(Path("store/read_once").glob(".fovea-part-*"))

readers = [start(f"reader{n}.log", ["read", "p.yaml"], ["ask", "p.yaml", "Which boat?"]) for n in range(2)]
for n in range(2):
    for name in ("03", "04"):
        Path(f"docs/{name}.txt").write_text(f"State {n} of {name}. " * 20)
    assert done(start("writer.log", ["ingest", "p.yaml", "docs"])) == 0
codes = [done(pid) for pid in readers]
assert codes == [0, 0], codes
assert done(start("end.log", ["read", "p.yaml"], ["compact", "p.yaml"])) == 0
assert not damaged(), damaged()
assert done(start("clean.log", ["ingest", "whole.yaml", "docs"], ["read", "whole.yaml"])) == 0
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=2048, template=TEMPLATE)


def library(folder: Path, model: str, read: str) -> Path:
    """Small texts, two of them alike and one a letter, to be taken into `store` and into `whole`."""
    (folder / "docs").mkdir(parents=True)
    for n in range(5):
        said = " ".join(f"Boat {n} has mast {each} of {each * n} feet." for each in range(6))
        (folder / "docs" / f"{n:02}.txt").write_text(said)
    (folder / "docs" / "08.txt").write_text("x")
    (folder / "docs" / "09.txt").write_text((folder / "docs" / "00.txt").read_text())
    yaml = YAML % (model, read)
    (folder / "p.yaml").write_text(yaml)
    (folder / "whole.yaml").write_text(yaml.replace("path: store", "path: whole"))
    return folder


def run(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING + BROKEN], cwd=folder, capture_output=True, text=True,
        check=False, env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    logs = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.log")}
    assert done.returncode == 0, (done.stderr, logs)
    assert not [name for name, said in logs.items() if "Traceback" in said or "damaged" in said], logs


def shelf(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store / "read_once").iterdir()}


def assert_same(folder: Path) -> None:
    """What lies there is, byte for byte, what an undisturbed run keeps."""
    mine, clean = shelf(folder / "store"), shelf(folder / "whole")
    assert sorted(mine) == sorted(clean)
    assert [name for name in mine if mine[name] != clean[name]] == []
    sources = {json.loads(said)["source"].split(":")[0] for name, said in mine.items() if name.endswith(".json")}
    assert len(sources) == 7


def test_what_a_kill_leaves_is_whole_and_several_processes_share_it(model, tmp_path):
    folder = library(tmp_path, model, "documents")
    run(folder)
    assert " 0 found" not in (folder / "last.log").read_text()
    assert_same(folder)
