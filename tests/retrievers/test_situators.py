"""Situators: the laws over every registered one, the formulas, and what each says of a chunk."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.rag import registry
from fovea.rag.encoder import TokenStates
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import ConfigError, MissingExtra, ModelError
from fovea.rag.models import find
from fovea.rag.remember import RememberingEncoder
from fovea.rag.situator import Situator, alikeness
from fovea.rag.testing.situators import MARKDOWN, check_situator, pieces
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Span
from fovea.rag.windows import around
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.retrievers.situators.late import LateSituator, stretches
from tests.ellipsis import ellipsis
from tests.tokenizers_of_tests import TOKENIZERS, encoder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
needs_minilm = pytest.mark.skipif(find("minilm") is None, reason="needs the model: fovea models get minilm")
ENCODER = HashEncoder(size=64)


@cache
def minilm() -> RememberingEncoder:
    return RememberingEncoder.of(SentenceTransformerEncoder(offline=True))


class Reading(HashEncoder):
    """An encoder whose tokens' states know the word before: the least that late chunking can be seen by."""

    size: int = 64
    limit: int | None = None

    @property
    def window(self):
        return self.limit

    def token_states(self, texts, role="document"):
        found = []
        for text in texts:
            tokens = self.tokenizer.words(text)
            alone = HashEncoder(size=self.size).encode(tokens) if tokens else np.zeros((0, self.size), np.float32)
            states = alone + 0.5 * np.concatenate([np.zeros_like(alone[:1]), alone[:-1]])
            mean = states.sum(axis=0)
            vector = mean / np.linalg.norm(mean) if mean.any() else np.eye(1, self.size, dtype=np.float32)[0]
            found.append(TokenStates(vector, np.zeros(len(tokens), np.int64), states))
        return found

    def encode(self, texts, role="document"):
        found = [states.vector for states in self.token_states(texts)]
        return np.stack(found).astype(np.float32) if found else np.zeros((0, self.size), np.float32)


# The laws


@pytest.mark.parametrize("form", ["add", "prefix", "residual", "none"])
def test_the_laws_of_headings(form):
    check_situator(HeadingSituator(form=form), ENCODER)


@pytest.mark.parametrize("form", ["prefix", "residual", "none"])
@pytest.mark.parametrize("limit", [None, 12])
def test_the_laws_of_late(form, limit):
    check_situator(LateSituator(form=form), Reading(limit=limit))


@needs_minilm
@pytest.mark.parametrize("name", sorted(set(registry.names("situator")) - {"chat"}))  # It needs a server: test_chat.
def test_the_laws_of_every_other(name):
    try:
        check_situator(registry.find("situator", name)(), minilm())
    except (MissingExtra, ModelError) as error:
        pytest.skip(str(error))


# The formulas


class Said(Situator):
    """Says what it is told."""

    name: ClassVar[str] = "said"
    said: tuple[str, ...] = ()

    def texts(self, document, chunks):
        return list(self.said)


DOCUMENT = Document("d", "alpha beta. gamma delta. epsilon zeta.")
CHUNKS = [DOCUMENT.chunk(Span(0, 11)), DOCUMENT.chunk(Span(12, 24)), DOCUMENT.chunk(Span(25, 38))]
OWN = ENCODER.encode([c.text for c in CHUNKS])


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_what_each_form_means():
    said = ("omega", "", "psi chi")
    alone = ENCODER.encode(["omega", "psi chi"])
    before = ENCODER.encode(["omega | alpha beta.", "psi chi | epsilon zeta."])
    for form, expected in {
        "add": unit(OWN[[0, 2]] + 0.3 * alone),
        "prefix": before,
        "residual": unit(OWN[[0, 2]] + 0.3 * before),
        "none": OWN[[0, 2]],
    }.items():
        situator = Said(said=said, form=form, weight=0.3, separator=" | ")
        made = situator.vectors(DOCUMENT, CHUNKS, OWN, ENCODER)
        assert np.allclose(made[[0, 2]], expected, atol=1e-6), form
        assert np.array_equal(made[1], OWN[1]), "a chunk of which nothing is said keeps its own vector"


