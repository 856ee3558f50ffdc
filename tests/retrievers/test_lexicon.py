"""The lexical index: its segments, their merging, what has gone, and libraries of an older format."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.trace import Trace
from fovea.retrievers.library import lexicon, segment
from fovea.retrievers.library.library import Library
from fovea.retrievers.library.segment import Segment, postings
from tests.library_tools import ENCODER, older, opened, put

TERMS = st.lists(st.sampled_from(["a", "b", "é", "\uff0ec", "茶", "zz"]), max_size=6)
PARTS = st.lists(st.lists(st.tuples(TERMS, st.booleans()), min_size=1, max_size=5), min_size=1, max_size=4)


def expected(chunks):
    """`term: [(no, count), ...]` of chunks, each its `no` and its terms."""
    found = {}
    for no, terms in chunks:
        for term, count in Counter(terms).items():
            found.setdefault(term, []).append((no, count))
    return dict(sorted(found.items()))


def told(one):
    cuts = zip([0, *one.ends.tolist()], one.ends.tolist())
    return {
        t: [(int(one.nos[r]), int(c)) for r, c in zip(one.rows[a:b], one.counts[a:b])]
        for t, (a, b) in zip(one.terms, cuts)
    }


def again(one):
    """The segment as the file gives it back."""
    blocks = [block for _, *block in one.blocks()]
    return Segment.read(one.nos.astype("<i8").tobytes(), one.lengths.astype("<u4").tobytes(), blocks)


@pytest.mark.parametrize("block", [1, 20, 1800])
@given(parts=PARTS, far=st.integers(0, 10**12))
def test_segments_hold_their_chunks_and_merge(block, parts, far):
    chunks, alive, no = [], [], far
    for part in parts:
        chunks.append([(no := no + 2, terms) for terms, _ in part])
        alive.append(np.array([kept for _, kept in part]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "BLOCK", block)
        some = [again(Segment.of(part)) for part in chunks]
        one = again(Segment.merged(some, alive))
    assert [told(s) for s in some] == [expected(part) for part in chunks]
    left = [chunk for part, kept in zip(chunks, alive) for chunk, here in zip(part, kept) if here]
    assert told(one) == expected(left)
    assert one.nos.tolist() == [no for no, _ in left]
    assert one.lengths.tolist() == [len(terms) for _, terms in left]


def test_a_term_is_found_in_its_block_and_may_be_held_many_times():
    one = Segment.of([(1, ["often"] * 70_000 + ["b"]), (2, ["b"] * 255)])
    [(first, *block)] = one.blocks()
    assert first == "b"
    assert [part.tolist() for part in postings("often", *block)] == [[0], [70_000]]
    assert [part.tolist() for part in postings("b", *block)] == [[0, 1], [1, 255]]
    assert told(again(one)) == told(one)


def sizes(library):
    return [n for (n,) in library._db.all("SELECT chunks FROM segments ORDER BY first")]


def test_few_segments_stay_and_none_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(lexicon, "FAN", 3)
    monkeypatch.setattr(lexicon, "MOST", 27)
    monkeypatch.setattr(lexicon, "BOUNDS", (3, 9, 13))
    with opened(tmp_path) as library:
        put(library, "big", "x" * 61, size=1)
        assert sizes(library) == [27, 27, 7], "one source, several segments"
        for i in range(40):
            put(library, f"d{i}", f"one two {i}", size=100)
            assert max(sizes(library)) <= 27
            assert sum(sizes(library)) == library.count
            assert len(sizes(library)) <= 3 + 2 * 3 + 40 // 13
        assert len(library.match("two", 100)) == 40
        assert [no for no, _ in library.match("17", 100)] == [61 + 18]
        assert library.check() == []


def test_what_has_gone_is_found_no_more_and_leaves_the_file(tmp_path):
    with opened(tmp_path) as library, Library.open(tmp_path, read_only=True) as reader:
        put(library, "a", "".join(f"word{i:04} of ten " for i in range(40)), size=16)
        put(library, "b", "word0003 here", size=16)
        assert len(reader.match("word0003", 9)) == 2
        library.remove(["b"])
        assert [no for no, _ in reader.match("word0003", 9)] == [4]
        assert (sizes(library), library._db.all("SELECT no FROM dead")) == ([40, 1], [(41,)]), "it is noted"
        scores = library.match("word0003 of", 9)
        library.prune()
        assert (sizes(library), library._db.all("SELECT no FROM dead")) == ([40], [])
        assert library.match("word0003 of", 9) == reader.match("word0003 of", 9) == scores
        put(library, "a", "another", size=16)
        assert sizes(library) == [1], "most had gone"
        assert reader.match("word0003 of", 9) == []
        assert library.check() == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_library_of_an_older_format_is_read_as_it_is_and_made_anew_by_the_next_writer(tmp_path, version):
    asked = ["tea", "green tea in a cup", "cup 2.10", "nowhere"]
    with opened(tmp_path) as library:
        put(library, "a", "green tea, black tea, and a cup of it. " * 5, size=20)
        put(library, "b", "version 2.10 of the cup" + " long" * 150, size=1000)
        right = [library.match(text, 5) for text in asked]
    older(tmp_path, version)
    with Library.open(tmp_path, read_only=True) as reader:
        with Trace().stage("asked") as stage:
            assert [reader.match(text, 5) for text in asked] == right
        assert not stage.warnings
        assert reader.holding(["tea", "nowhere"])[1]["nowhere"] == 0
        assert reader.check() == []
        with opened(tmp_path) as library:
            assert [library.match(text, 5) for text in asked] == right
            assert library._db.all("SELECT name FROM sqlite_master WHERE name LIKE 'lexicon%'") == []
            assert library._db.one("PRAGMA user_version") == (3,)
            assert library.check() == []
            put(library, "c", "a new cup", size=20)
            assert reader.match("cup", 9) == library.match("cup", 9) != []


def test_a_stop_while_an_older_library_is_made_anew_leaves_it_as_it_was(tmp_path, monkeypatch):
    with opened(tmp_path) as library:
        put(library, "a", "green tea", size=20)
        right = library.match("tea", 5)
    older(tmp_path, 2)
    monkeypatch.setattr(lexicon, "index_terms", lambda text: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Library.open(tmp_path, encoder=ENCODER)
    monkeypatch.undo()
    with Library.open(tmp_path, read_only=True) as reader:
        assert reader._db.one("PRAGMA user_version") == (2,)
        assert reader.match("tea", 5) == right
    with opened(tmp_path) as library:
        assert library.match("tea", 5) == right
