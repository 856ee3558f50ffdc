"""Citing: planted claims that are supported, put in other words, contradicted, made up, or no claims at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.answering.citing import THRESHOLD, cite, unmarked
from fovea.pipelines.answering.claims import clauses, denied, names
from fovea.pipelines.answering.likeness import cover, likeness, scale, weights
from fovea.pipelines.answering.passages import read
from fovea.pipelines.answering.quantities import asked_numbers, numbers
from fovea.pipelines.answering.refusals import NO_ANSWER, is_refusal
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import FoveaError
from fovea.rag.stems import stems
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.generators import HOSTILE, TEXTS, check_citations, check_sentences, everything
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Hit, Span

LIBRARY = {
    "moon.txt": "The Moon orbits the Earth in 27 days. It has no air. Neil Armstrong walked on it in 1969.",
    "tea.md": "# Tea\n\nIt is made of leaves.\n\n## Brewing\n\nGreen tea is brewed\nat 80 degrees. "
    "Black tea takes 1,500 millilitres of boiling water.",
    "rivers.txt": "The Danube flows through ten countries. The Nile is longer than the Danube.",
}


def minilm() -> Encoder:
    """The trained encoder, or skip."""
    from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder()
    try:
        encoder.encode(["ready?"])
    except FoveaError as error:
        pytest.skip(str(error))
    return encoder


@pytest.fixture(scope="module", params=["hash", "minilm"])
def corpus(request) -> MemoryCorpus:
    return MemoryCorpus.of(LIBRARY, HashEncoder() if request.param == "hash" else minilm())


def hits_of(corpus: MemoryCorpus) -> list[Hit]:
    return [Hit(c, 1.0) for c in corpus.chunks()]


SUPPORTED = [
    ("The Moon orbits the Earth in 27 days.", ["The Moon orbits the Earth in 27 days."]),
    ("The Moon circles the Earth in twenty-seven days [1].", ["The Moon orbits the Earth in 27 days."]),
    ("Green tea should be brewed at 80 degrees.", ["Green tea is brewed\nat 80 degrees."]),
    ("Black tea takes 1500 millilitres of boiling water [2].", ["Black tea takes 1,500 millilitres of boiling water."]),
    ("The Danube flows through 10 countries. [3]", ["The Danube flows through ten countries."]),
    # what a pronoun in the evidence means is evidence too
    ("The Moon has no air.", ["It has no air.", "The Moon orbits the Earth in 27 days."]),
    (
        "Neil Armstrong walked on the Moon in 1969.",
        ["Neil Armstrong walked on it in 1969.", "The Moon orbits the Earth in 27 days."],
    ),
    # a sentence of two statements, each with its own document
    (
        "The Moon orbits the Earth in 27 days, and the Danube flows through ten countries.",
        ["The Moon orbits the Earth in 27 days.", "The Danube flows through ten countries."],
    ),
]
UNSUPPORTED = [
    "The Moon orbits the Earth in 28 days.",  # another number
    "Neil Armstrong walked on it in 1979.",  # another year
    "Green tea is brewed at eighty-five degrees [2].",  # a marker proves nothing
    "The Moon has air.",  # denied
    "Green tea is not brewed at 80 degrees.",  # denies
    "Buzz Aldrin walked on the Moon in 1969.",  # another name
    "The Nile flows through ten countries.",  # another river's fact
    "The Moon orbits the Earth in 27 days, and the Danube flows through twelve countries.",  # half wrong is unsupported
    "Bananas are grown in Ecuador.",  # from nowhere
    "Sure, here is what you asked for:",  # no claim
]


@pytest.mark.parametrize(("claim", "quotes"), SUPPORTED, ids=lambda x: x[:40] if isinstance(x, str) else "")
def test_supported(corpus, claim, quotes):
    answer = cite(claim, hits_of(corpus), corpus)
    assert [c.quote for c in answer.citations] == quotes
    for c in answer.citations:
        assert corpus.document(c.document_id).text[c.start : c.end] == c.quote
        assert THRESHOLD <= c.score <= 1


@pytest.mark.parametrize("claim", UNSUPPORTED)
def test_unsupported(corpus, claim):
    answer = cite(claim, hits_of(corpus), corpus)
    assert not answer.citations
    assert [s.text for s in answer.unsupported] == [s.text for s in answer.sentences] != []


def test_other_words_need_a_trained_encoder():
    corpus = MemoryCorpus.of(LIBRARY, minilm())
    claim = "Our planet's moon takes 27 days to travel around the Earth."
    assert cite(claim, hits_of(corpus), corpus).citations[0].quote == "The Moon orbits the Earth in 27 days."


@pytest.mark.parametrize(
    "text",
    [
        NO_ANSWER,
        "The passages do not mention the Moon's air.",
        "I'm sorry, but the provided context does not contain the answer about green tea.",
        "I don't know.",
    ],
)
def test_a_refusal_is_no_claim(corpus, text):
    assert is_refusal(text)
    (sentence,) = cite(text, hits_of(corpus), corpus).sentences
    assert (sentence.text, sentence.citations) == (text, ())


@pytest.mark.parametrize(
    "text", ["Unfortunately, the ship sank in 1912.", "The sources do not freeze.", "Sorry is a word."]
)
def test_a_claim_is_no_refusal(text):
    assert not is_refusal(text)


def test_a_short_answer_is_read_with_its_question(corpus):
    question = "In how many days does the Moon orbit the Earth?"
    assert cite("27 days.", hits_of(corpus), corpus, question=question).citations[0].quote.startswith("The Moon orbits")
    assert not cite("28 days.", hits_of(corpus), corpus, question=question).citations
    assert not cite("Yes.", hits_of(corpus), corpus, question="Bananas?").citations


def test_a_mixed_answer_keeps_each_sentence_apart(corpus):
    text = (
        "The Danube flows through ten countries [3]. It is full of gold [3][1]. Green tea is brewed at 80 degrees [2]."
    )
    answer = cite(text, hits_of(corpus), corpus)
    assert (
        answer.text == "The Danube flows through ten countries. It is full of gold. Green tea is brewed at 80 degrees."
    )
    assert [s.supported for s in answer.sentences] == [True, False, True]
    check_sentences(answer)


def test_a_marker_decides_between_equal_passages():
    corpus = MemoryCorpus.of({"a": "It rains in Bergen.", "b": "It rains in Bergen."}, HashEncoder())
    for n, name in ((1, "a"), (2, "b")):
        (citation,) = cite(f"It rains in Bergen [{n}].", hits_of(corpus), corpus).citations
        assert citation.document_id == name


def test_a_sentence_cut_by_its_chunk_is_quoted_whole():
    text = "Before that, nothing. The Danube flows through ten countries, says the book. After that, nothing."
    document = Document("d", text, pages=(0, 22))
    chunk = document.chunk(Span(30, 85))
    corpus = MemoryCorpus([document], [chunk], HashEncoder())
    (citation,) = cite("The Danube flows through ten countries.", [Hit(chunk, 1.0)], corpus).citations
    assert citation.quote == "The Danube flows through ten countries, says the book."
    assert citation.page == 2
    assert [p.text for p in read([Hit(chunk, 1.0)], corpus)] == [citation.quote]


def test_names_may_stand_in_the_title():
    document = Document("d", "The river flows through ten countries and four capitals.", title="Danube")
    corpus = MemoryCorpus([document], [document.chunk(Span(0, len(document.text)))], HashEncoder())
    claim, question = "The Danube flows through ten countries.", "How many countries does the Danube flow through?"
    assert cite(claim, hits_of(corpus), corpus, question=question).citations
    assert not cite(claim.replace("Danube", "Rhine"), hits_of(corpus), corpus, question=question).citations


@pytest.mark.parametrize(
    ("text", "clean", "marks"),
    [
        ("A b [1].", "A b.", [(3, 0)]),
        ("A b. [2] C d.", "A b. C d.", [(4, 1)]),
        ("A [1, 3] b[2-3].", "A b.", [(1, 0), (1, 2), (3, 1), (3, 2)]),
        ("A 【2†source】 b", "A b", [(1, 1)]),
        ("line [1]\n[2] line", "line\nline", [(4, 0), (5, 1)]),
        ("[1] [2] line [3]", "line", [(0, 0), (0, 1), (4, 2)]),
        ("they won [3-1]", "they won [3-1]", []),
        ("see a[10] and [2020-2024]", "see a[10] and [2020-2024]", []),
        ("nothing [4] there", "nothing there", []),
    ],
)
def test_markers(text, clean, marks):
    assert unmarked(text, 3) == (clean, marks)


def test_a_marker_of_no_passage_is_warned_of():
    trace = Trace()
    with trace.stage("cite"):
        unmarked("So it is [7].", 3)
    assert any("[7]" in warning for warning in trace.warnings)


@given(st.text(alphabet=st.sampled_from("ab .!?\n[]123【】†,-é🙂\r"), max_size=60))
def test_laws_on_any_text(text):
    corpus, hits = everything(TEXTS)
    answer = cite(text, hits, corpus)
    check_sentences(answer)
    check_citations(answer, [h.chunk for h in hits], corpus)


def test_hostile_passages_support_only_what_they_say():
    corpus, hits = everything({**TEXTS, **HOSTILE})
    assert not cite("The sky is blue [1].", hits, corpus).citations
    assert cite("Green tea is brewed at 80 degrees [1].", hits, corpus).citations[0].document_id == "tea.md"


def test_no_passages_no_evidence():
    answer = cite("The Moon orbits the Earth.", [], MemoryCorpus.of(LIBRARY, HashEncoder()))
    assert [s.citations for s in answer.sentences] == [()]
    assert cite("", [], MemoryCorpus.of(LIBRARY, HashEncoder())).sentences == ()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,500 men", {"1500"}),
        ("1.500.000 in 3,5 h", {"1500000", "3.5"}),
        ("1,234.5 and 1.234,5", {"1234.5"}),
        ("two million people, twenty-seven days, 5.2 million", {"2000000", "27", "5200000"}),
        ("in the 1990s, 27%, the 3rd.", {"1990", "27", "3"}),
        ("fifteen hundred", {"1500"}),
        ("B2B, v2, none", set()),
    ],
)
def test_numbers(text, values):
    assert numbers(text) == values


@given(st.integers(0, 10**9))
def test_a_number_is_the_same_however_it_is_grouped(n):
    assert numbers(f"there were {n:,} of them") == numbers(f"there were {n} of them")


PAY = (
    "Severance pay is 2 weeks pay for every year of service, at most 4 months pay. "
    "A purchase above $150 needs approval."
)


@pytest.mark.parametrize(
    ("claim", "supported"),
    [
        ("Severance pay is 2 weeks pay for every year of service.", True),
        ("Severance pay is 4 weeks pay for every year of service.", False),
        ("Severance pay is at most 4 months pay.", True),
        ("Severance pay is at most 2 months pay.", False),
        ("A purchase above 150 dollars needs approval.", True),
        ("A purchase above 150 days needs approval.", False),
    ],
)
def test_a_number_is_compared_with_what_it_counts(claim, supported):
    corpus = MemoryCorpus.of({"pay": PAY}, HashEncoder())
    assert bool(cite(claim, hits_of(corpus), corpus).citations) == supported


def test_figures_of_speech_are_not_asked_for():
    assert asked_numbers("one of a thousand") == frozenset()
    assert asked_numbers("1 of 1000") == {"1", "1000"}


def test_names():
    assert names("Neil Armstrong walked on the Moon, says NASA.") == {("neil", "armst"), ("moon",), ("nasa",)}
    assert names("Bees like June.") == {("june",)}
    assert names("IBM grows.") == {("ibm",)}
    assert names("Warsaw's walls") == names("walls") == frozenset()


def test_denied():
    assert denied("It has no air, but water.") == {"air"}
    assert denied("He didn't walk on the Moon.") == {"walk", "moon"}
    assert denied("It has air.") == frozenset()


def test_clauses():
    assert clauses("The Moon is small and the Sun is large.") == ["The Moon is small", "the Sun is large."]
    assert clauses("salt and pepper") == ["salt and pepper"]


def test_likeness_is_on_a_measured_scale():
    encoder = HashEncoder()
    unrelated, same = scale(encoder)
    assert unrelated < same
    import numpy as np

    assert np.allclose(likeness(encoder, np.array([unrelated, same])), [0, 1])


@given(
    st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=5), max_size=6), st.frozensets(st.sampled_from("abcx"))
)
def test_cover_is_a_share(bags, asked):
    weight = weights(bags)
    shares = [cover(asked, bag, weight) for bag in [*bags, asked, frozenset()]]
    assert all(0 <= s <= 1 for s in shares)
    assert shares[-1] == 0
    assert shares[-2] == (1.0 if asked else 0.0)


def test_stems_meet_in_inflected_forms():
    assert stems("orbiting") == stems("orbits")
    assert stems("The of and") == frozenset()
