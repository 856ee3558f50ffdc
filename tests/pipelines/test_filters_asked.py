"""Filters and the moment of asking, from Python and the command line, and stores of an older Fovea."""

from datetime import UTC, date, datetime

import pytest

from fovea.pipelines.cli.main import main
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import QueryError
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Query
from fovea.retrievers.library import lexicon

ROWS = "Invoice No.,unit-price,class,when\nA1,10,x,2024-05-06\nA2,20,y,2024-06-07\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.csv").write_text(ROWS)
    (tmp_path / "docs/b.md").write_text("---\ntitle: On rows\n---\n# Rows\n\nA row of chairs.\n")
    (tmp_path / "qa.yaml").write_text(
        "encoder: hash\nstore: {use: embedded, path: store}\nretrieve: [dense, bm25, bm25s]\n"
    )
    with Pipeline.from_yaml(tmp_path / "qa.yaml") as pipeline:
        assert pipeline.ingest(tmp_path / "docs").ok
    return tmp_path


@pytest.fixture
def pipeline(folder):
    with Pipeline.from_yaml(folder / "qa.yaml") as pipeline:
        yield pipeline


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("`Invoice No.` == 'A1'", 1), ("`unit-price` >= 10", 2), ("`class` in ['x', 'z']", 1), ("when < '2024-06'", 1),
        ("suffix == '.md'", 1), ("source == 'docs/b.md'", 1), ("title == 'On rows'", 1),
        ("starts_with(path, 'docs/')", 3),
        ("media_type == 'text/markdown'", 1), ("not exists(page)", 3), ("contains(source, 'csv')", 2),
    ],
)  # fmt: skip
def test_fields_of_files(pipeline, where, found):
    hits = pipeline.retrieve("row", k=9, where=where)
    assert len(hits) == found
    assert {h.chunk.id for h in hits} == {h.chunk.id for h in pipeline.retrieve(Query("row"), k=9, where=where)}


def test_an_unknown_field_is_an_error_that_lists_the_known_ones(pipeline):
    with pytest.raises(QueryError) as caught:
        pipeline.retrieve("row", where="invoice == 'A1'")
    assert str(caught.value).startswith("filter: no document has the field 'invoice'\n  allowed: ")
    assert "`Invoice No.`" in str(caught.value)
    with pytest.raises(QueryError, match="the field 'unit-price' holds numbers, and is compared with '10'"):
        pipeline.ask("row", where="`unit-price` == '10'")
    assert len(pipeline.retrieve("row", k=9, where="not exists(invoice) or invoice == 3")) == 3


def test_a_field_that_comes_later_is_known(folder):
    with Pipeline.from_yaml(folder / "qa.yaml") as pipeline:
        with pytest.raises(QueryError):
            pipeline.retrieve("row", where="size == 3")
        pipeline.add([Document("big", "A big row.", metadata={"size": 3})])
        assert [h.chunk.document_id for h in pipeline.retrieve("row", where="size == 3")] == ["big"]


@pytest.mark.parametrize(
    "given", [date(2024, 5, 6), datetime(2024, 5, 6), "2024-05-06", "2024-05-06T00:00", " 20240506 "]
)
def test_the_moment_of_asking_in_any_form(pipeline, given):
    assert Query("row", as_of=given).as_of == datetime(2024, 5, 6)
    assert pipeline.retrieve("row", as_of=given) == pipeline.retrieve(Query("row"), as_of=given)
    assert pipeline._query("row", None, given).as_of == datetime(2024, 5, 6)
    assert pipeline._query(Query("row", as_of="2020-01-01"), None, given).as_of == datetime(2024, 5, 6)


def test_a_moment_with_its_zone_keeps_it():
    assert Query("row", as_of="2024-05-06T07:00:00Z").as_of == datetime(2024, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("given", ["yesterday", "", 2024, "2024-13-01", [2024]])
def test_no_moment(pipeline, given):
    with pytest.raises(QueryError, match="'as_of' is no time"):
        pipeline.ask("row", as_of=given)


def test_the_command_line_takes_both(folder, capsys):
    ask = ["search", str(folder / "qa.yaml"), "row"]
    assert main([*ask, "--where", "`Invoice No.` == 'A2'", "--as-of", "2024-05-06T12:00"]) == 0
    out = capsys.readouterr().out
    assert "a.csv" in out
    assert "A2" in out
    assert main([*ask, "--as-of", "noon"]) == 2
    assert main([*ask, "--where", "Invoice No. == 'A2'"]) == 2
    err = capsys.readouterr().err
    assert "'as_of' is no time such as 2024-05-01T12:00:00: 'noon'" in err
    assert "stand in backticks" in err
    assert "Traceback" not in err


def test_a_reader_of_an_older_store_is_told_and_rebuild_mends_it(folder, monkeypatch):
    with monkeypatch.context() as older, Pipeline.from_yaml(folder / "qa.yaml") as pipeline:
        older.setattr(lexicon, "VERSION", "1/15.0.0")
        older.setattr(lexicon, "index_terms", str.split)
        pipeline.rebuild()
    with Pipeline.from_yaml(folder / "qa.yaml") as pipeline:
        trace = Trace()
        pipeline.retrieve("row", trace=trace)
        assert [w for w in trace.warnings if "another version" in w and "`fovea rebuild`" in w]
        pipeline.rebuild()
        trace = Trace()
        assert pipeline.retrieve("row", trace=trace)
        assert not trace.warnings
        assert pipeline.verify() == []
