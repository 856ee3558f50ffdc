"""`fovea watch`: real processes over real files; what is waited for is a line that they print."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fovea.pipelines.cli.main import main
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.watching.changes import Changed, under
from fovea.pipelines.watching.watch import Concerns
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import DocumentError, MissingExtra, ModelError
from fovea.retrievers.library.library import Library

pytest.importorskip("watchfiles", reason="needs fovea-rag[watch]")
SETTLE = 0.15
LONGEST = 30


class Watching:
    """`fovea watch --json` in a process of its own, forked so that nothing is imported twice; `first` is done in it."""

    def __init__(self, cwd: Path, first: Callable[[], object] = bool) -> None:
        out, into = os.pipe()
        if not (process := os.fork()):
            os.chdir(cwd)
            os.dup2(into, 1)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), (cwd / "said").open("w")
            first()
            os._exit(main(["watch", "p.yaml", "docs", "--json", "--settle", str(SETTLE)]))
        os.close(into)
        self.process, self.out = process, os.fdopen(out)

    def round(self) -> dict:
        """What the next line says."""
        assert select.select([self.out], [], [], LONGEST)[0], "no line came"
        return json.loads(self.out.readline())

    def until(self, **wanted: set[str]) -> dict:
        """The last of the rounds in which all of these names came up; a burst may take more than one."""
        found = {kind: set() for kind in wanted}
        while True:
            row = self.round()
            for kind in wanted:
                found[kind] |= set(row[kind])
            if all(found[kind] >= names for kind, names in wanted.items()):
                assert found == wanted
                return row

    def end(self, number: int = 0) -> int:
        """Its exit code, or the signal that killed it, below zero; `number` is a signal to be sent first."""
        if number:
            os.kill(self.process, number)
        with self.out:
            self.out.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def started(place):
    """Starts processes that end with the test, if not before."""
    begun = list[Watching]()
    yield lambda **how: begun.append(Watching(place, **how)) or begun[-1]
    for one in begun:
        if not one.out.closed:
            one.end(signal.SIGKILL)


@pytest.fixture
def place(tmp_path, docs):
    (tmp_path / "p.yaml").write_text(
        "encoder: hash\nsegment: {use: sentence, max_tokens: 12}\nstore: {use: embedded, path: store}\n"
    )
    return tmp_path


def names(place: Path) -> set[str]:
    with Pipeline.from_yaml(place / "p.yaml") as pipeline:
        assert pipeline.verify() == []
        return {row.name for row in pipeline.status() if row.status == "ok"}


def on_disk(place: Path) -> set[str]:
    return {p.relative_to(place).as_posix() for p in (place / "docs").rglob("*.*") if p.is_file()}


def test_a_store_follows_its_folder(place, docs, started):
    (docs / "empty").mkdir()
    watching = started()
    watching.until(added={"docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"})

    (docs / "new.txt").write_text("Coffee is roasted.")
    watching.until(added={"docs/new.txt"})
    (docs / "new.txt").write_text("Coffee is roasted at 200 degrees.")
    watching.until(changed={"docs/new.txt"})
    (docs / "new.txt").rename(docs / "old.txt")
    row = watching.round()
    assert (row["moved"], row["encoded"], row["removed"]) == ({"docs/old.txt": "docs/new.txt"}, 0, [])

    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")
    assert [*watching.round()["failed"]] == ["docs/broken.pdf"]
    (docs / ".hidden.txt").write_text("not a document")
    (docs / "old.txt~").write_text("a copy of an editor's")
    (docs / "old.txt").unlink()
    row = watching.until(removed={"docs/old.txt"})
    assert row["failed"] == {}, "it is tried again when it changes"
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 and a little more")
    assert [*watching.round()["failed"]] == ["docs/broken.pdf"]
    (docs / "broken.pdf").unlink()

    burst = {f"docs/burst/{i % 5}/{i}.txt" for i in range(200)}
    for name in burst:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"File {name} says something of its own.")
    watching.until(added=burst, removed={"docs/broken.pdf"})
    (docs / "sub").rename(docs / "rivers")
    assert watching.round()["moved"] == {"docs/rivers/rivers.txt": "docs/sub/rivers.txt"}
    subprocess.run(["rm", "-r", "docs/burst"], cwd=place, check=True)
    watching.until(removed=burst)

    assert watching.end(signal.SIGTERM) == 0
    assert names(place) == on_disk(place) - {"docs/.hidden.txt", "docs/old.txt~"}


def test_kill_9_in_the_middle_and_the_next_start_goes_on(place, docs, started):
    for i in range(60):
        (docs / f"{i}.txt").write_text("\n".join(f"File {i} line {j} says w{i * j}." for j in range(9)))
    real, left = Library.replace, iter(range(40, -1, -1))

    def replace(*args, **how):
        return real(*args, **how) if next(left) else os.kill(os.getpid(), signal.SIGKILL)

    watching = started(first=lambda: setattr(Library, "replace", replace))
    assert watching.end() == -signal.SIGKILL
    assert len(names(place)) == 40
    (docs / "1.txt").unlink()
    (docs / "10.txt").write_text("It is changed.")
    watching = started()
    row = watching.round()
    assert (row["unchanged"], row["failed"]) == (38, {})
    assert watching.end(signal.SIGINT) == 0
    assert names(place) == on_disk(place)


def test_a_signal_ends_it_after_the_file_that_is_read(place, docs, started):
    from fovea.pipelines.watching.round import Round

    real = Round._prepare

    def prepare(self, path, *rest):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self, path, *rest)

    watching = started(first=lambda: setattr(Round, "_prepare", prepare))
    assert watching.round()["added"] == ["docs/moon.txt"]
    assert watching.end() == 0
    assert names(place) == {"docs/moon.txt"}


# In this process


@pytest.fixture
def watch(make, docs):
    """Rounds over `docs`, asked for one by one, and ended with the test."""
    stop, pipeline = threading.Event(), make()
    limit = threading.Timer(LONGEST, stop.set)
    limit.start()
    yield lambda *folders, **how: pipeline.watch(folders or docs, **{"settle": SETTLE, **how}, stop=stop)
    stop.set()
    limit.cancel()


def test_what_is_being_written_is_left_alone_and_the_others_are_not(watch, docs):
    rounds = watch(docs, settle=0.05)
    assert len(next(rounds).report.added) == 3
    going_on = threading.Event()

    def write():
        with (docs / "long.txt").open("w") as file:
            while not going_on.wait(0.01):
                file.write("It goes on. ")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        (docs / "short.txt").write_text("It is whole.")
        assert next(rounds).report.added == ["docs/short.txt"]
    finally:
        going_on.set()
        writer.join()
    report = next(rounds).report
    assert (report.added, report.failed) == (["docs/long.txt"], {})


def test_another_writer_is_waited_for(watch, make, docs):
    pipeline = make()
    rounds = watch()
    with Library.open(pipeline.spec.store.path, encoder=pipeline.spec.encoder):
        waiting = next(rounds)
        assert waiting.report is None
        assert "is writing to this store" in waiting.problems[0]
    assert len(next(rounds).report.added) == 3


def test_what_ends_a_round_is_said_once_and_the_round_tried_again(watch, docs, monkeypatch):
    rounds, real, times = watch(), HashEncoder.encode, []

    def encode(self, *given):
        times.append(1)
        if len(times) < 3:
            raise ModelError("the server does not answer", where="encoder")
        return real(self, *given)

    monkeypatch.setattr(HashEncoder, "encode", encode)
    with pytest.raises(ModelError, match="does not answer"):
        next(rounds)
    rounds, times[:] = watch(), [1, 1]
    assert len(next(rounds).report.added) == 3
    times.clear()
    (docs / "moon.txt").write_text("The Moon has no air.")
    waiting = next(rounds)
    assert (waiting.report, waiting.problems) == (None, ("encoder: the server does not answer",))
    assert next(rounds).report.changed == ["docs/moon.txt"]
    assert len(times) == 3


def test_a_folder_that_goes_away_keeps_its_sources_until_it_is_back(watch, docs):
    rounds = watch()
    next(rounds)
    away = docs.rename(docs.with_name("away"))
    row = next(rounds)
    assert row.report.removed == []
    assert "the store has 3 sources from it; they stay" in row.problems[0]
    (away / "moon.txt").write_text("The Moon has no air.")
    away.rename(docs)
    row = next(rounds)
    assert (row.report.changed, row.report.unchanged, row.problems) == (["docs/moon.txt"], 2, ())


@pytest.mark.parametrize("stand_in", ["file", "dangling link", "link to itself"])
def test_what_takes_the_place_of_a_folder_is_said_and_its_sources_stay(watch, docs, stand_in):
    rounds = watch()
    next(rounds)
    away = docs.rename(docs.with_name("away"))
    if stand_in == "file":
        docs.write_text("This is no folder.")
    else:
        docs.symlink_to("nowhere" if stand_in == "dangling link" else docs.name)
    row = next(rounds)
    while "not a folder any more" not in row.problems[0]:  # A round may fall between the two steps.
        row = next(rounds)
    assert "the store has 3 sources from it; they stay" in row.problems[0]
    assert row.report.removed == []
    docs.unlink()
    (away / "moon.txt").write_text("The Moon has no air.")
    away.rename(docs)
    while (row := next(rounds)).problems:
        pass
    assert (row.report.changed, row.report.unchanged) == (["docs/moon.txt"], 2)


@pytest.mark.skipif(sys.platform != "linux", reason="names here are text")
def test_names_that_are_not_utf8_are_followed_by_looking(watch, docs, monkeypatch, caplog):
    monkeypatch.setattr("fovea.pipelines.watching.changes.LOOK", 0.1)
    rounds = watch()
    next(rounds)
    odd = Path(os.fsdecode(os.fsencode(docs) + b"/caf\xe9.txt"))
    odd.write_text("Coffee is roasted.")
    assert next(rounds).report.added == [f"docs/{odd.name}"]
    assert "a name that is not UTF-8" in caplog.text
    odd.write_text("Coffee is roasted at 200 degrees.")
    assert next(rounds).report.changed == [f"docs/{odd.name}"]


def test_all_that_was_seen_to_be_deleted_is_removed_and_what_was_not_is_kept(watch, docs):
    rounds = watch()
    next(rounds)
    for path in docs.iterdir():
        subprocess.run(["rm", "-r", str(path)], check=True)
    removed = {name for name in next(rounds).report.removed}
    assert removed <= {"docs/moon.txt", "docs/sub/rivers.txt", "docs/tea.md"}
    while len(removed) < 3:
        removed |= set(next(rounds).report.removed)


def test_polling_sees_the_targets_of_links(watch, docs, tmp_path):
    (tmp_path / "target.txt").write_text("It is far.")
    (docs / "link.txt").symlink_to(tmp_path / "target.txt")
    rounds = watch(poll=0.05)
    assert len(next(rounds).report.added) == 4
    (tmp_path / "target.txt").write_text("It is far away.")
    assert next(rounds).report.changed == ["docs/link.txt"]


def test_it_ends_when_it_is_to(make, docs):
    stop = threading.Event()
    rounds = make().watch(docs, settle=SETTLE, stop=stop)
    next(rounds)
    stop.set()
    assert list(rounds) == []


def test_changes_of_stores_and_of_what_is_passed_by_are_none(tmp_path, make, docs):
    pipeline = make(store={"use": "embedded", "path": "docs/store"})
    pipeline.ingest(docs)
    concerns = Concerns([docs], pipeline.spec.store.path)
    seen = {
        p: concerns(str(docs / p)) for p in ("a.txt", "sub/a.txt", "", "store/writer.json", ".git/a.txt", "~$a.docx")
    }
    assert [p for p, does in seen.items() if does] == ["a.txt", "sub/a.txt", ""]
    assert not concerns(str(tmp_path / "a.txt"))
    within = Concerns([docs / "store"], pipeline.spec.store.path)
    assert not within(str(docs / "store" / "writer.json"))
    assert within(str(docs / "store" / "a.txt"))


def test_a_folder_stands_for_what_is_below_it():
    changed = Changed(touched=frozenset({"/docs/sub"}))
    assert under("/docs/sub/a/b.txt", changed.touched)
    assert not under("/docs/subway.txt", changed.touched)


def test_what_cannot_be_watched_is_said_at_once(make, docs, monkeypatch):
    pipeline = make()
    with pytest.raises(DocumentError, match=r"tea.md: not a folder\n  fix: watch its folder: .*docs"):
        pipeline.watch(docs / "tea.md")
    with pytest.raises(DocumentError, match=r"there is no such file or folder\n  fix: did you mean .*docs"):
        pipeline.watch(docs.with_name("doc"))
    with pytest.raises(DocumentError, match="a path is empty"):
        pipeline.watch("")
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingExtra, match=r"fovea-rag\[watch\]"):
        pipeline.watch(docs)


@pytest.mark.parametrize("number", ["0", "-1", "nan", "1e9", "x"])
def test_seconds_that_cannot_be(place, number, capsys):
    with pytest.raises(SystemExit):
        main(["watch", "p.yaml", "docs", f"--settle={number}"])
    assert "expected seconds" in capsys.readouterr().err
