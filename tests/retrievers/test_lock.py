"""One writer at a time, named to whoever comes second; a dead one holds nobody up."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from fovea.rag.errors import LockedError, StoreError
from fovea.retrievers.library.library import Library
from fovea.retrievers.library.lock import HOLDER, LOCK, WriterLock
from tests.conftest import ROOT
from tests.library_tools import opened, put

HOLD = """
import sys, time
from pathlib import Path
from tests.library_tools import opened
with opened(Path(sys.argv[1])) as library:
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the library open for writing."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "its", "arguments"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "open\n"
    yield child
    child.kill()
    child.communicate()


def test_the_second_writer_is_refused_at_once_and_told_who_is_first(tmp_path, holder):
    began = time.perf_counter()
    with pytest.raises(LockedError) as caught:
        opened(tmp_path)
    assert time.perf_counter() - began < 4, "it waited for the lock, which SQLite does for five seconds"
    message = str(caught.value)
    assert f"process {holder.pid} " in message
    assert "its arguments" in message
    assert "since 20" in message
    assert str(tmp_path) in message
    assert caught.value.fix
    with opened(tmp_path, read_only=True) as reader:
        assert reader.count == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_dead_holder_s_lock_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / HOLDER).exists(), "it could not tidy up"
    with opened(tmp_path) as library:
        put(library, "a", "one two")
        assert str(os.getpid()) in (tmp_path / HOLDER).read_text()
    assert not (tmp_path / HOLDER).exists()


def test_the_same_process_is_refused_too(tmp_path):
    with opened(tmp_path):
        with pytest.raises(LockedError, match=str(os.getpid())):
            opened(tmp_path)
        with pytest.raises(LockedError):
            opened(tmp_path, reset=True)
    opened(tmp_path).close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    library = opened(tmp_path)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    child.start()
    try:
        library.close()
        opened(tmp_path).close()
    finally:
        child.kill()
        child.join()


def test_an_unreadable_note_still_says_that_it_is_locked(tmp_path):
    lock = WriterLock(tmp_path)
    for content in ("", "[]", "{}", "\0", '{"pid": 1}'):
        (tmp_path / HOLDER).write_text(content)
        with pytest.raises(LockedError, match="another process is writing"):
            WriterLock(tmp_path)
    lock.release()
    WriterLock(tmp_path).release()


def test_a_failed_opening_lets_go(tmp_path):
    (tmp_path / "library.sqlite").write_bytes(b"no database" * 99)
    for _ in range(2):
        with pytest.raises(StoreError, match="not a Fovea library"):
            opened(tmp_path)
    (tmp_path / "folder" / LOCK).mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot lock"):
        WriterLock(tmp_path / "folder")
    with pytest.raises(StoreError, match="folder of the store"):
        Library.open(tmp_path / "library.sqlite" / "below")
