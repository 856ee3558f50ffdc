"""Documents brought from Python: what cannot be stored is named, and the others are stored."""

from datetime import date, datetime

import pytest

from fovea.pipelines.added import checked
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import DocumentError
from fovea.rag.types import Document


@pytest.fixture
def pipeline(tmp_path):
    with Pipeline(encoder="hash", store={"use": "embedded", "path": "store"}, base=tmp_path) as pipeline:
        yield pipeline


def stored(pipeline):
    assert pipeline.verify() == []
    return {d.id: d for d in pipeline.corpus.library.documents()}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Document("bad", "y", metadata={"tags": ["q"]}), "metadata field 'tags' is list ['q']"),
        (Document("bad", "y", metadata={"tags": ("q",)}), "join its items into one text"),
        (Document("bad", "y", metadata={"author": {"name": "Kim"}}), "'author' is dict"),
        (Document("bad", "y", metadata={"reviewed": None}), "leave the field out"),
        (Document("bad", "y", metadata={"raw": b"x"}), "'raw' is bytes b'x'"),
        (Document("bad", "y", metadata={3: "x"}), "named by no text but int 3"),
        (Document("bad", "y", metadata={" ": "x"}), "has an empty name: ' '"),
        (Document("bad", "y", metadata={"n": float("nan")}), "'n' is nan, which compares with nothing"),
        (Document("bad", "y", metadata={"n": float("-inf")}), "'n' is -inf, which compares with nothing"),
        (Document("bad", "y", pages=None), "'pages' is NoneType None; it holds the offset"),
        (Document("bad", "y", pages=("a",)), "'pages' is tuple ('a',)"),
        (Document("bad", "y", pages=(1, 0)), "'pages' is tuple (1, 0)"),
        (Document("bad", "y", pages=(0, 2)), "'pages' is tuple (0, 2)"),
        (Document("bad", "y", pages=(-1,)), "'pages' is tuple (-1,)"),
        (Document("bad", "y", metadata=[("a", 1)]), "no mapping but list"),
        (Document("bad", " \n "), "its text is empty"),
        (Document("bad", b"y"), "'text' is no text but bytes"),
        (Document("bad", "y", title=3), "'title' is no text but int 3"),
    ],
)
def test_a_document_that_cannot_be_stored_is_named_and_the_others_are_stored(pipeline, bad, message):
    report = pipeline.add([Document("a", "x"), bad, Document("c", "z")])
    assert report.added == ["a", "c"]
    assert report.failed.keys() == {"bad"}
    assert "'bad'" in report.failed["bad"]
    assert message in report.failed["bad"]
    assert not report.ok
    assert any(message in w for w in report.trace.warnings)
    assert stored(pipeline).keys() == {"a", "c"}
    assert [row.name for row in pipeline.status()] == ["a", "c"]


@pytest.mark.parametrize("name", ["", "  ", 3, None])
def test_a_document_needs_a_name(pipeline, name):
    report = pipeline.add([Document(name, "x"), Document("b", "y")])
    assert report.added == ["b"]
    assert "its id is no text" in report.failed[str(name)]


def test_the_first_of_two_documents_of_one_id_is_stored(pipeline):
    report = pipeline.add([Document("a", "first"), Document("a", "second"), Document("b", "x"), Document("a", "first")])
    assert (report.added, report.unchanged) == (["a", "b"], 1)
    assert "two different documents have the id 'a'" in report.failed["a"]
    assert stored(pipeline)["a"].text == "first"
    assert pipeline.add([Document("a", "second")]).changed == ["a"], "in another call it is a new version"


def test_what_was_stored_stays_when_a_new_version_cannot_be(pipeline):
    pipeline.add([Document("a", "first", metadata={"n": 1})])
    assert pipeline.add([Document("a", "second", metadata={"n": [1]})]).failed.keys() == {"a"}
    assert stored(pipeline)["a"].text == "first"
    assert pipeline.status()[0].status == "ok"


def test_dates_become_texts(pipeline):
    pipeline.add([Document("a", "x", metadata={"on": date(2024, 5, 6), "at": datetime(2024, 5, 6, 7), "n": True})])
    assert stored(pipeline)["a"].metadata == {"on": "2024-05-06", "at": "2024-05-06T07:00:00", "n": True}
    assert pipeline.retrieve("x", where="on >= '2024-05-01' and n == true")
    assert pipeline.add(
        [Document("a", "x", metadata={"on": date(2024, 5, 6), "at": "2024-05-06T07:00:00", "n": True})]
    ).unchanged


def test_a_file_is_not_replaced_by_a_document_of_its_name(pipeline, tmp_path):
    (tmp_path / "a.txt").write_text("from a file")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    pipeline.ingest([tmp_path / "a.txt", tmp_path / "rows.csv"])
    row = next(d for d in stored(pipeline) if d.startswith("rows.csv#"))
    report = pipeline.add([Document("a.txt", "from Python"), Document(row, "from Python"), Document("c", "z")])
    assert report.added == ["c"]
    assert "the name of a file that was ingested" in report.failed["a.txt"]
    assert "two documents have the id" in report.failed[row]
    assert stored(pipeline)["a.txt"].text.strip() == "from a file"


def test_an_accepted_document_is_as_it_was():
    document = Document("a", "x", "s", "t", "text/markdown", {"a": 1, "b": 2.5, "c": "x", "d": False}, (0,))
    assert checked(document) == document
    assert checked(Document("a", "x")).source == "a"
    with pytest.raises(DocumentError, match=r"the document 'a': its metadata field 'x' is list \[.*\.\.\.; a field"):
        checked(Document("a", "x", metadata={"x": list(range(1000))}))


@pytest.mark.parametrize("bad", ["words", None, {"id": "x", "text": "y"}, 3])
def test_what_is_no_document_is_a_failure_and_the_others_are_stored(pipeline, bad):
    report = pipeline.add([Document("a", "x"), bad, Document("c", "z")])
    assert report.added == ["a", "c"]
    assert f"add: expected a Document, got {type(bad).__name__}" in report.failed[str(bad)]
    assert stored(pipeline).keys() == {"a", "c"}


@pytest.mark.parametrize("bad", ["docs/a.txt", None, 3, {"id": "x"}])
def test_what_holds_no_documents_is_refused(pipeline, bad):
    with pytest.raises(DocumentError, match="add: expected documents, got"):
        pipeline.add(bad)


def test_one_document_may_come_alone(pipeline):
    assert pipeline.add(Document("a", "x")).added == ["a"]


def test_what_came_before_an_error_of_the_iterable_is_stored_and_found(pipeline):
    def documents():
        yield Document("a", "tea leaves")
        yield Document("b", "coffee beans")
        raise RuntimeError("the connection is lost")

    with pytest.raises(RuntimeError, match="the connection is lost"):
        pipeline.add(documents())
    assert stored(pipeline).keys() == {"a", "b"}
    assert {hit.chunk.document_id for hit in pipeline.retrieve("coffee")} == {"a", "b"}
