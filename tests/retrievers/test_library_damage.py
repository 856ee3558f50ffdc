"""A full disk loses nothing; a damaged file is said to be damaged, and never answers with something else."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.rag.errors import FoveaError, StoreError
from fovea.retrievers.library.library import Library, SourceRow
from fovea.retrievers.library.opening import FILE
from tests.conftest import ROOT
from tests.library_tools import ENCODER, contents, opened, put, put_chunks


def test_a_full_disk_loses_nothing(tmp_path):
    with opened(tmp_path) as library:
        put(library, "a", "what is there already stays there. " * 20)
        library.prune()
        before = contents(library)
        (pages,) = library._db.one("PRAGMA page_count")
        library._db.run(f"PRAGMA max_page_count = {pages + 8}")
        with pytest.raises(StoreError, match=r"(?s)disk full.*nothing that was stored is lost.*again"):
            [put(library, f"b{i}", f"text number {i} " * 400) for i in range(50)]
        stored = contents(library)
        assert before.items() <= stored.items()
        assert library.check() == []
        library._db.run("PRAGMA max_page_count = 1000000")
        put(library, "b", "there is room again")
        assert contents(library).keys() == {*stored, "b"}
        assert library.check() == []


def test_a_limit_on_file_sizes(tmp_path):
    resource = pytest.importorskip("resource")
    code = f"""
import resource, signal, sys
from pathlib import Path
from tests.library_tools import opened, put
from fovea.rag.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit({resource.RLIMIT_FSIZE}, (300_000, 300_000))
try:
    with opened(Path(sys.argv[1])) as library:
        for i in range(1000):
            put(library, f"s{{i}}", f"text number {{i}} " * 100)
            print(i, flush=True)
except StoreError as error:
    print(error)
    sys.exit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 7, done.stderr
    assert "nothing that was stored is lost" in done.stdout
    acknowledged = {f"s{line}" for line in done.stdout.split() if line.isdigit() and int(line) < 1000}
    with opened(tmp_path) as library:
        assert library.check() == []
        names = {row.name for row in library.sources()}
        assert {f"s{i}" for i in range(len(names))} == names
        assert len(names) >= len(acknowledged - {f"s{n}" for n in range(300, 1000)}) - 2
        put(library, "more", "and it goes on")


FULL = """
import resource, signal, sys
from pathlib import Path
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import StoreError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
base, room = Path(sys.argv[1]), int(sys.argv[2])
with Pipeline(base=base, encoder="hash", store={"use": "embedded", "path": "store"}) as pipeline:
    pipeline.status()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for work in (lambda: pipeline.remove("docs/1*"), pipeline.compact):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            work()
            said = "done"
        except StoreError as error:
            said = str(error).replace(chr(10), " ")
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        print(said)
        print(pipeline.verify(), len(pipeline.status()))
"""


@pytest.mark.parametrize("room", [0, 20_000, 100_000, 10_000_000])
def test_removing_and_compacting_on_a_full_disk_is_done_or_loses_nothing(tmp_path, room):
    pytest.importorskip("resource")
    from fovea.pipelines.pipeline import Pipeline

    (tmp_path / "docs").mkdir()
    for i in range(20):
        (tmp_path / "docs" / f"{i:02}.txt").write_text(" ".join(f"w{i}x{j} says this and that." for j in range(40)))
    with Pipeline(base=tmp_path, encoder="hash", store={"use": "embedded", "path": "store"}) as pipeline:
        pipeline.ingest(tmp_path / "docs")
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(tmp_path), str(room)],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        removed, after, compacted, at_last = done.stdout.splitlines()
        assert after == ("[] 10" if removed == "done" else "[] 20")
        assert at_last == after
        for said in (removed, compacted):
            assert said == "done" or ("disk full" in said and "nothing that was stored is lost" in said), said
        assert (removed == "done") == (room > 1_000_000)
        left = [row.name for row in pipeline.status() if row.name.startswith("docs/1")]
        assert pipeline.remove("docs/1*") == left if left else True
        assert len(pipeline.status()) == 10
        pipeline.compact()
        assert pipeline.verify() == []


def whole(path: Path) -> dict:
    with opened(path) as library:
        draw = random.Random(0)
        for i in range(12):
            text = " ".join(f"w{draw.randrange(3000)}" for _ in range(900))
            put(library, f"s{i}", text, size=200, metadata={"i": i})
        library.prune()
        return contents(library)


