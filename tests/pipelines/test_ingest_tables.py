"""Rows of a table are found by the names of their columns, and the span of a chunk stays exact."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.pipelines.pipeline import Pipeline

ROWS = [f"| part{n} | {n}.25 | shelf{n} |" for n in range(60)]
TEXT = "# Stock\n\n| Item | Price | Zanzibar |\n| --- | --- | --- |\n" + "\n".join(ROWS) + "\n"


@pytest.fixture(params=["", "headings"])
def pipeline(tmp_path, request):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stock.md").write_text(TEXT)
    made = Pipeline(
        encoder="hash",
        segment=[{"use": "recursive", "max_tokens": 60}],
        retrieve=[{"use": "bm25"}],
        store={"use": "embedded", "path": str(tmp_path / "store")},
        **({"situate": {"use": request.param}} if request.param else {}),
    )
    made.ingest([tmp_path / "docs"])
    return made


def test_every_chunk_of_rows_is_found_by_a_column(pipeline):
    chunks = list(pipeline.corpus.chunks())
    assert len(chunks) > 5
    hits = pipeline.retrieve("zanzibar", k=50)
    assert {hit.chunk.id for hit in hits} == {chunk.id for chunk in chunks}
    assert all(TEXT[chunk.start : chunk.end] == chunk.text for chunk in chunks)


def test_what_is_embedded_has_the_header_and_the_library_is_whole(pipeline):
    chunk = next(chunk for chunk in pipeline.corpus.chunks() if chunk.text.startswith("| part"))
    if pipeline.spec.situate is None:
        wanted = pipeline.spec.encoder.encode([f"| Item | Price | Zanzibar |\n{chunk.text}"])
        assert np.allclose(pipeline.corpus.vectors([chunk]), wanted, atol=1e-3)
    assert pipeline.verify() == []


def test_the_next_ingestion_changes_nothing(pipeline, tmp_path):
    report = pipeline.ingest([tmp_path / "docs"])
    assert (report.unchanged, report.encoded) == (1, 0)


@pytest.mark.parametrize(
    ("text", "question", "quoted", "shown"),
    [
        (TEXT, "What is the price of part17?", "part17 | 17.25 | shelf17 |",
         "Stock: Item: part17, Price: 17.25, Zanzibar: shelf17"),
        ("| Item | Price |\n| --- | --- |\n| Bolt | 9.50 |\n| Nut | 3.25 |\n\nEnd.\n", "What is the price of a nut?",
         "Nut | 3.25 |", "Item: Nut, Price: 3.25"),
        ("# Kit\n\n- blue rope 5 m\n- red rope 9 m\n\n# End\n", "How long is the red rope?", "red rope 9 m",
         "Kit: red rope 9 m"),
        ("Harbour Cafe\nTea 2.50\nScone 3.75\nSoup 6.10\nTotal 12.35\n", "How much was the soup?", "Soup 6.10",
         "Soup 6.10"),
    ],
)  # fmt: skip
def test_an_answer_quotes_one_row_or_item(tmp_path, text, question, quoted, shown):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(text)
    pipeline = Pipeline(
        encoder="hash", store={"use": "embedded", "path": str(tmp_path / "s")},
        generate={"use": "extractive", "max_sentences": 1, "floor": 0},
    )  # fmt: skip
    pipeline.ingest([tmp_path / "docs"])
    answer = pipeline.ask(question)
    assert answer.text == shown
    cited = [text[one.start : one.end] for one in answer.sentences[0].citations]
    assert quoted in cited
    assert len(cited) <= 3, "the row, its header and its heading"
    assert len("".join(cited)) < 100
