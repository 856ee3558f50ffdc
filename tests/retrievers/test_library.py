"""The library holds what it was given, in all of the ways in which that can change."""

import sqlite3
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import DocumentError, QueryError, StoreError
from fovea.rag.testing.corpus import cut
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Span
from fovea.retrievers.library import journal, lexicon
from fovea.retrievers.library import library as library_module
from fovea.retrievers.library.library import Library, SourceRow, vector_key
from fovea.retrievers.library.opening import FILE
from tests.library_tools import ENCODER, contents, opened, put, put_chunks

HOSTILE = [
    "a\r\nb\r\n\r\nc",
    "nul \0 inside \0",
    "emoji 👩‍👩‍👧‍👦 and e\u0301 marks",
    "中文没有空格的句子。" * 30,
    "x" * 5000,
    "lone \ud800 surrogates \udfff",
    "",
    "\n" * 300,
    "the same paragraph\n" * 8,
]


def test_what_is_acknowledged_is_on_the_disk(tmp_path):
    """No kill of a process shows it, only a power cut: SQLite must sync each commit."""
    with opened(tmp_path) as library:
        put(library, "a", "a text")
        assert library._db.one("PRAGMA synchronous") == (2,), "FULL"
        assert library._db.one("PRAGMA journal_mode") == ("wal",)
        assert library._db.one("PRAGMA foreign_keys") == (1,)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("size", [1, 7, 1999, 2000, 2001])
def test_what_goes_in_comes_out(tmp_path, text, size):
    text = text[:400] if size == 1 else text * 2
    with opened(tmp_path) as library:
        document, chunks = put(
            library, "näme\udcff.txt", text, size=size, title="T\ud800", media_type="text/x", pages=(0, 5),
            metadata={"n": 2**70, "f": 1.5, "nan?": "x", "b": True, "s": "\ud801"},
        )  # fmt: skip
        assert contents(library) == {document.id: (document, chunks)}
        assert list(library.chunk_by_no(range(1, len(chunks) + 1)).values()) == chunks
        assert library.check() == []
    with opened(tmp_path, read_only=True) as library:
        assert contents(library) == {document.id: (document, chunks)}
        assert [row.name for row in library.sources()] == ["näme\udcff.txt"]


@settings(max_examples=40)
@given(st.text(max_size=60), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3), st.data())
def test_neighbours_are_the_chunks_around(tmp_path_factory, text, size, before, after, data):
    with opened(tmp_path_factory.mktemp("library")) as library:
        put(library, "other", "some other text that is not asked for")
        _, chunks = put(library, "it", text or "x", size=size)
        at = data.draw(st.integers(0, len(chunks) - 1))
        assert library.neighbours(chunks[at], before, after) == chunks[max(0, at - before) : at + after + 1]


def test_overlapping_chunks_and_gaps(tmp_path):
    document = Document("d", "0123456789" * 5)
    chunks = [document.chunk(Span(*s)) for s in ((0, 10), (5, 15), (20, 20), (20, 30), (20, 25))]
    with opened(tmp_path) as library:
        put_chunks(library, "d", [(document, chunks)])
        assert library.chunks_of("d") == sorted(chunks, key=lambda c: (c.start, c.end))
        assert library.check() == []


