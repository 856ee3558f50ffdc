"""`situate: surroundings`: what is said is the text around a chunk, and small chunks are found by it, as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.testing.situators import check_situator, pieces
from fovea.rag.types import Document, Span
from fovea.retrievers.situators.surroundings import SurroundingsSituator

ENCODER = HashEncoder(size=64)
TEXT = "The mill was built in 1820. Water drove it. A fire in May took the roof. It stands empty. Owls nest there."


@pytest.mark.parametrize("form", ["none", "add", "prefix", "residual"])
def test_the_laws(form):
    check_situator(SurroundingsSituator(form=form, reach=90), ENCODER)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 9), st.integers(1, 80))
def test_it_says_the_whole_chunks_within_reach(lengths, overlap, reach):
    """Against the definition, chunk by chunk, with chunks that overlap and differ in size."""
    text = "".join(chr(97 + i % 26) for i in range(sum(lengths)))
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    document = Document("a", text)
    chunks = [
        document.chunk(Span(max(0, a - overlap * (i > 0)), a + n)) for i, (a, n) in enumerate(zip(starts, lengths))
    ]
    chunks.sort(key=lambda c: (c.start, c.end))
    for i, said in enumerate(SurroundingsSituator(reach=reach).texts(document, chunks)):
        one, first, last = chunks[i], i, i
        while first > 0 and one.start - chunks[first - 1].start <= reach:
            first -= 1
        while last + 1 < len(chunks) and chunks[last + 1].end - one.end <= reach:
            last += 1
        assert said == (text[chunks[first].start : chunks[last].end] if first < last else "")


def test_a_document_of_one_chunk_says_nothing():
    document = Document("a", TEXT)
    assert SurroundingsSituator().texts(document, [document.chunk(Span(0, len(TEXT)))]) == [""]
    assert SurroundingsSituator(reach=1).texts(document, pieces(document)) == [""] * len(pieces(document))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/mill.txt").write_text(TEXT)
    (tmp_path / "docs/barn.txt").write_text(
        "The barn is of stone. Hay fills it. A fire in June spared the door. Mice nest."
    )
    return tmp_path


def opened(folder, **stages) -> Pipeline:
    segment = {"use": "sentence", "max_tokens": 10}
    return Pipeline(base=folder, encoder=HashEncoder(), segment=segment, retrieve={"use": "bm25"}, **stages)


def test_the_words_before_it_tell_which_fire_is_meant(folder):
    """And what comes back is the sentence itself."""
    with opened(folder, situate={"use": "surroundings", "reach": 60}) as pipeline:
        assert pipeline.ingest(folder / "docs").ok
        assert pipeline.verify() == []
        for name, told in (("mill", "A fire in May took the roof."), ("barn", "A fire in June spared the door.")):
            hits = pipeline.retrieve(f"fire in the {name}", k=9)
            first = next(hit.chunk for hit in hits if "fire" in hit.chunk.text)
            assert (first.source, first.text) == (f"docs/{name}.txt", told)
        for chunk in pipeline.corpus.chunks():
            assert pipeline.corpus.document(chunk.document_id).text[chunk.start : chunk.end] == chunk.text


def test_a_neighbour_that_changed_is_no_longer_heard(folder):
    situate = {"use": "surroundings", "reach": 60}
    with opened(folder, situate=situate) as pipeline:
        pipeline.ingest(folder / "docs")
        assert len(pipeline.retrieve("water", k=9)) > 1
        (folder / "docs/mill.txt").write_text(TEXT.replace("Water", "Wind"))
        assert pipeline.ingest(folder / "docs").encoded == 1
        assert pipeline.retrieve("water", k=9) == []
        assert len(pipeline.retrieve("wind", k=9)) > 1
        assert pipeline.verify() == []
        pipeline.remove([folder / "docs/mill.txt"])
        assert pipeline.retrieve("wind", k=9) == []


@pytest.mark.parametrize("preset", ["passages", "topics"])
def test_presets_of_small_chunks_hear_what_is_around_and_keep_more(preset):
    spec = PipelineSpec(preset=preset)
    assert isinstance(spec.situate, SurroundingsSituator)
    assert spec.situate.form == "none"
    size, usual = spec.segment[-1].max_tokens, PipelineSpec().kept * PipelineSpec().segment[-1].max_tokens
    assert usual - size < spec.kept * size <= usual
    assert PipelineSpec(preset=preset, k=3).kept == 3
    assert PipelineSpec(preset=preset, situate=None).situate is None
    chosen = [{"use": "reranker"}, {"use": "expected_recall"}]
    assert PipelineSpec(preset=preset, refine=chosen).kept == spec.candidates
    assert PipelineSpec(preset="plain").kept == 5