def test_a_situation_that_cancels_the_chunk_out_leaves_it():
    situator = Said(weight=1)
    assert np.array_equal(situator.joined(OWN, -OWN), OWN)
    assert np.allclose(Said(weight=0).joined(OWN, -OWN), OWN, atol=1e-6)


@given(st.integers(0, 6), st.integers(0, 5))
def test_alikeness_is_the_mean_cosine_of_pairs(n, seed):
    rows = unit(np.random.default_rng(seed).normal(size=(n, 8)))
    pairs = [float(rows[i] @ rows[j]) for i in range(n) for j in range(i)]
    assert alikeness(rows) == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-9)


def test_bad_settings_are_refused_with_what_is_allowed():
    for settings, words in (
        ({"form": "sum"}, "'add', 'prefix', 'residual' or 'none'"),
        ({"weight": -1}, "greater than or equal to 0"),
        ({"weight": float("nan")}, "finite"),
    ):
        with pytest.raises(ValidationError, match=words):
            Situator.model_validate({"use": "headings", **settings})
    with pytest.raises(ValidationError, match="'prefix', 'residual' or 'none'"):
        LateSituator(form="add")


# Title and headings


def said(document: Document, *texts: str) -> list[str]:
    chunks = [document.chunk(Span(at := document.text.index(text), at + len(text))) for text in texts]
    return HeadingSituator().texts(document, chunks)


def test_title_and_trail():
    document = Document("d", MARKDOWN, title="Rivers of Europe", media_type="text/markdown")
    assert said(document, "They carry", "It flows", "The oldest", "It is not") == [
        "Rivers of Europe",
        "Rivers of Europe. The Danube",
        "Rivers of Europe. The Danube. Bridges",
        "Rivers of Europe. The Nile",
    ]
    untitled = Document("d", MARKDOWN, media_type="text/markdown")
    assert said(untitled, "It flows") == ["Rivers of Europe. The Danube"]
    other = Document("d", MARKDOWN, title="Atlas", media_type="text/markdown")
    assert said(other, "It flows") == ["Atlas. Rivers of Europe. The Danube"]
    assert said(Document("d", MARKDOWN, title="Atlas"), "It flows") == ["Atlas"], "plain text has no headings"


def test_what_a_chunk_begins_with_is_not_said_again():
    document = Document("d", MARKDOWN, title="Rivers of Europe", media_type="text/markdown")
    assert said(document, "# Rivers of Europe\n\nThey", "## The Danube\n\nIt flows", "## The Nile") == [
        "",
        "Rivers of Europe",
        "Rivers of Europe",
    ]


def test_a_document_without_either_is_introduced_by_its_first_sentence():
    text = "---\nauthor: x\n---\n1.\n\nVelmora is a harbour town. It is old.\nIts mayor is called Brandt."
    document = Document("d", text, media_type="text/markdown")
    assert said(document, "It is old.", "Its mayor", "Velmora is a harbour town. It") == [
        "Velmora is a harbour town.",
        "Velmora is a harbour town.",
        "",
    ]
    assert said(Document("d", "word " * 300 + "end. It is."), "It is.") == [""], "a page without full stops"
    assert said(Document("d", "<p>One two three. It is.", media_type="text/html"), "It is.") == [""]


def test_two_documents_of_one_text_are_told_apart_by_their_titles():
    one, two = (Document("d", "It has no air.", title=title) for title in ("The Moon", "Mercury"))
    vectors = [HeadingSituator().vectors(d, pieces(d), ENCODER.encode(["It has no air."]), ENCODER) for d in (one, two)]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.05


