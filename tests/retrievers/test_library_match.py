"""Lexical search over the library's own postings, against BM25 computed by hand and by FTS5, pruned and not."""

import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.rag.filters import Compare, parse
from fovea.rag.terms import index_terms, query_terms
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.tokens import words
from fovea.retrievers.library import lexicon, ranking
from fovea.retrievers.library.opening import FILE
from tests.library_tools import ENCODER, opened, put

VOCABULARY = ["the", "of", "moon", "Mond", "café", "cafe", "river", "Über", "中", "文", "x1", "naïve", "'"]
TEXTS = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join), min_size=1, max_size=12)


def by_hand(library, asked, k, where=None):
    found = MemoryCorpus(library.documents(), library.chunks(), ENCODER).match(asked, k, where)
    nos = library.no_of([hit.chunk.id for hit in found])
    return [(nos[hit.chunk.id], hit.score) for hit in found]


def assert_same(found, right):
    assert [no for no, _ in found] == [no for no, _ in right]
    assert [score for _, score in found] == pytest.approx([score for _, score in right], rel=1e-9)


@pytest.mark.parametrize("fan", [2, 16])
@settings(max_examples=30)
@given(texts=TEXTS, asked=st.lists(st.sampled_from(VOCABULARY), max_size=6).map(" ".join), k=st.integers(1, 6))
def test_scores_are_bm25(tmp_path_factory, fan, texts, asked, k):
    with pytest.MonkeyPatch.context() as patch, opened(tmp_path_factory.mktemp("library")) as library:
        patch.setattr(lexicon, "FAN", fan)
        for i, text in enumerate([*texts, *texts[:3]]):  # The first three twice: chunks go, and others come.
            put(library, f"d{i % len(texts)}", f"{text} {i}" if i > len(texts) else text or ".", size=1000)
        assert_same(library.match(asked, k), by_hand(library, asked, k))
        where = parse("source != 'd1'")
        assert_same(library.match(asked, k, where), by_hand(library, asked, k, where))


def zipfian(library, documents, *, draw):
    """Texts with words from very common to very rare, as prose has them."""
    for i in range(documents):
        text = " ".join(f"w{int(draw.paretovariate(0.7)) % 2000}" for _ in range(60))
        put(library, f"d{i}", text, size=150, metadata={"part": i % 3})


def fts5(library, asked, k):
    """SQLite's own list, over the same terms."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(words, content='', tokenize='ascii')")
    nos = library.no_of([c.id for c in library.chunks()])
    rows = ((nos[c.id], " ".join(index_terms(c.text))) for c in library.chunks())
    db.executemany("INSERT INTO t (rowid, words) VALUES (?, ?)", rows)
    sql = "SELECT rowid, -bm25(t) FROM t WHERE t MATCH ? ORDER BY bm25(t), rowid LIMIT ?"
    return [db.execute(sql, (" OR ".join(f'"{w}"' for w in query_terms(text)), k)).fetchall() for text in asked]


def test_scores_are_those_of_fts5_to_the_last_bit(tmp_path, monkeypatch):
    draw = random.Random(2)
    with opened(tmp_path) as library:
        zipfian(library, 150, draw=draw)
        asked = [
            " ".join(f"w{int(draw.paretovariate(0.6)) % 2000}" for _ in range(draw.randint(1, 12))) for _ in range(60)
        ]
        assert len(library._ranking._follow().nos) // ranking.LINE > 2, "the bar is found by lines"
        found = [library.match(text, 2) for text in asked]
        assert found == fts5(library, asked, 2)
        where = Compare("part", "==", 1)
        kept = set(library.matching(where).tolist())
        every = [library.match(text, 10_000) for text in asked]
        assert [pairs[:2] for pairs in every] == found
        assert [library.match(text, 7, where) for text in asked] == [
            [pair for pair in pairs if pair[0] in kept][:7] for pairs in every
        ]


HOSTILE = [
    '"', '""', "'", "a OR b", "NOT a", "a AND", "NEAR(a b)", "words:a", "a*", "^a", "(", ")", "a-b", "-a", "{a}",
    "a + b", "\0", "\ud800", "lexicon", "; DROP TABLE chunks; --", "%s", "?", "a" * 5000, "NULL", "rowid", "😀", "",
]  # fmt: skip


@pytest.mark.parametrize("asked", HOSTILE)
def test_no_question_is_syntax(tmp_path, asked):
    with opened(tmp_path) as library:
        put(library, "a", f"a b words near and or not {asked} end", size=10_000)
        put(library, "b", "c d e", size=10_000)
        found = library.match(asked, 5)
        assert [no for no, _ in found] == ([1] if words(asked) else [])
        assert library.check() == []


def test_long_questions(tmp_path, monkeypatch):
    """Of many words all count; their order does not matter."""
    with opened(tmp_path) as library:
        for i in range(30):
            put(library, f"d{i}", f"rare{i} " + " ".join(f"common{j}" for j in range(400)), size=10_000)
        asked = " ".join([*(f"common{j}" for j in range(400)), *(f"nowhere{j}" for j in range(300)), "rare7"])
        assert library.match(asked, 1)[0][0] == 8
        assert library.match(" ".join(reversed(asked.split())), 1)[0][0] == 8


def test_diacritics_case_and_chinese(tmp_path):
    with opened(tmp_path) as library:
        put(library, "a", "Das Café liegt am Übergang.", size=100)
        put(library, "b", "我喜欢在月亮下喝绿茶。", size=100)
        assert [no for no, _ in library.match("CAFE ubergang", 3)] == [1]
        assert [no for no, _ in library.match("绿茶", 3)] == [2]
        assert library.match("红", 3) == []


def test_a_reader_sees_new_words(tmp_path):
    """What is remembered of the words is forgotten when the library changes."""
    with opened(tmp_path) as writer:
        put(writer, "a", "one two", size=100)
        with opened(tmp_path, read_only=True) as reader:
            assert [no for no, _ in reader.match("two three", 5)] == [1]
            put(writer, "b", "two three", size=100)
            assert_same(reader.match("two three", 5), by_hand(reader, "two three", 5))
    assert (tmp_path / FILE).exists()
