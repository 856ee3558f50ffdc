"""A file is there whole or not at all; what a killed writer left goes with the next, what a living one has stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from fovea.rag.write_whole import PREFIX, part_folder, write_whole
from tests.conftest import ROOT

DIES = """
import os, signal, sys
from pathlib import Path
from fovea.rag.write_whole import write_whole

def half(part):
    part.write_text("half")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.read()

write_whole(Path(sys.argv[1]), half)
"""


def parts(folder) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(PREFIX)]


def child(path, how) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", DIES, str(path), how], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    (tmp_path / "f").write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        write_whole(tmp_path / "f", fail)
    assert caught.value.filename == str(tmp_path / "f"), "not the name of what is thrown away"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="reads through a handle")
def test_a_file_has_its_name_only_once_its_bytes_are_on_the_disk_and_then_the_name_is(tmp_path, monkeypatch):
    seen, real = [], os.fsync

    def fsync(handle):
        folder = os.path.isdir(f"/dev/fd/{handle}")
        seen.append(("folder" if folder else os.pread(handle, 9, 0), (tmp_path / "f").exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "f", lambda part: part.write_bytes(b"whole"))
    assert seen == [(b"whole", False), ("folder", True)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_what_a_killed_writer_left_goes_with_the_next_writer_of_the_folder(tmp_path):
    (tmp_path / "f").write_text("old")
    writer = child(tmp_path / "f", "die")
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    assert len(parts(tmp_path)) == 1
    assert (tmp_path / "f").read_text() == "old"
    write_whole(tmp_path / "g", lambda part: part.write_text("new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "g"]


def test_what_a_living_writer_has_stays(tmp_path):
    writer = child(tmp_path / "f", "live")
    assert writer.stdout.readline() == "writing\n"
    write_whole(tmp_path / "f", lambda part: part.write_text("first"))
    assert len(parts(tmp_path)) == 1
    writer.communicate()
    assert writer.returncode == 0
    assert (tmp_path / "f").read_text() == "half", "the last one that ended"
    assert parts(tmp_path) == []


def test_many_at_once_lose_nothing(tmp_path):
    failed = []

    def work(n):
        try:
            for i in range(10):
                write_whole(tmp_path / f"{n}.txt", partial(Path.write_text, data=f"{n} {i}"))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failed == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n}.txt" for n in range(6)]
    assert {path.read_text() for path in tmp_path.iterdir()} == {f"{n} 9" for n in range(6)}


def test_a_folder_that_lacks_is_made_and_a_link_stays_one(tmp_path):
    write_whole(tmp_path / "a" / "b" / "f", lambda part: part.write_text("x"))
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "f")
    write_whole(tmp_path / "link", lambda part: part.write_text("y"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a" / "b" / "f").read_text() == "y"


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device")
def test_a_device_is_written_and_not_replaced(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    write_whole(tmp_path / "null", lambda part: part.write_text("x"))
    assert not os.path.isfile("/dev/null")


def test_a_folder_in_the_way_is_said_by_its_name(tmp_path):
    (tmp_path / "f").write_text("a file")
    with pytest.raises(OSError, match=str(tmp_path / "f")):
        write_whole(tmp_path / "f" / "g", lambda part: part.write_text("x"))


def test_what_only_looks_like_a_part_stays(tmp_path):
    (tmp_path / f"{PREFIX}file").write_text("a file of that name")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").write_text("x")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "target")
    with part_folder(tmp_path):
        pass
    assert (tmp_path / f"{PREFIX}file").read_text() == "a file of that name"
    assert (tmp_path / "target" / "kept").exists()


def test_a_file_may_have_any_name(tmp_path):
    for name in ("lock", "lock-journal", ".hidden", "ä ö"):
        write_whole(tmp_path / name, lambda part: part.open("x").close())
        assert (tmp_path / name).is_file()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "f").write_text("old")
    (tmp_path / "f").chmod(mode)
    write_whole(tmp_path / "f", lambda part: part.write_text("new"))
    assert (tmp_path / "f").read_text() == "new"
    assert (tmp_path / "f").stat().st_mode & 0o777 == mode
