"""What is damaged is set aside and made anew; what is shut to writers can be read; what is lacking is named."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fovea.rag.errors import StoreError
from fovea.rag.trace import Trace
from fovea.retrievers.library import database
from fovea.retrievers.library.library import Library
from fovea.retrievers.library.opening import FILE
from fovea.retrievers.library.schema import NAMES, lacking
from tests.conftest import ROOT
from tests.library_tools import ENCODER, contents, opened, put

PAGE = 8192


@pytest.fixture
def whole(tmp_path):
    draw = random.Random(0)
    with opened(tmp_path) as library:
        for i in range(12):
            put(library, f"s{i}", " ".join(f"w{draw.randrange(3000)}" for _ in range(900)), size=200)
        library.prune()
    return tmp_path


def test_a_library_with_any_page_damaged_is_made_anew(whole):
    file, draw = whole / FILE, random.Random(3)
    intact = file.read_bytes()
    aside = 0
    for page in range(1, len(intact) // PAGE, 5):  # Not the first, which has our mark.
        for path in whole.iterdir():
            path.unlink()
        at = page * PAGE
        file.write_bytes(intact[:at] + draw.randbytes(PAGE) + intact[at + PAGE :])
        trace = Trace()
        with trace.stage("open"), opened(whole, reset=True) as library:
            put(library, "a", "one two three")
            assert library.check() == []
            assert list(contents(library)) == ["a"]
        if (set_aside := file.with_name(FILE + ".damaged")).exists():
            aside += 1
            assert set_aside.stat().st_size == len(intact), "nothing of it is lost"
            assert "set aside as library.sqlite.damaged" in next(iter(trace.warnings))
        else:
            assert trace.warnings == {}
    assert aside >= 3


def test_a_library_without_its_first_page_is_set_aside_on_request(whole):
    file = whole / FILE
    lost = random.Random(4).randbytes(PAGE) + file.read_bytes()[PAGE:]
    file.write_bytes(lost)
    (whole / "index").mkdir(exist_ok=True)
    with pytest.raises(StoreError, match="its beginning is damaged"):
        opened(whole)
    with opened(whole, reset=True) as library:
        put(library, "a", "one two three")
        assert library.check() == []
    assert (whole / f"{FILE}.damaged").read_bytes() == lost


def test_a_library_that_another_program_holds_is_not_taken_for_a_damaged_one(whole, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(whole / FILE, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            opened(whole, reset=True)
    finally:
        other.close()
    assert not (whole / f"{FILE}.damaged").exists()
    with opened(whole) as library:
        assert len(contents(library)) == 12


def test_what_is_set_aside_is_as_it_was_with_what_was_not_yet_moved_into_the_file(whole, tmp_path_factory):
    place = tmp_path_factory.mktemp("copy")
    with opened(whole) as library:
        put(library, "last", "the last words")
        wal = (whole / f"{FILE}-wal").read_bytes()
        content = bytearray((whole / FILE).read_bytes())
    assert wal
    content[3 * PAGE : 20 * PAGE] = b"\x55" * 17 * PAGE
    (place / FILE).write_bytes(content)
    (place / f"{FILE}-wal").write_bytes(wal)
    with opened(place, reset=True) as library:
        assert library.check() == []
    assert (place / f"{FILE}.damaged").read_bytes() == content
    assert (place / f"{FILE}.damaged-wal").read_bytes() == wal


def test_what_was_never_a_library_is_not_set_aside(tmp_path):
    (tmp_path / FILE).write_text("my diary")
    with pytest.raises(StoreError, match="not a Fovea library"):
        opened(tmp_path, reset=True)
    assert (tmp_path / FILE).read_text() == "my diary"


def test_a_sound_library_is_made_anew_in_place_and_readers_follow(whole):
    with Library.open(whole, read_only=True) as reader, opened(whole, reset=True) as library:
        put(library, "a", "one two three")
        assert list(contents(reader)) == ["a"]
    assert not (whole / f"{FILE}.damaged").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_table_or_index_that_is_lacking_is_named(whole, name):
    db = sqlite3.connect(whole / FILE)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("DELETE FROM sqlite_master WHERE name = ?1 OR tbl_name = ?1", (name,))
    db.commit()
    db.close()
    if name == "situations":
        with Library.open(whole, read_only=True) as library:
            assert library.count, "a library of format 1 has none"
        return
    for how in ({"read_only": True}, {"encoder": ENCODER}):
        with pytest.raises(StoreError, match=f"(?s)the library is damaged.*{name}.* is not there.*--rebuild"):
            Library.open(whole, **how)


def test_what_is_lacking_is_found_by_name():
    assert lacking(NAMES) == []
    assert lacking(set(NAMES) - {"facts", "postings"}) == ["facts", "postings"]
    assert len(NAMES) == len(set(NAMES))


def test_a_check_sees_what_was_dropped_while_it_was_open(whole):
    with opened(whole) as library:
        library._db.run("DROP INDEX chunks_vector")
        assert library.check() == ["chunks_vector is not there"]


def test_a_vector_that_is_no_longer_what_was_stored_is_not_searched(whole):
    with opened(whole) as library:
        library._db.run("UPDATE vectors SET vector = randomblob(length(vector)) WHERE id = 3")
        with pytest.raises(StoreError, match="a vector has another length than when it was stored"):
            list(library.added(0))
        with pytest.raises(StoreError, match="damaged"):
            library.vectors_of(list(range(1, library.count + 1)))


READ = """
import os, sys
from pathlib import Path
from fovea.pipelines.pipeline import Pipeline
base = Path(sys.argv[1])
def ask():
    with Pipeline(base=base, encoder="hash", store={"use": "embedded", "path": "store"}) as pipeline:
        answer = pipeline.ask("What does the kettle do?")
        return answer.text, len(pipeline.status()), pipeline.verify()

sound, base = base, Path(sys.argv[2])
first = ask()  # On a copy: all modules are loaded before another user may be unable to read them.
base = sound
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
try:
    (base / "store" / "x").touch()
except OSError:
    print(ask() == first, first)
"""


def test_one_who_may_not_write_can_ask():
    """With real permissions, as a user who is not root: SQLite cannot make its -shm file there."""
    from fovea.pipelines.pipeline import Pipeline

    base = Path(tempfile.mkdtemp())  # Not pytest's own folder, which only its owner may enter.
    copy = base.with_name(base.name + "-copy")
    try:
        (base / "docs").mkdir()
        (base / "docs" / "a.md").write_text("The kettle sings.")
        with Pipeline(base=base, encoder="hash", store={"use": "embedded", "path": "store"}) as pipeline:
            pipeline.ingest(base / "docs")
        shutil.copytree(base, copy)
        for path in (base, *base.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = subprocess.run(
            [sys.executable, "-c", READ, str(base), str(copy)], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "True ('The kettle sings.', 1, [])\n"
        assert sorted(os.listdir(base / "store")) == ["index", FILE, "writer.lock"]
    finally:
        for path in (base, *base.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(base)
        shutil.rmtree(copy, ignore_errors=True)
