"""Filters in SQL mean what `fovea.rag.filters.matches` means."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.rag.filters import All, Compare, Not, Some, matches, parse
from fovea.rag.testing.stores import filters
from fovea.retrievers.library import facts
from tests.library_tools import opened, put

FIELDS = st.sampled_from(["a", "b", "größe", "it's", ""])
TEXT = st.sampled_from(["", "a", "A", "ab", "é", "é", "1", "true", "%", "中文", "a\0b", "\ud800", "'--"])
NUMBERS = st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
REALS = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0**53, 1e300, math.inf, -math.inf, math.nan, 9223372036854775808.0])
SCALARS = st.one_of(TEXT, NUMBERS, REALS, st.booleans())
METADATA = st.dictionaries(FIELDS, SCALARS, max_size=4)


def compares():
    plain = st.builds(Compare, FIELDS, st.sampled_from(["==", "!="]), SCALARS)
    order = st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), st.one_of(TEXT, NUMBERS, REALS))
    lists = st.builds(Compare, FIELDS, st.sampled_from(["in", "not in"]), st.lists(SCALARS, max_size=4).map(tuple))
    parts = st.builds(Compare, FIELDS, st.just("contains"), TEXT)
    there = st.builds(Compare, FIELDS, st.just("exists"), st.booleans())
    return st.one_of(plain, order, lists, parts, there)


def wheres():
    def joined(inner):
        some = st.lists(inner, max_size=3).map(tuple)
        return st.one_of(st.builds(All, some), st.builds(Some, some), st.builds(Not, inner))

    return st.recursive(compares(), joined, max_leaves=6)


@settings(max_examples=40)
@given(st.lists(METADATA, min_size=1, max_size=8), st.lists(wheres(), min_size=1, max_size=12))
def test_sql_means_what_python_means(tmp_path_factory, documents, asked):
    with opened(tmp_path_factory.mktemp("library")) as library:
        for i, metadata in enumerate(documents):
            put(library, f"d{i}", "some words", size=5, metadata=metadata)
        nos = np.arange(1, 2 * len(documents) + 1).reshape(-1, 2)
        for where in asked:
            right = [int(no) for pair, m in zip(nos, documents) if matches(where, m) for no in pair]
            assert library.matching(where).tolist() == right, where
            assert sorted(no for no, _ in library.match("some words", 99, where)) == right


def test_the_suite_s_filters(tmp_path):
    from fovea.rag.testing.stores import random_rows

    _, documents = random_rows(40, seed=0)
    with opened(tmp_path) as library:
        for i, metadata in enumerate(documents):
            put(library, f"d{i}", "x", metadata=metadata)
        for where in filters():
            right = [i for i, m in enumerate(documents, 1) if matches(where, m)]
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
    real = facts.documents_matching
    monkeypatch.setattr(facts, "documents_matching", lambda db, where: asked.append(where) or real(db, where))
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
        condition, values = facts.documents_matching(library._db, parse(text))
        plan = library._db.all(f"EXPLAIN QUERY PLAN SELECT no FROM chunks WHERE {condition}", values)
        assert any("SEARCH facts USING" in str(row) for row in plan), plan