# Windows


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60), st.integers(0, 40))
def test_a_range_is_widened_evenly_and_inside_of_the_whole(start, size, most, rest):
    end, length = start + size, start + size + rest
    low, high = around(start, end, most, length)
    assert 0 <= low <= start <= end <= high <= length
    assert high - low == max(size, min(most, length))
    if low > 0 and high < length:
        assert abs((start - low) - (high - end)) <= 1


@given(
    st.sampled_from(TOKENIZERS),
    st.lists(st.sampled_from(["river ", "a", "é\n\n", "汉字", ". ", "bbbb ", "🦊"]), max_size=60).map("".join),
    st.integers(1, 12),
    st.integers(0, 4),
    st.integers(1, 25),
)
def test_every_chunk_lies_inside_its_windows(name, text, size, overlap, most):
    """E1: windows lie in the document, hold the chunk's text, and are no longer than the model reads."""
    document, tokenizer = Document("d", text), encoder(name).tokenizer
    chunks = [document.chunk(Span(a, min(len(text), a + size + overlap))) for a in range(0, len(text), size)]
    places = tokenizer.offsets(text)
    found = list(stretches(text, chunks, tokenizer, most))
    for window in found:
        assert 0 <= window.start < window.end <= len(text)
        assert sum((places[:, 0] >= window.start) & (places[:, 1] <= window.end)) >= min(most, len(places)) // 2
    for i, chunk in enumerate(chunks):
        mine = [window for window in found if i in window.chunks]
        inside = places[(places[:, 0] < chunk.end) & (places[:, 1] > chunk.start)]
        if len(mine) == 1 and len(inside):
            assert mine[0].start <= inside[0, 0]
            assert inside[-1, 1] <= mine[0].end
        covered = {at for w in mine for at in range(w.start, w.end)}
        assert {at for a, b in inside for at in range(a, b)} <= covered, "no token of the chunk is left out"
        assert len(mine) <= 1 or len(inside) > most, "only a chunk that is too long has several"


# Late chunking


def test_the_mean_of_the_states_of_a_chunk_in_its_window():
    reader, document = Reading(), Document("d", "one two three four five six", title="T")
    chunks = [document.chunk(Span(0, 7)), document.chunk(Span(8, 18)), document.chunk(Span(19, 27))]
    own = reader.encode([c.text for c in chunks])
    (states,) = (found.states for found in reader.token_states(["T. one two three four five six"]))
    means = unit(np.stack([states[a:b].sum(axis=0) for a, b in ((2, 4), (4, 6), (6, 8))]))
    assert np.allclose(LateSituator().vectors(document, chunks, own, reader), means, atol=1e-6)
    residual = LateSituator(form="residual", weight=0.7).vectors(document, chunks, own, reader)
    assert np.allclose(residual, unit(own + 0.7 * means), atol=1e-6)
    assert np.abs(means - own).max() > 0.1, "the word before a chunk is in its vector"


def test_a_chunk_longer_than_the_window_is_pooled_over_several_and_counted():
    reader = Reading(limit=6)
    document = Document("d", "one two three four five six seven eight nine ten", title="T")
    chunks = pieces(document, 1000)
    trace = Trace()
    with trace.stage("situate"):
        made = LateSituator().vectors(document, chunks, reader.encode([document.text]), reader)
    parts = [found.states[2:] for found in reader.token_states(["T. one two three", "T. four five six"])]
    parts += [found.states[2:] for found in reader.token_states(["T. seven eight nine ten"])]
    assert np.allclose(made, unit(np.concatenate(parts).sum(axis=0, keepdims=True)), atol=1e-6)
    assert trace.warnings == {"chunks longer than the model's window were pooled over several windows": 1}


def test_a_title_that_would_fill_half_of_the_window_is_left_out_and_counted():
    reader, document = Reading(limit=8), Document("d", "one two", title="a long title of six words")
    trace = Trace()
    with trace.stage("situate"):
        made = LateSituator().vectors(document, pieces(document), reader.encode(["one two"]), reader)
    assert np.allclose(made, reader.encode(["one two"]), atol=1e-6)
    assert sum(trace.warnings.values()) == 1


