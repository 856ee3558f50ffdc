"""Poolers, the encoder's memory, and ingestion that reads a document once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.pipeline import Pipeline
from fovea.rag import registry
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.remember import RememberingEncoder
from fovea.rag.sentences import sentences
from fovea.rag.testing.poolers import check_pooler
from fovea.rag.testing.segmenters import HOSTILE
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.embedding_breakpoint import EmbeddingBreakpointSegmenter
from fovea.segmenters.fixed import FixedSegmenter
from fovea.segmenters.poolers.late import LatePooler, pieces
from fovea.segmenters.sentence import SentenceSegmenter
from tests.tokenizers_of_tests import encoder as toy

TEXT = "The river rose. It took the bridge. Nobody slept.\n\nIn spring the mill was rebuilt. It stands today. " * 3


class Counting(HashEncoder):
    """Counts what it encodes."""

    def encode(self, texts, role="document"):
        READ.extend(texts)
        return super().encode(texts, role)


READ: list[str] = []


@pytest.fixture(autouse=True)
def _fresh():
    READ.clear()


@pytest.mark.parametrize("name", sorted(registry.components("pooler")))
@pytest.mark.parametrize("overlap", [0, 5])
def test_the_laws_of_poolers(name, overlap):
    pooler, reader = registry.components("pooler")[name](), toy("words")
    check_pooler(pooler, reader, lambda d: segment(d, [FixedSegmenter(max_tokens=9, overlap=overlap)], reader))


@given(st.sampled_from(sorted(HOSTILE)), st.integers(2, 30))
def test_pieces_are_the_text_in_order_and_meet_every_edge(key, cap):
    document, reader = Document("d", HOSTILE[key]), toy("triples")
    chunks = segment(document, [FixedSegmenter(max_tokens=cap, overlap=1)], reader)
    if not chunks:
        return
    starts, texts = pieces(document.text, chunks)
    end = 0
    for at, text in zip(starts.tolist(), texts):
        assert document.text[at : at + len(text)] == text
        assert text == text.strip() != ""
        assert not document.text[end:at].strip()
        end = at + len(text)
    assert not document.text[end:].strip()
    inside = [s for s, t in zip(starts.tolist(), texts) for c in chunks for e in (c.start, c.end) if s < e < s + len(t)]
    assert inside == []


def test_a_chunk_alone_is_the_mean_of_its_sentences_by_their_tokens():
    reader, document = HashEncoder(), Document("d", "One two three. Four five. Six.")
    (chunk,) = segment(document, [SentenceSegmenter(max_tokens=50)], reader)
    (found,) = LatePooler(context=()).vectors(document, [chunk], reader)
    parts = [document.text[s.start : s.end] for s in sentences(document.text)]
    mean = sum(reader.tokenizer.count(p) * v for p, v in zip(parts, reader.encode(parts)))
    assert np.allclose(found, mean / np.linalg.norm(mean), atol=1e-6)


def test_context_moves_a_chunk_towards_its_neighbours_and_no_further_than_it_reaches():
    reader = HashEncoder()
    document = Document("d", "Alpha beta gamma. Delta epsilon zeta. Eta theta iota. Kappa lambda mu. Nu xi omicron.")
    chunks = segment(document, [SentenceSegmenter(max_tokens=4)], reader)
    assert len(chunks) == 5
    alone = LatePooler(context=()).vectors(document, chunks, reader)
    near = LatePooler(context=[4], weight=1).vectors(document, chunks, reader)
    assert near[2] @ alone[1] > alone[2] @ alone[1] + 0.1
    other = Document("d", document.text.replace("Nu xi omicron.", "Quite other things."))
    moved = LatePooler(context=[4], weight=1).vectors(
        other, segment(other, [SentenceSegmenter(max_tokens=4)], reader), reader
    )
    assert np.allclose(moved[2], near[2])
    assert not np.allclose(moved[3], near[3])
    assert np.allclose(LatePooler(context=[99], weight=0).vectors(document, chunks, reader), alone)


def test_segmenting_and_pooling_read_each_sentence_once():
    counting, document = Counting(), Document("d", TEXT)
    reader = RememberingEncoder.of(counting)
    chunks = segment(document, [EmbeddingBreakpointSegmenter(buffer=0, max_tokens=20)], reader)
    made = LatePooler().vectors(document, chunks, reader)
    assert len(READ) == len(set(READ))
    assert set(READ) == {TEXT[s.start : s.end] for s in sentences(TEXT)}
    assert np.allclose(made, LatePooler().vectors(document, chunks, counting))


def test_a_chain_encodes_what_two_of_its_segmenters_ask_for_once():
    counting = Counting()
    chain = [EmbeddingBreakpointSegmenter(buffer=0, amount=60), EmbeddingBreakpointSegmenter(buffer=0, max_tokens=20)]
    segment(Document("d", TEXT), chain, counting)
    assert len(READ) == len(set(READ))


@given(st.lists(st.text(max_size=8), max_size=12), st.integers(1, 4))
def test_the_memory_changes_nothing_but_the_work(texts, size):
    reader = RememberingEncoder.of(HashEncoder(size=16), slice=size)
    for _ in range(2):
        assert np.array_equal(reader.encode(texts), HashEncoder(size=16).encode(texts))
    assert reader.space == reader.fingerprint == HashEncoder(size=16).fingerprint


@pytest.fixture
def late(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "mill.txt").write_text(TEXT)
    stages = {"segment": {"use": "sentence", "max_tokens": 12}, "pool": {"use": "late", "context": [20]}}
    with Pipeline(base=tmp_path, encoder=Counting(), **stages) as pipeline:
        yield pipeline, tmp_path


def test_ingestion_pools_what_it_read_once_and_the_store_is_whole(late):
    pipeline, folder = late
    report = pipeline.ingest(folder / "docs")
    distinct = {TEXT[s.start : s.end] for s in sentences(TEXT)}
    assert sorted(READ) == sorted(distinct)
    assert report.encoded == len(distinct)
    assert pipeline.verify() == []
    hits = pipeline.retrieve("Who rebuilt the mill?", k=2)
    assert "mill" in hits[0].chunk.text


def test_a_changed_document_costs_its_changed_sentences(late):
    pipeline, folder = late
    pipeline.ingest(folder / "docs")
    READ.clear()
    (folder / "docs" / "mill.txt").write_text(TEXT + "One more sentence came later.")
    report = pipeline.ingest(folder / "docs")
    assert READ == ["One more sentence came later."]
    assert (report.changed, report.encoded) == (["docs/mill.txt"], 1)
    assert pipeline.verify() == []


def test_another_pooler_makes_other_vectors_out_of_what_was_read(late):
    pipeline, folder = late
    pipeline.ingest(folder / "docs")
    stages = {"segment": {"use": "sentence", "max_tokens": 12}, "pool": {"use": "late", "context": []}}
    READ.clear()
    with Pipeline(base=folder, encoder=Counting(), **stages) as other:
        other.ingest(folder / "docs")
        assert READ == []
        assert other.verify() == []


def test_a_vector_of_another_place_is_found_by_check(late):
    import sqlite3

    pipeline, folder = late
    pipeline.ingest(folder / "docs")
    pipeline.close()
    path = next(folder.rglob("library.sqlite"))
    with sqlite3.connect(path) as db:
        (a, b), *_ = db.execute("SELECT min(vector), max(vector) FROM chunks").fetchall()
        db.execute("UPDATE chunks SET vector = ? WHERE vector = ?", (a, b))
    db.close()
    assert any("another text" in problem for problem in pipeline.verify())


def test_check_reads_each_document_once_however_many_chunks_it_has(late, monkeypatch):
    from fovea.retrievers.library import checks

    pipeline, folder = late
    pipeline.ingest(folder / "docs")
    real, asked = checks.text_digest, []
    monkeypatch.setattr(checks, "text_digest", lambda text: asked.append(len(text)) or real(text))
    assert pipeline.verify() == []
    assert asked == [len(TEXT)]
