"""Citing with where a model looked: it chooses among sentences that pass every check, and passes none that does not."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.pipelines.answering import citing
from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.passages import read, under
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.look import Look
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.generators import check_citations, check_sentences
from fovea.rag.trace import Trace
from fovea.rag.types import Answer, Citation, Hit, Query
from tests.pipelines.answering.test_citing import LIBRARY, SUPPORTED, UNSUPPORTED

CLAIMS = [*(claim for claim, _ in SUPPORTED), *UNSUPPORTED]
CORPUS = MemoryCorpus.of(LIBRARY, HashEncoder())


def hits_of(corpus: MemoryCorpus) -> list[Hit]:
    return [Hit(c, 1.0) for c in corpus.chunks()]


def place(corpus: MemoryCorpus, document: str, quote: str, share: float = 0.9) -> Citation:
    start = corpus.document(document).text.index(quote)
    return Citation(document, start, start + len(quote), quote, document, None, share)


def looking(*places: Citation):
    """Every sentence of the answer looked there."""
    return lambda answer: [Look(s.text, s.start, s.end, 0.5, places, ()) for s in answer.sentences]


@pytest.mark.parametrize("name", ["a", "b"])
def test_between_sentences_that_are_alike_attention_decides(name):
    corpus = MemoryCorpus.of({"a": "It rains in Bergen.", "b": "It rains in Bergen."}, HashEncoder())
    looks = looking(place(corpus, name, "It rains in Bergen."))
    (citation,) = cite("It rains in Bergen.", hits_of(corpus), corpus, looks=looks).citations
    assert citation.document_id == name


def test_a_sentence_that_words_rank_too_low_to_try_is_tried_where_it_was_looked_at():
    decoy = "The Danube never flows through 10 countries."
    true = "The Danube, a river, flows through 10 countries to the sea."
    corpus = MemoryCorpus.of({"d": " ".join([*[decoy] * citing.SEEDS, true])}, HashEncoder())
    said = "The Danube flows through 10 countries."
    assert not cite(said, hits_of(corpus), corpus).citations
    (found,) = cite(said, hits_of(corpus), corpus, looks=looking(place(corpus, "d", true, 0.2))).citations
    assert found.quote == true
    assert not cite(said, hits_of(corpus), corpus, looks=looking(place(corpus, "d", decoy))).citations


spans = st.tuples(st.sampled_from(sorted(LIBRARY)), st.integers(0, 150), st.integers(1, 60), st.floats(0, 1))


@given(st.lists(st.sampled_from(CLAIMS), min_size=1, max_size=3), st.lists(spans, max_size=4))
@settings(max_examples=30, deadline=None)
def test_words_decide_what_is_supported_wherever_the_model_looked(claims, spans):
    hits, text = hits_of(CORPUS), " ".join(claims)
    cut = ((name, start, min(start + length, len(LIBRARY[name])), share) for name, start, length, share in spans)
    places = [Citation(d, a, b, LIBRARY[d][a:b], d, None, share) for d, a, b, share in cut if a < b]
    answer = cite(text, hits, CORPUS, looks=looking(*places))
    check_sentences(answer)
    check_citations(answer, [h.chunk for h in hits], CORPUS)
    with patch.object(citing, "SEEDS", 1000):
        everything = cite(text, hits, CORPUS)
    for by_words, by_all, mine in zip(
        cite(text, hits, CORPUS).sentences, everything.sentences, answer.sentences, strict=True
    ):
        assert by_words.supported <= mine.supported <= by_all.supported


def test_shares_fall_on_sentences_by_characters():
    passages = read(hits_of(CORPUS), CORPUS)
    both = place(CORPUS, "moon.txt", LIBRARY["moon.txt"])
    shares = {passages[n].text: share for n, share in under([both], passages).items()}
    assert " ".join(shares) == LIBRARY["moon.txt"]
    for text, share in shares.items():
        assert share == pytest.approx(0.9 * len(text) / len(LIBRARY["moon.txt"]))


@pytest.mark.parametrize("text", ["", "  \n", NO_ANSWER, "I don't know."])
def test_nobody_looks_at_what_asserts_nothing(text):
    def never(_: Answer) -> list[Look]:
        raise AssertionError("looked")

    assert not cite(text, hits_of(CORPUS), CORPUS, looks=never).citations
    assert not cite("The Moon has no air.", [], CORPUS, looks=never).citations


torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from fovea.attention_retrieval.heads.table import HeadTable  # noqa: E402
from fovea.attention_retrieval.testing.induction import HEADS, induction_model  # noqa: E402
from fovea.pipelines.answering import probing  # noqa: E402
from fovea.pipelines.generators.transformers import TransformersGenerator  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama  # noqa: E402

NEWS = {"a": "Man bites dog in Bergen .", "b": "Dog bites man in Bergen ."}
EVERY_HEAD = {rows: [[0.0] * HEADS, [1.0] * HEADS] for rows in ("question", "answer")}


@pytest.fixture(scope="module")
def induction(tmp_path_factory) -> str:
    """The model by formula, over words: what follows the last two tokens is what its second layer looks at."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    folder = tmp_path_factory.mktemp("induction")
    known = ["<unk>", *["man", "bites", "dog", "in", "bergen", "oslo", ".", "who", "what", "answer", "question"]]
    inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(known)}, "<unk>"))
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(folder)
    induction_model(64).save_pretrained(folder)
    return str(folder)