def test_a_chunk_without_tokens_keeps_its_own_vector():
    reader, document = Reading(), Document("d", "one two    \n\n   three")
    chunks = [document.chunk(Span(0, 7)), document.chunk(Span(8, 15)), document.chunk(Span(16, 21))]
    own = reader.encode([c.text for c in chunks])
    assert np.array_equal(LateSituator().vectors(document, chunks, own, reader)[1], own[1])


def test_an_encoder_without_states_and_one_that_does_not_pool_by_the_mean_are_refused():
    document = Document("d", "one two three four five six seven eight nine ten eleven twelve thirteen fourteen 15 16")

    class Last(Reading):
        def token_states(self, texts, role="document"):
            return [s._replace(vector=unit(s.states[-1:])[0]) for s in super().token_states(texts)]

    for reader, words in (
        (ENCODER, "hash shows vectors"),
        (Last(), "late chunking needs a model whose vectors are the"),
    ):
        own = HashEncoder(size=64).encode([document.text])
        with pytest.raises(ConfigError, match=words) as error:
            LateSituator().vectors(document, pieces(document, 1000), own, RememberingEncoder.of(reader))
        assert error.value.fix


@needs_minilm
def test_late_chunking_with_a_model():
    """The example of the paper: a sentence that only points at its subject comes nearer to the subject's name."""
    text = (
        "Berlin is the capital and largest city of Germany, both by area and by population. Its more than 3.85 million "
        "inhabitants make it the European Union's most populous city, as measured by population within city limits."
    )
    document, cut = Document("d", text), text.index("Its")
    chunks = [document.chunk(Span(0, cut)), document.chunk(Span(cut, len(text)))]
    own = minilm().encode([c.text for c in chunks])
    (asked,) = minilm().encode(["Berlin"], "query")
    made = LateSituator().vectors(document, chunks, own, minilm())
    assert own[1] @ asked < 0.5 < made[1] @ asked


# E4


@needs_minilm
def test_sentences_that_leave_out_their_subject_are_found_by_their_place():
    """Chunks alone cannot be told apart; every form of situating finds at least six of ten."""

    def first(vectors: list[np.ndarray]) -> float:
        products = asked @ np.concatenate(vectors).T
        return float((products.argmax(axis=1) == gold).mean())

    documents, chunks, questions = ellipsis(titled=True)
    assert (len(documents), len(questions)) == (40, 480)
    numbers = {chunk.id: n for n, chunk in enumerate(c for found in chunks for c in found)}
    gold = np.array([numbers[chunk.id] for _, chunk in questions])
    asked = minilm().encode([text for text, _ in questions], "query")
    own = [minilm().encode([c.text for c in found]) for found in chunks]
    assert first(own) <= 0.15
    for situator in (*(HeadingSituator(form=form) for form in ("add", "prefix", "residual")), LateSituator()):
        made = [situator.vectors(d, c, o, minilm()) for d, c, o in zip(documents, chunks, own)]
        assert first(made) >= 0.6, situator
    assert first([LateSituator(form="residual").joined(o, m) for o, m in zip(own, made)]) >= 0.6
    untitled, chunks, _ = ellipsis(titled=False)
    assert [d.text for d in untitled] == [d.text for d in documents]
    made = [HeadingSituator().vectors(d, c, o, minilm()) for d, c, o in zip(untitled, chunks, own)]
    assert first(made) >= 0.6, "the first sentence introduces a document without a title"


def test_the_made_documents_are_what_they_say():
    documents, chunks, questions = ellipsis(titled=False)
    assert (documents, chunks, questions) == ellipsis(titled=False)
    for document, found in zip(documents, chunks):
        assert len(found) == 13
        assert all(document.text[c.start : c.end] == c.text for c in found)
        assert not any(c.text.startswith(document.text.split()[0]) for c in found[1:])
        assert all(c.text.startswith("It") for c in found[1:])
    assert len({text for text, _ in questions}) == 480
