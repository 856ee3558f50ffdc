"""The shelf: values by key under a cap of bytes, whatever dies, fills up or is damaged meanwhile."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fovea.attention_retrieval.memory.shelf import ABANDONED, Shelf
from fovea.rag.errors import ModelError
from fovea.rag.trace import Trace
from tests.conftest import ROOT

ABOUT = {"name": "x"}
SAID = len(json.dumps(ABOUT))


def put(shelf: Shelf, key: str, size: int = 100) -> Path | None:
    return shelf.put(key, lambda path: path.write_bytes(key[:1].encode() * size), ABOUT)


def keys(shelf: Shelf) -> list[str]:
    return [entry.key for entry in shelf.entries()]


def warned(work) -> list[str]:
    trace = Trace()
    with trace.stage("here"):
        work()
    return list(trace.warnings)


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    return Shelf(tmp_path / "shelf", 3 * (100 + SAID))


def test_what_was_put_is_found_with_what_was_said_of_it(shelf):
    assert shelf.find("a") is None
    assert keys(shelf) == []
    assert not shelf.folder.exists()
    path = put(shelf, "a")
    assert shelf.find("a") == path
    assert path.read_bytes() == b"a" * 100
    (entry,) = shelf.entries()
    assert entry.about == ABOUT
    assert entry.bytes == 100 + SAID
    assert keys(Shelf(shelf.folder, shelf.limit)) == ["a"]
    assert sorted(p.name for p in shelf.folder.iterdir()) == ["a.cache", "a.json"]


def test_the_one_not_used_for_longest_goes_first(shelf):
    for key in "abc":
        put(shelf, key)
    shelf.find("a")
    put(shelf, "d")
    assert keys(shelf) == ["c", "a", "d"]
    put(shelf, "e", 200 + SAID)
    assert keys(shelf) == ["d", "e"]


def test_what_is_in_use_stays_and_the_limit_holds_afterwards(shelf):
    for key in "abc":
        put(shelf, key)
    with shelf.using("a"), Shelf(shelf.folder, shelf.limit).using("b"):  # of another object of this process
        put(shelf, "d", 250)
        assert keys(shelf) == ["a", "b", "d"]
    assert keys(shelf) == ["d"]
    with shelf.using("d"):
        put(shelf, "e", 250)
        assert keys(shelf) == ["d", "e"]
        shelf.find("d")
    assert keys(shelf) == ["d"]


def test_a_value_larger_than_the_limit_is_not_kept_and_costs_no_other(shelf):
    put(shelf, "a")
    (said,) = warned(lambda: put(shelf, "b", 1000))
    assert said == (
        f"a text that was read cannot be kept in {shelf.folder}, and is read anew at the next use: it takes "
        f"{1000 + SAID:,} bytes, and the limit is {shelf.limit:,}"
    )
    assert keys(shelf) == ["a"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ModelError("no space")])
def test_a_full_disk_is_said_and_what_is_there_stays(shelf, error):
    def fails(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    put(shelf, "a")
    (said,) = warned(lambda: shelf.put("b", fails, ABOUT))
    assert said.endswith(f"read anew at the next use: {getattr(error, 'strerror', 'no space')}")
    assert keys(shelf) == ["a"]
    assert not list(shelf.folder.glob(".fovea-part-*"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    shelf = Shelf(tmp_path / "file", 1000)
    (said,) = warned(lambda: put(shelf, "a"))
    assert "cannot be kept" in said
    assert shelf.find("a") is None
    assert shelf.entries() == []


def test_a_damaged_description_takes_nothing_away(shelf):
    put(shelf, "a")
    for text in ("[1]", "{", None):
        (shelf.folder / "a.json").write_text(text) if text else (shelf.folder / "a.json").unlink()
        assert shelf.find("a")
        assert [entry.about for entry in shelf.entries()] == [{}]


def test_a_key_is_no_path(shelf):
    for key in ("../a", "a/b", "", "a.b", "a" * 200):
        with pytest.raises(ValueError, match="a key is a hash"):
            put(shelf, key)


KILLED = """
import sys, time
from pathlib import Path
from fovea.attention_retrieval.memory.shelf import Shelf
def write(path):
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
Shelf(Path(sys.argv[1]), 1000).put("k", write, {})
"""


def test_a_writer_that_is_killed_leaves_nothing_that_stays(shelf):
    put(shelf, "a")
    run, env = [sys.executable, "-c", KILLED, str(shelf.folder)], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(run, stdout=subprocess.PIPE, cwd=ROOT, env=env) as process:
        assert process.stdout
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert keys(shelf) == ["a"]
    assert shelf.find("k") is None
    assert list(shelf.folder.glob(".fovea-part-*"))
    lonely = shelf.folder / "k.json"
    lonely.write_text("{}")
    shelf.clean()
    assert not list(shelf.folder.glob(".fovea-part-*"))
    assert lonely.exists()  # its value may be on its way
    os.utime(lonely, (0, lonely.stat().st_mtime - 2 * ABANDONED))
    shelf.clean()
    assert sorted(p.name for p in shelf.folder.iterdir()) == ["a.cache", "a.json"]


def test_threads_put_and_find_at_once(tmp_path):
    shelf, errors = Shelf(tmp_path, 20 * 130), []

    def work(seed: int) -> None:
        try:
            for n in range(25):
                key = "abcdefgh"[(n * seed) % 8] * 3
                if (path := shelf.find(key)) is None:
                    put(shelf, key)
                else:
                    with shelf.using(key):
                        assert path.read_bytes() == key[:1].encode() * 100
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(entry.bytes for entry in shelf.entries()) <= shelf.limit


class Shelves(RuleBasedStateMachine):
    """Against a dictionary in order of use."""

    limit = 1000

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.shelf = Shelf(Path(self.folder.name) / "shelf", self.limit)
        self.known: dict[str, bytes] = {}

    @rule(key=st.sampled_from("abcdef"), size=st.integers(0, 1100))
    def put(self, key, size):
        value, size = key.encode() * size, size + SAID
        kept = self.shelf.put(key, lambda path: path.write_bytes(value), ABOUT)
        assert (kept is not None) == (size <= self.limit)
        if kept:
            self.known.pop(key, None)
            while sum(len(each) + SAID for each in self.known.values()) + size > self.limit:
                del self.known[next(iter(self.known))]
            self.known[key] = value

    @rule(key=st.sampled_from("abcdef"))
    def find(self, key):
        found = self.shelf.find(key)
        assert (found.read_bytes() if found else None) == self.known.get(key)
        assert (key in self.shelf) == (key in self.known)
        if key in self.known:
            self.known[key] = self.known.pop(key)

    @rule(key=st.sampled_from("abcdef"))
    def drop(self, key):
        self.shelf.drop(key)
        self.known.pop(key, None)

    @rule(key=st.sampled_from("abcdef"))
    def fail(self, key):
        def fails(path: Path) -> None:
            raise OSError(errno.ENOSPC, "full")

        assert self.shelf.put(key, fails, ABOUT) is None

    @rule()
    def restart(self):
        self.shelf.clean()
        self.shelf = Shelf(self.shelf.folder, self.limit)

    @invariant()
    def all_is_there_in_its_order(self):
        entries = self.shelf.entries()
        assert [entry.key for entry in entries] == list(self.known)
        assert all(entry.path.read_bytes() == self.known[entry.key] for entry in entries)
        assert sum(entry.bytes for entry in entries) <= self.limit

    def teardown(self) -> None:
        self.folder.cleanup()


TestShelves = Shelves.TestCase
TestShelves.settings = settings(max_examples=12, stateful_step_count=15)