def test_damage_is_never_an_answer(tmp_path):
    """Alter bytes at many places: each reading is right or says StoreError, and `check` finds what reading cannot."""
    right = whole(tmp_path)
    file, draw, silent, found = tmp_path / FILE, random.Random(1), 0, 0
    intact = file.read_bytes()
    for _ in range(150):
        at = draw.randrange(0, len(intact) - 16)
        file.write_bytes(intact[:at] + bytes(b ^ 0xA5 for b in intact[at : at + 16]) + intact[at + 16 :])
        try:
            with Library.open(tmp_path, read_only=True) as library:
                problems = library.check()
                found += bool(problems)
                read = contents(library)
                for name, (document, chunks) in read.items():
                    if chunks and document == right.get(name, (None,))[0]:
                        assert chunks == right[name][1] or problems
                silent += not problems and read != right
        except FoveaError as error:
            assert str(error)
            found += 1
    assert silent == 0
    assert found > 75, "most damage lies in what is used"


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file(tmp_path, share):
    right = whole(tmp_path)
    file = tmp_path / FILE
    with file.open("rb+") as opened_file:
        opened_file.truncate(int(file.stat().st_size * share))
    try:
        with Library.open(tmp_path, encoder=ENCODER, read_only=True) as library:
            assert library.check(), "a truncated file is found"
            assert contents(library) == right, "what is read is right, or not read at all"
    except StoreError as error:
        assert error.fix


def test_a_damaged_library_is_made_anew_on_request(tmp_path):
    whole(tmp_path)
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    content[4000:60_000] = b"\x55" * 56_000
    file.write_bytes(content)
    with opened(tmp_path, reset=True) as library:
        put(library, "a", "one two")
        assert library.check() == []
        assert len(contents(library)) == 1


def test_check_finds_what_does_not_fit(tmp_path):
    """Each damage that SQLite itself cannot see."""
    with opened(tmp_path) as library:
        put(library, "a", "one two three four five", size=8)
        put(library, "b", "six seven eight nine ten", size=8)
        db = library._db
        cases = {
            "UPDATE texts SET text = replace(text, 'two', 'owt')": "does not hold the text",
            "UPDATE documents SET length = length + 1 WHERE id = 1": "characters",
            "UPDATE vectors SET vector = zeroblob(128) WHERE id = 2": "length 0.0000",
            "UPDATE vectors SET vector = zeroblob(12) WHERE id = 2": "numbers",
            "UPDATE chunks SET vector = 1 WHERE no = 3": "vector of another text",
            "UPDATE sources SET chunks = 9 WHERE id = 1": "should have",
            "INSERT INTO removed VALUES (2, 1)": "marked as removed",
            "UPDATE documents SET metadata = '{' WHERE id = 1": "metadata",
            "UPDATE segments SET nos = zeroblob(length(nos)) WHERE id = 2": "a chunk 0 that is not there",
            "INSERT INTO dead VALUES (3)": "chunk 3 is not in the lexical index",
            "UPDATE postings SET terms = replace(terms, 'two', 'owt')": "wrong about the word 'owt'",
            "UPDATE postings SET sizes = zeroblob(4)": "the lexical index cannot be read",
            "UPDATE postings SET counts = zeroblob(1)": "the lexical index cannot be read",
            "UPDATE segments SET nos = zeroblob(0)": "the lexical index cannot be read",
            "PRAGMA foreign_keys = OFF; UPDATE postings SET segment = 99": "refers to a row",
            "PRAGMA foreign_keys = OFF; DELETE FROM sources WHERE id = 1": "refers to a row",
        }
        for sql, finding in cases.items():
            assert library.check() == []
            statements = sql.split("; ")
            for setting in statements[:-1]:
                db.run(setting)
            db.run("SAVEPOINT intact")
            db.run(statements[-1])
            assert any(finding in problem for problem in library.check()), (sql, library.check())
            db.run("ROLLBACK TO intact")
            db.run("RELEASE intact")


def test_many_findings_are_counted(tmp_path):
    with opened(tmp_path) as library:
        put(library, "a", "abcdefghijklmnopqrstuvwxyz", size=1)
        library._db.run("UPDATE vectors SET vector = zeroblob(128)")
        problems = library.check()
        assert len(problems) == 6
        assert "21 more" in problems[-1]


def test_a_failed_write_leaves_no_half(tmp_path):
    with opened(tmp_path) as library:
        document, chunks = put(library, "a", "one two three")

        def documents():
            yield document, chunks
            raise OSError("the source went away")

        with pytest.raises(OSError, match="went away"):
            library.replace(SourceRow("a"), documents())
        assert contents(library) == {"a": (document, chunks)}

        def at_once():
            yield from ()
            raise OSError("the source went away")

        with pytest.raises(OSError, match="went away"):
            library.replace(SourceRow("a"), at_once())
        assert contents(library) == {"a": (document, chunks)}, "the old documents were taken out before"
        put_chunks(library, "a", [])
        assert contents(library) == {}
