"""Filters in SQL mean what `fovea.rag.filters.matches` means."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.rag.filters import All, Compare, Not, Some, matches, parse
from fovea.rag.testing.stores import filters
from fovea.retrievers.library import facts
from tests.library_tools import opened, put

FIELDS = st.sampled_from(["a", "b", "größe", "it's", "", "source", "path", "suffix", "title", "media_type", "page"])
TEXT = st.sampled_from(
    ["", "a", "d1.PDF", ".pdf", "text/plain", "A", "ab", "é", "é", "1", "true", "%", "中文", "a\0b", "\ud800", "'--"]
)
NUMBERS = st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
REALS = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0**53, 1e300, math.inf, -math.inf, math.nan, 9223372036854775808.0])
SCALARS = st.one_of(TEXT, NUMBERS, REALS, st.booleans())
METADATA = st.dictionaries(FIELDS, SCALARS, max_size=4)


def compares():
    plain = st.builds(Compare, FIELDS, st.sampled_from(["==", "!="]), SCALARS)
    order = st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), st.one_of(TEXT, NUMBERS, REALS))
    lists = st.builds(Compare, FIELDS, st.sampled_from(["in", "not in"]), st.lists(SCALARS, max_size=4).map(tuple))
    parts = st.builds(Compare, FIELDS, st.sampled_from(["contains", "starts_with"]), TEXT)
    there = st.builds(Compare, FIELDS, st.just("exists"), st.booleans())
    return st.one_of(plain, order, lists, parts, there)


def wheres():
    def joined(inner):
        some = st.lists(inner, max_size=3).map(tuple)
        return st.one_of(st.builds(All, some), st.builds(Some, some), st.builds(Not, inner))

    return st.recursive(compares(), joined, max_leaves=6)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(METADATA, st.sampled_from(["", "a", "\ud800"]), st.sampled_from([(), (0, 7)])), min_size=1, max_size=8
    ),
    st.lists(wheres(), min_size=1, max_size=12),
)
def test_sql_means_what_python_means(tmp_path_factory, documents, asked):
    with opened(tmp_path_factory.mktemp("library")) as library:
        chunks = []
        for i, (metadata, title, pages) in enumerate(documents):
            chunks += put(library, f"d{i}.PDF", "some words", size=5, metadata=metadata, title=title, pages=pages)[1]
        for where in asked:
            right = [no for no, chunk in enumerate(chunks, 1) if matches(where, chunk.fields)]
            assert library.matching(where).tolist() == right, where
            assert sorted(no for no, _ in library.match("some words", 99, where)) == right


def test_the_suite_s_filters(tmp_path):
    from fovea.rag.testing.stores import random_rows

    _, documents = random_rows(40, seed=0)
    with opened(tmp_path) as library:
        chunks = [put(library, f"d{i}", "x", metadata=metadata)[1][0] for i, metadata in enumerate(documents)]
        for where in filters():
            right = [i for i, chunk in enumerate(chunks, 1) if matches(where, chunk.fields)]
            assert library.matching(where).tolist() == right, where


def test_long_lists_and_deep_filters(tmp_path, monkeypatch):
    with opened(tmp_path) as library:
        put(library, "a", "x", metadata={"n": 7})
        put(library, "b", "x", metadata={"n": 70_001})
        assert library.matching(Compare("n", "in", tuple(range(70_000)))).tolist() == [1]
        deep = Compare("n", "==", 7)
        for _ in range(301):
            deep = Not(deep)
        assert library.matching(deep).tolist() == [2]
        wide = Some(tuple(Compare("n", "==", i) for i in range(600)))
        assert library.matching(wide).tolist() == [1]


def test_answers_are_remembered_until_the_library_changes(tmp_path, monkeypatch):
    asked = []
    real = facts.chunks_matching
    monkeypatch.setattr(facts, "chunks_matching", lambda db, where: asked.append(where) or real(db, where))
    with opened(tmp_path) as library:
        put(library, "a", "x", metadata={"n": 1})
        put(library, "b", "x", metadata={"n": True})
        for _ in range(3):
            assert library.matching(Compare("n", "==", 1)).tolist() == [1]
            assert library.matching(Compare("n", "==", True)).tolist() == [2], "1 and true are not the same question"
        assert len(asked) == 2
        put(library, "c", "x", metadata={"n": 1})
        assert library.matching(parse("n == 1")).tolist() == [1, 3]
        assert len(asked) == 3
        for i in range(30):
            library.matching(Compare("n", ">", i))
        assert len(library._matching) <= 9


@pytest.mark.parametrize("text", ["n == 1", "contains(s, 'x')", "not exists(n)"])
def test_the_index_on_facts_is_used(tmp_path, text):
    """A plan that scans every fact would be slow for many documents."""
    with opened(tmp_path) as library:
        put(library, "a", "x", metadata={"n": 1})
        condition, values = facts.chunks_matching(library._db, parse(text))
        plan = library._db.all(f"EXPLAIN QUERY PLAN SELECT no FROM chunks WHERE {condition}", values)
        assert any("SEARCH facts USING" in str(row) for row in plan), plan


def test_the_fields_that_every_chunk_has(tmp_path):
    with opened(tmp_path) as library:
        put(library, "docs/Tea.PDF", "one two", size=4, title="On tea", media_type="application/pdf", pages=(0, 4))
        put(library, "docs/b.md", "x", metadata={"title": "Own", "page": 9, "source": "elsewhere"})
        put(library, "https://x.org/a.html?b=c.d", "y")
        found = {
            "source == 'docs/Tea.PDF'": [1, 2], "source == 'elsewhere'": [3], "starts_with(path, 'docs/')": [1, 2, 3],
            "suffix == '.pdf'": [1, 2], "suffix == '.html'": [4], "title == 'On tea'": [1, 2], "title == 'Own'": [3],
            "exists(title)": [1, 2, 3], "not exists(page)": [4], "page == 2": [2], "page >= 2": [2, 3],
            "page != 1": [2, 3],
            "media_type == 'application/pdf'": [1, 2], "contains(source, 'x.org')": [4], "page in [1, 9]": [1, 3],
        }  # fmt: skip
        assert {text: library.matching(parse(text)).tolist() for text in found} == found
        assert [no for no, _ in library.match("one two", 9, parse("page == 2"))] == [2]


def test_the_fields_of_a_library_and_their_kinds(tmp_path):
    with opened(tmp_path) as library:
        assert library.fields().keys() == {"source", "path", "suffix", "title", "media_type", "page"}
        put(library, "a", "x", metadata={"n": 1, "": "e", "größe": True, "title": 3})
        put(library, "b", "x", metadata={"n": "1", "\ud800": 2**70})
        fields = library.fields()
        assert (fields["n"], fields[""], fields["größe"]) == ({"number", "text"}, {"text"}, {"bool"})
        assert fields["title"] == {"number", "text"}
        assert fields["\ud800"] == {"number"}