def finished(model: str, text: str, corpus: MemoryCorpus, **more) -> tuple[Answer, Trace]:
    made = TransformersGenerator(model=model, max_new_tokens=8, instruction="", **more)
    trace = Trace()
    with trace.stage("cite"):
        return made.finish(text, Query("Who bites what ?"), hits_of(corpus), corpus), trace


def test_heads_that_copy_tell_sentences_of_the_same_words_apart(induction, monkeypatch):
    monkeypatch.setattr(probing, "known", lambda lm, model: HeadTable("", "evidence", "", EVERY_HEAD))
    corpus = MemoryCorpus.of(NEWS, HashEncoder())
    for text, name in ((NEWS["a"], "a"), (NEWS["b"], "b")):
        by_words, by_both = (
            finished(induction, text, corpus, cite_with_attention=on)[0].citations for on in (False, True)
        )
        assert [c.document_id for c in by_words] == ["a"]  # one bag of words
        assert [c.document_id for c in by_both] == [name]
    assert not finished(induction, "Dog bites man in Oslo .", corpus, cite_with_attention=True)[0].citations


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096, template=TEMPLATE)


@pytest.fixture
def probed(monkeypatch):
    table = HeadTable("", "evidence", "", dict.fromkeys(EVERY_HEAD, [[1.0] * 4] * 2))
    monkeypatch.setattr(probing, "known", lambda lm, model: table)


@pytest.mark.parametrize(
    "text",
    [
        "The Moon has no air. The Danube flows through ten countries [3]. Bananas are grown in Ecuador.",
        "```python\nprint('The Moon has no air.')\n```",
        "Луна обращается вокруг Земли за 27 дней. 月球没有空气。 القمر ليس له هواء.",
        "🍵🙂. The Moon has no air.",
        "<think>Two moons?</think>The Moon has no air.",
        "",
        NO_ANSWER,
    ],
)
def test_whatever_the_model_says_is_cited_exactly(llama, probed, text):
    by_words, _ = finished(llama, text, CORPUS)
    answer, trace = finished(llama, text, CORPUS, cite_with_attention=True)
    assert not trace.warnings
    check_sentences(answer)
    check_citations(answer, [c for c in CORPUS.chunks()], CORPUS)
    assert (answer.text, answer.reasoning) == (by_words.text, by_words.reasoning)
    assert [s.supported for s in answer.sentences] == [s.supported for s in by_words.sentences]


def test_a_model_that_cannot_be_looked_at_is_said_and_words_cite_alone(llama, tmp_path):
    from shutil import copytree

    folder = tmp_path / "neo"
    copytree(llama, folder)
    config = transformers.GPTNeoConfig(
        vocab_size=258, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]
    )
    transformers.GPTNeoForCausalLM(config).save_pretrained(folder)
    text = "The Moon has no air. Bananas are grown in Ecuador."
    answer, trace = finished(str(folder), text, CORPUS, cite_with_attention=True)
    assert answer.sentences == finished(str(folder), text, CORPUS)[0].sentences
    assert answer.sentences[0].supported
    (warning,) = trace.warnings
    assert f"cited by words alone: where {folder} looked is not known" in warning
    assert "GPTNeo" in warning


def test_passages_that_do_not_fit_are_warned_of_once(llama, probed, tmp_path):
    query, hits, trace = Query("Moon?"), hits_of(CORPUS), Trace()
    settings = {"max_new_tokens": 8, "instruction": "", "cite_with_attention": True}
    full = len(TransformersGenerator(model=llama, **settings)._tokens(query, hits, CORPUS))
    made = TransformersGenerator(model=save_llama(tmp_path, window=full + 7, template=TEMPLATE), **settings)
    with trace.stage("generate"):
        "".join(made.stream(query, hits, CORPUS))
    with trace.stage("cite"):
        answer = made.finish("The Moon has no air.", query, hits, CORPUS)
    assert answer.citations
    generate, cited = trace.stages
    assert any("did not fit the window" in warning for warning in generate.warnings)
    assert generate.dropped
    assert not cited.warnings
    assert not cited.dropped