class Model(RuleBasedStateMachine):
    """Any sequence of changes leaves what a dictionary would hold, and a clean file."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        from pathlib import Path

        self.path = Path(self.folder.name)
        self.library = opened(self.path)
        self.sources, self.failed, self.sequence = {}, {}, 0

    @rule(name=st.sampled_from("abc"), texts=st.lists(st.text(max_size=50), max_size=3), year=st.integers(0, 3))
    def replace(self, name, texts, year):
        documents = [Document(f"{name}/{i}", t, source=name, metadata={"year": year}) for i, t in enumerate(texts)]
        self.sources[name] = [(d, cut(d, 9)) for d in documents]
        self.failed.pop(name, None)
        put_chunks(self.library, name, self.sources[name])

    @rule(name=st.sampled_from("abcd"))
    def fail(self, name):
        self.library.fail(SourceRow(name), "no good")
        self.failed[name] = self.failed.get(name, 0) + 1
        self.sources.setdefault(name, [])

    @rule(names=st.lists(st.sampled_from("abcd"), unique=True))
    def remove(self, names):
        assert self.library.remove(names) == len(self.sources.keys() & set(names))
        for name in names:
            self.sources.pop(name, None)
            self.failed.pop(name, None)

    @rule()
    def prune(self):
        self.library.prune()

    @rule()
    def reopen(self):
        self.library.close()
        self.library = opened(self.path)

    @precondition(lambda self: self.sources)
    @rule()
    def interrupted(self):
        name = next(iter(self.sources))

        def documents():
            yield from self.sources[name][:1]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.library.replace(SourceRow(name), documents())

    @invariant()
    def the_same(self):
        held = {d.id: (d, c) for documents in self.sources.values() for d, c in documents}
        assert contents(self.library) == held
        assert {r.name: r.attempts for r in self.library.sources()} == {
            name: self.failed.get(name, 0) for name in self.sources
        }
        assert {r.name for r in self.library.sources("failed")} == set(self.failed)
        assert self.library.count == sum(len(c) for _, c in held.values())
        assert self.library.check() == []
        assert self.library.sequence >= self.sequence
        self.sequence = self.library.sequence

    def teardown(self):
        self.library.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


def test_the_journal(tmp_path):
    with opened(tmp_path) as library:
        put(library, "a", "one two three four five six", size=9)
        before = library.sequence
        put(library, "b", "seven eight nine ten", size=9, metadata={"x": 1})
        later = [no for rows in library.added(before, batch=2) for no in rows.nos]
        assert later == [4, 5, 6]
        rows = list(library.added(0, batch=4))
        assert [len(r.nos) for r in rows] == [4, 2]
        assert rows[1].metadata == [{"source": "b", "path": "b", "media_type": "text/plain", "x": 1}] * 2
        every = [c.text for c in library.chunks()]
        np.testing.assert_array_equal(np.concatenate([r.vectors for r in rows]), ENCODER.encode(every))
        put(library, "a", "one two", size=9)
        assert library.removed(before + 1).tolist() == [1, 2, 3]
        assert library.removed(library.sequence).tolist() == []
        assert [no for rows in library.added(0) for no in rows.nos] == [4, 5, 6, 7], "numbers are never used again"


def test_nothing_is_encoded_twice(tmp_path):
    with opened(tmp_path) as library:
        _, chunks = put(library, "a", "alpha beta gamma delta epsilon", size=6)
        keys = [vector_key(c.text, ENCODER.fingerprint) for c in chunks]
        assert library.missing(keys) == set()
        new = vector_key("zeta", ENCODER.fingerprint)
        assert library.missing([*keys[:2], new]) == {new}
        library.remove(["a"])
        assert library.missing(keys) == set(), "what was encoded stays until it is pruned"
        assert library.prune() == len(set(keys))
        assert library.missing(keys) == set(keys)
    assert vector_key("zeta", "another encoder") != new


def test_a_failure_keeps_what_was_there(tmp_path):
    with opened(tmp_path) as library:
        _, chunks = put(library, "a", "one two three")
        library.fail(SourceRow("a", digest="new"), "cannot read it")
        library.fail(SourceRow("a", digest="new"), "cannot read it")
        row = library.source("a")
        assert (row.status, row.error, row.attempts, row.chunks) == ("failed", "cannot read it", 2, len(chunks))
        assert [no for no, _ in library.match("three", 3)] == [1]
        assert library.source("b") is None
        put(library, "a", "four")
        assert (library.source("a").status, library.source("a").attempts) == ("ok", 0)


def test_what_is_refused(tmp_path):
    with opened(tmp_path) as library:
        document, chunks = put(library, "a", "one two three")
        other = Document("b", "something else")
        before = contents(library)
        with pytest.raises(DocumentError, match="not that slice"):
            library.replace(SourceRow("a"), [(other, chunks)])
        with pytest.raises(DocumentError, match="not that slice"):
            library.replace(SourceRow("a"), [(Document("a", "one_two_three"), chunks)])
        with pytest.raises(DocumentError, match="twice"):
            library.replace(SourceRow("a"), [(document, [*chunks, *chunks])])
        with pytest.raises(DocumentError, match="two documents have the id 'a'"):
            library.replace(SourceRow("b"), [(document, chunks)])
        with pytest.raises(StoreError, match="no vector"):
            library.replace(SourceRow("b"), [(other, cut(other, 5))])
        with pytest.raises(StoreError, match=r"shape \(1, 3\)"):
            library.add_vectors(["00" * 16], np.ones((1, 3), np.float32))
        with pytest.raises(StoreError, match="finite"):
            library.add_vectors(["00" * 16], np.full((1, 32), np.nan, np.float32))
        with pytest.raises(QueryError, match="nowhere"):
            library.document("nowhere")
        with pytest.raises(QueryError):
            library.neighbours(other.chunk(Span(0, 3)), 1, 1)
        assert contents(library) == before
        assert library.check() == []


def test_another_encoder_is_refused_until_a_reset(tmp_path):
    other = HashEncoder(size=16)
    with opened(tmp_path) as library:
        put(library, "a", "one two three")
        first = library.uuid
    for read_only in (True, False):
        with pytest.raises(StoreError, match=r"(?s)another encoder.*--rebuild"):
            Library.open(tmp_path, encoder=other, read_only=read_only)
    with Library.open(tmp_path, read_only=True) as reader, Library.open(tmp_path, encoder=other, reset=True) as library:
        assert (library.dim, library.count, list(library.sources())) == (16, 0, [])
        assert library.uuid != first
        assert library.check() == []
        assert (reader.count, reader.uuid) == (0, library.uuid), "a reader that stays open follows"


def test_nothing_yet(tmp_path):
    assert not Library.exists(tmp_path)
    with pytest.raises(StoreError, match=r"(?s)nothing has been ingested.*fovea ingest"):
        opened(tmp_path, read_only=True)
    with pytest.raises(StoreError, match="told its encoder"):
        Library.open(tmp_path)
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(StoreError, match="nothing has been ingested"):
        opened(tmp_path, read_only=True)
    with opened(tmp_path) as library:
        assert library.count == 0
        assert library.match("anything", 3) == []
        assert list(library.added(0)) == []
    assert Library.exists(tmp_path)


def test_another_program_s_database_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("CREATE TABLE notes (text)")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    for options in ({}, {"reset": True}, {"read_only": True}):
        with pytest.raises(StoreError, match="not a Fovea library"):
            opened(tmp_path, **options)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_newer_format_names_both_versions(tmp_path):
    opened(tmp_path).close()
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("PRAGMA user_version = 7")
    db.close()
    for options in ({}, {"read_only": True}):
        with pytest.raises(StoreError, match=r"format 7.*newer than format 3"):
            opened(tmp_path, **options)
    with opened(tmp_path, reset=True) as library:
        assert library.check() == []


def test_readers_see_the_last_commit_while_a_writer_works(tmp_path):
    with opened(tmp_path) as writer:
        put(writer, "a", "old words here")
        with opened(tmp_path, read_only=True) as reader:
            seen = []

            def documents():
                seen.append(contents(reader))
                yield from ()

            before = contents(reader)
            writer.replace(SourceRow("a"), documents())
            assert seen == [before], "in the midst of the change"
            assert contents(reader) == {}
            with pytest.raises(StoreError, match="readonly"):
                reader.remove(["a"])


def test_threads_share_a_library(tmp_path):
    with opened(tmp_path) as writer:
        for name in "abcdefgh":
            put(writer, name, f"{name} " * 200, metadata={"name": name})
    wrong = []
    with opened(tmp_path, read_only=True) as library:

        def read(name):
            for _ in range(15):
                found = library.match(name, 3)
                chunks = library.chunk_by_no([no for no, _ in found])
                if {c.source for c in chunks.values()} != {name}:
                    wrong.append(name)

        threads = [threading.Thread(target=read, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_pruning_forgets_marks_and_names_the_library_anew(tmp_path, monkeypatch):
    with opened(tmp_path) as library:
        _, chunks = put(library, "a", "one two three four", size=2)
        library.remove(["a"])
        put(library, "b", "five", size=9)
        first = library.uuid
        assert library.prune() == len({c.text for c in chunks})
        assert library.uuid == first
        monkeypatch.setattr(journal, "FEWEST_MARKS", 3)
        library.prune()
        assert library.uuid != first
        assert library.removed(0).tolist() == []
        assert library.check() == []


def test_space_is_given_back(tmp_path):
    with opened(tmp_path) as library:
        put(library, "a", "".join(f"line {i} of many\n" for i in range(4000)), size=40)
        library.prune()
        full = (tmp_path / FILE).stat().st_size
        library.remove(["a"])
        library.prune()
        assert (tmp_path / FILE).stat().st_size < full / 3
        assert library.check() == []


def test_words_are_indexed_anew_when_their_making_has_changed(tmp_path, monkeypatch):
    with opened(tmp_path) as library:
        put(library, "a", "one two three")
        right = library.match("two", 3)
    for module, name in ((lexicon, "index_terms"), (library_module, "query_terms")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda text, real=real: [w[::-1] for w in real(text)])
    monkeypatch.setattr(lexicon, "VERSION", "3/other")
    with opened(tmp_path) as library:
        assert [no for no, _ in library.match("two", 3)] == [1]
        library.remove(["a"])
        assert library._db.all("SELECT * FROM segments") == []
    monkeypatch.undo()
    with opened(tmp_path, read_only=True) as reader, Trace().stage("asked") as asked:
        reader.match("two", 3)
    assert ["fovea rebuild" in w for w in asked.warnings] == [True], "a reader says that the index is of another making"
    with opened(tmp_path) as library:
        put(library, "a", "one two three")
        assert [score for _, score in library.match("two", 3)] == [score for _, score in right]
        assert library.check() == []
