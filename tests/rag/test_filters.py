"""The filter language: what it means and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.errors import QueryError
from fovea.rag.filters import All, Compare, Not, Some, matches, parse

PAPER = {"year": 2021, "lang": "en", "draft": False, "score": 0.5}


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("year >= 2020", True), ("year < 2021", False), ("year == 2021.0", True), ("lang == 'en'", True),
        ("lang in ['de', 'en']", True), ("lang not in ['de', 'en']", False), ("draft == false", True),
        ("draft == False", True), ("draft != true", True), ("year > -1", True), ("exists(year)", True),
        ("exists(author)", False), ("not exists(author)", True), ("contains(lang, 'n')", True),
        ("author == 'x'", False), ("author != 'x'", False), ("not author == 'x'", True),
        ("year >= 2020 and (lang == 'de' or score <= 0.5)", True), ("year == '2021'", False),
        ("draft == 0", False), ("draft != 0", True), ("year in [2021, 'x']", True), ("draft in [0]", False),
    ],
)  # fmt: skip
def test_what_a_filter_means(text, true):
    assert matches(parse(text), PAPER) is true


def test_the_tree_of_a_filter():
    assert parse("a == 1 and not b in ['x'] or c > 2") == Some(
        (All((Compare("a", "==", 1), Not(Compare("b", "in", ("x",))))), Compare("c", ">", 2))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("year >=", "cannot read the filter"),
        ("", "cannot read the filter"),
        ("system(year)", "unknown function 'system'"),
        ("contain(lang, 'x')", "did you mean 'contains'?"),
        ("year.real == 1", "expected FIELD OPERATOR VALUE"),
        ("1 < year < 3", "expected FIELD OPERATOR VALUE"),
        ("year == lang", "expected a text in quotes"),
        ("lang in 'en'", "'in' takes a list"),
        ("lang == ['en']", "'==' takes a single value"),
        ("draft < true", "needs a number or a text"),
        ("contains(year, 3)", "'contains' takes a text"),
        ("lang in [['x']]", "a list cannot hold a list"),
        ("(" * 500 + "a==1" + ")" * 500, "cannot read the filter"),
    ],
)
def test_what_is_refused_and_how(text, message):
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert message in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_clear_error(text):
    try:
        matches(parse(text), PAPER)
    except QueryError as error:
        assert str(error)


@given(st.dictionaries(st.sampled_from("abc"), st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from("xyz"))))
def test_negation_is_complement(metadata):
    for text in ("a == 1", "b != 'x'", "exists(c)", "a in [1, 'x']", "a == true or b < 2"):
        assert matches(parse(f"not ({text})"), metadata) is not matches(parse(text), metadata)
