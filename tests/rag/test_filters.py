"""The filter language: what it means and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.errors import QueryError
from fovea.rag.filter_check import check
from fovea.rag.filters import All, Compare, Not, Some, matches, parse, quoted

PAPER = {
    "year": 2021, "lang": "en", "draft": False, "score": 0.5, "unit-price, net": 2, "a`b": 1, "Invoice No.": "A`1",
    "class": "x", "größe": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("year >= 2020", True), ("year < 2021", False), ("year == 2021.0", True), ("lang == 'en'", True),
        ("lang in ['de', 'en']", True), ("lang not in ['de', 'en']", False), ("draft == false", True),
        ("draft == False", True), ("draft != true", True), ("year > -1", True), ("exists(year)", True),
        ("exists(author)", False), ("not exists(author)", True), ("contains(lang, 'n')", True),
        ("author == 'x'", False), ("author != 'x'", False), ("not author == 'x'", True),
        ("year >= 2020 and (lang == 'de' or score <= 0.5)", True), ("year == '2021'", False),
        ("starts_with(lang, 'e')", True), ("starts_with(lang, 'n')", False), ("starts_with(year, '2')", False),
        ("`unit-price, net` > 1", True), ("`a``b` == 1", True), ("contains(`Invoice No.`, '`')", True),
        ("exists(`class`) and exists(`größe`)", True), ("draft == 0", False),
        ("draft != 0", True), ("year in [2021, 'x']", True), ("draft in [0]", False),
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
        ("unit-price == 1", "column 1: expected FIELD OPERATOR VALUE"),
        ("unit-price == 1", "names with spaces or hyphens stand in backticks"),
        ("Invoice No == 1", "filter, column 9: cannot read the filter"),
        ("a == 1\nand b c", "filter, column 14: cannot read the filter"),
        ("year ==", "filter, column 8: cannot read the filter"),
        ("year == 1 and", "filter, column 14: cannot read the filter"),
        ("class == 'x'", "keywords stand in backticks"),
        ("`` == 1", "cannot read the filter"),
        (
            "`größe in m` == 1 and starts_with(`größe in m`, 3)",
            "filter, column 49: 'starts_with' takes a text, got '3'",
        ),
        ("`a b` == [1]", "got '[1]'"),
        ("`a b`.c == 1", "got '`a b`.c == 1'"),
        ("(" * 500 + "a==1" + ")" * 500, "cannot read the filter"),
        ("not " * 300 + "a == 1", "more than 100 of 'not', 'and' and 'or' stand within each other"),
        ("not " * 900 + "a == 1", "more than 100 of 'not', 'and' and 'or' stand within each other"),
    ],
)
def test_what_is_refused_and_how(text, message):
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["year = " + "x" * 10**6, "f(year) " + "y" * 10**6, f"year == [{'[1],' * 10**5}]"])
def test_an_error_shows_the_beginning_of_a_long_filter(text):
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert len(str(caught.value)) < 1000


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


@given(st.text(min_size=1, max_size=12))
def test_any_name_can_be_quoted(name):
    assert parse(f"{quoted(name)} == 1 and exists({quoted(name)})") == All(
        (Compare(name, "==", 1), Compare(name, "exists", True))
    )


KNOWN = {"colour": {"text"}, "year": {"number"}, "Invoice No.": {"text"}, "mixed": {"text", "number"}, "done": {"bool"}}


@pytest.mark.parametrize(
    "text",
    ["colour == 'red'", "year in [1, 2.5]", "`Invoice No.` != 'A'", "mixed == 1 or mixed == '1'", "done == true",
     "exists(size) and size > 3", "not exists(size) or size == 'x'", "starts_with(mixed, '1')", "year in []"],
)  # fmt: skip
def test_a_filter_that_can_mean_something(text):
    check(parse(text), KNOWN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("color == 'red'", "filter: no document has the field 'color'\n  allowed: colour, "),
        ("color == 'red'", "did you mean 'colour'?"),
        ("`invoice no` == 'A'", "  allowed: `Invoice No.`, "),
        ("not (year > 1 and size == 2)", "no document has the field 'size'"),
        ("year == '2021'", "filter: year ==: the field 'year' holds numbers, and is compared with '2021'"),
        ("year == '2021'", "texts stand in quotes"),
        ("colour in ['red', 3]", "the field 'colour' holds texts, and is compared with 3"),
        ("done == 1", "holds true or false, and is compared with 1"),
        ("contains(year, '20')", "'contains' looks into texts only"),
        ("mixed == true", "holds numbers and texts"),
    ],
)
def test_a_filter_that_can_mean_nothing_is_refused(text, message):
    with pytest.raises(QueryError) as caught:
        check(parse(text), KNOWN)
    assert message in str(caught.value)


def test_of_many_fields_the_nearest_are_shown():
    with pytest.raises(QueryError) as caught:
        check(parse("field_7x == 1"), {f"field_{i}": {"text"} for i in range(100)})
    assert "allowed: field_7, " in str(caught.value)
    assert "and 60 more" in str(caught.value)


def test_white_space_of_any_kind_parts_words():
    plain = parse("year == 1 and lang == 'a\u00a0b'")
    assert parse("year\u00a0== 1\nand\tlang == 'a\u00a0b'") == plain
