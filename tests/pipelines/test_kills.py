"""`kill -9` as a verb enters a system call that writes, at some points; `benchmarks/kills.py` does the same at many."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.at_write import available
from tests.conftest import ROOT

VERBS = "remove (embedded),compact (embedded),models get"


@pytest.mark.skipif(not available(), reason="needs ptrace of Linux on x86-64 or ARM")
def test_what_a_kill_leaves_is_before_or_after_and_the_same_command_goes_on():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "--points", "8", "--seed", "3", "--only", VERBS, "--json"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if "may not trace its own" in done.stderr:
        pytest.skip("ptrace is forbidden here")
    assert done.returncode == 0, done.stderr
    rows = {(row["method"], row["metric"]): row["value"] for row in json.loads(done.stdout)}
    for verb in VERBS.split(","):
        assert rows[verb, "points"] >= 2
        assert rows[verb, "writes"] > 10, "there is something to interrupt"
        assert (rows[verb, "lost"], rows[verb, "unclean"]) == (0, 0), done.stderr


def test_a_fault_is_noticed_by_the_count(tmp_path):
    """What is written in place, and not whole, is found to be lost."""
    if not available():
        pytest.skip("needs ptrace of Linux on x86-64 or ARM")
    code = """
import sys
from pathlib import Path
from benchmarks.kills import Verb, killed
import random

def begin(folder):
    folder.mkdir()
    (folder / "f").write_text("old " * 9)

def work(folder):
    with (folder / "f").open("w") as file:
        for _ in range(9):
            file.write("new ")
            file.flush()

state = lambda folder: ((lambda text: {"f": text})((folder / "f").read_text()), [])
between = lambda before, after, left: left in (before, after)
print(list(killed(Verb("in place", begin, work, state, between), Path(sys.argv[1]), 5, random.Random(0))))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path.resolve())], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if "may not trace its own" in done.stderr:
        pytest.skip("ptrace is forbidden here")
    assert done.returncode == 0, done.stderr
    writes, lost, unclean = json.loads(done.stdout)
    assert (writes, unclean) == (10, 0)
    assert lost >= 4
