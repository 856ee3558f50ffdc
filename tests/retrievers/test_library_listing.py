"""Lists of documents under a filter are what the filter means, document by document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.documents_under import NoDocument, documents_under, span_under
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.filters import All, Compare, Not, Some, matches
from fovea.rag.types import Document

ODD = "half \ud800"
DOCUMENTS = [
    Document(f"d{n}", f"Text number {n}.", title=f"Title {n % 3}", metadata=metadata)
    for n, metadata in enumerate(
        [{}, {"a": 1}, {"a": 2, "b": "x"}, {"b": ODD}, {"a": 2**70}, {"b": "x", "c": True}, {"a": 1.5, "b": "y"}] * 3
    )
] + [Document(f"name {ODD}", "A text of an odd name.", metadata={"b": "x"})]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    with Pipeline(base=tmp_path_factory.mktemp("listing"), encoder="hash") as made:
        made.add(DOCUMENTS)
        yield made


VALUES = st.sampled_from([1, 2, 1.5, 2**70, "x", "y", ODD, True])
LEAVES = st.builds(
    Compare, st.sampled_from(["a", "b", "c", "title", "none"]), st.sampled_from(["==", "!=", "<", ">="]), VALUES
) | st.builds(lambda field, there: Compare(field, "exists", there), st.sampled_from("abc"), st.booleans())
FILTERS = st.recursive(
    LEAVES,
    lambda part: (
        st.builds(Not, part)
        | st.builds(lambda a, b: All((a, b)), part, part)
        | st.builds(lambda a, b: Some((a, b)), part, part)
    ),
    max_leaves=4,
)


@given(where=FILTERS)
def test_what_is_listed_is_what_matches(pipeline, where):
    library = pipeline.corpus.library
    stored = [library.document(document.id) for document in DOCUMENTS]
    expected = {d.id for d in stored if matches(where, pipeline.corpus.library.chunks_of(d.id)[0].fields)}
    rows = list(library.listed(where))
    assert {row.id for row in rows} == expected
    assert {d.id for d in stored if library.holds(d.id, where)} == expected
    known = library.fields(where)
    assert {"a", "b", "c"} & known.keys() == {f for d in stored if d.id in expected for f in d.metadata}


@given(limit=st.integers(1, 30))
def test_pages_join_to_the_whole(pipeline, limit):
    found, after = [], ""
    while page := documents_under(pipeline, after=after, limit=limit):
        found += [row.id for row in page]
        after = page[-1].id
    assert sorted(found) == sorted(document.id for document in DOCUMENTS)
    assert len(set(found)) == len(found)


def test_a_row_says_what_the_document_is(pipeline):
    (row,) = documents_under(pipeline, query="TITLE 2", after="d19", limit=1)
    assert (row.id, row.title, row.metadata, row.length, row.chunks, row.pages) == (
        "d2",
        "Title 2",
        {"a": 2, "b": "x"},
        14,
        1,
        0,
    )
    assert documents_under(pipeline, limit=0) == []


def test_a_span_is_the_text_there(pipeline):
    assert span_under(pipeline, "d3", 5, 11).text == "number"
    assert span_under(pipeline, f"name {ODD}").text == "A text of an odd name."
    with pytest.raises(NoDocument):
        span_under(pipeline, "d3", scope=Compare("a", "==", 1))
