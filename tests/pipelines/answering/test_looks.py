"""Where a local model looked: exact places, exact shares, and what `ask --explain` shows of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fovea.pipelines.answering.attended import most_of_a_word, phrases
from fovea.pipelines.answering.explain import look_lines
from fovea.rag.look import Look
from fovea.rag.types import Citation, Query

TEXT = "Mars has two small moons. Earth has one, the Moon."


def test_phrases_are_words_that_got_enough_and_lie_near():
    density = np.zeros(len(TEXT))
    for word, share in {"two": 0.3, "moons": 0.2, "has": 0.01, "Earth": 0.1, "Moon.": 0.25}.items():
        at = TEXT.index(word)
        density[at : at + len(word)] = share / len(word)
    assert most_of_a_word(TEXT, density) == pytest.approx(0.3)
    found = [(TEXT[a:b], share) for a, b, share in phrases(TEXT, density, 0.1)]
    assert found == [("two small moons", 0.5), ("Earth", 0.1), ("Moon", 0.2)]  # a full stop is no word's
    assert [TEXT[a:b] for a, b, _ in phrases(TEXT, density, 0.25)] == ["two"]
    assert list(phrases(TEXT, density, 0.9)) == []


def test_text_of_looks():
    def place(start: int, end: int, score: float) -> Citation:
        return Citation("d", start, end, TEXT[start:end], "mars.txt", None, score, 1)

    some = [
        Look("How many\nmoons?", None, None, 0.4, (place(0, 25, 0.8),), (place(9, 24, 0.5), place(0, 4, 0.25))),
        Look("Two \x1b[31m.", 0, 5, 0.3, (place(26, 50, 0.5),), ()),
    ]
    assert "\n".join(look_lines(some)) == (
        "\nwhere the model looked (share of its attention to the passages; no proof that they were used):\n"
        "  the question\n"
        "    0.80  mars.txt:0-25 line 1  “Mars has two small moons.”\n"
        "    words: “two small moons” 0.50, “Mars” 0.25\n"
        "  “Two \\x1b[31m.”\n"
        "    0.50  mars.txt:26-50 line 1  “Earth has one, the Moon.”"
    )
    assert list(look_lines([])) == []


torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from fovea.attention_retrieval.heads import table as tables  # noqa: E402
from fovea.attention_retrieval.probes.weights import weights  # noqa: E402
from fovea.pipelines.answering import probing  # noqa: E402
from fovea.pipelines.answering.layout import Layout  # noqa: E402
from fovea.pipelines.generators.transformers import TransformersGenerator  # noqa: E402
from fovea.rag.causal_lm import load  # noqa: E402
from fovea.rag.encoders.hash import HashEncoder  # noqa: E402
from fovea.rag.testing.corpus import MemoryCorpus  # noqa: E402
from fovea.rag.testing.generators import answered  # noqa: E402
from tests.pipelines.answering.test_generator_transformers import TEMPLATE, save_llama  # noqa: E402

CORPUS = MemoryCorpus.of({"mars": TEXT, "tea": "Tea 🍵 is brewed at 80 °C. Coffee is not."}, HashEncoder())
HITS = CORPUS.nearest(CORPUS.embed("moons"), 2)
QUERY = Query("How many moons has Mars?")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"), window=4096, template=TEMPLATE)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probing, "PROBES", 2)
    probing.digest.cache_clear()
    yield tmp_path / "cache"
    probing.digest.cache_clear()


def generator(model: str, **settings) -> TransformersGenerator:
    return TransformersGenerator(model=model, **{"max_new_tokens": 12, "instruction": "Answer.", **settings})


def test_tokens_of_a_part_of_the_prompt_are_all_that_touch_it(model):
    layout = Layout.of(load(model), QUERY, HITS, "Answer.", CORPUS)
    assert layout.text[slice(*layout.question)] == QUERY.text
    for at, hit in zip(layout.passages, layout.hits):
        assert layout.text[at : at + len(hit.chunk.text)] == hit.chunk.text
    for start, end in [layout.question, (layout.text.index("🍵"), layout.text.index("🍵") + 1), (0, 3), (5, 5)]:
        touching = [n for n, (low, high) in enumerate(layout.offsets) if low < end and high > start and start < end]
        assert list(layout.tokens(start, end)) == touching
    assert len(layout.tokens(layout.text.index("🍵"), layout.text.index("🍵") + 1)) == 4  # a token a byte


@pytest.mark.parametrize("asked", ["a", "  assistant ", "t", "Question: a", "🍵?"])
def test_the_question_is_found_where_it_is_asked(model, asked):
    layout = Layout.of(load(model), Query(asked), HITS, "Answer.", CORPUS)
    start, end = layout.question
    assert layout.text[start:end] == asked.strip()
    assert layout.text[:start].rstrip().endswith("\n\nQuestion:")


def test_looks_lie_in_the_documents_and_sum_to_the_attention(model):
    made = generator(model)
    answer = answered(made, QUERY, HITS, CORPUS)
    found = made.looks(QUERY, answer, CORPUS)
    assert [look.said for look in found] == [QUERY.text, *(s.text for s in answer.sentences)]
    for look in found[1:]:
        assert answer.text[look.start : look.end] == look.said
    for look in found:
        places = [*look.sentences, *look.phrases]
        assert places
        for place in places:
            assert CORPUS.document(place.document_id).text[place.start : place.end] == place.quote
        assert 0 < sum(place.score for place in look.sentences) <= 1.001
        assert 0 < look.passages < 1
    json.dumps([look.to_dict() for look in found])


def test_a_share_is_what_the_heads_softmax_says(model):
    made = generator(model)
    answer = answered(made, QUERY, HITS, CORPUS)
    look = made.looks(QUERY, answer, CORPUS)[1]
    layout = Layout.of(made.lm, QUERY, HITS, "Answer.", CORPUS)
    heads = probing.known(made.lm, model).strongest("answer", probing.HEADS, near=probing.NEAR)
    encoded = made.lm.tokenizer(answer.text, add_special_tokens=False, return_offsets_mapping=True)
    said, spans = encoded["input_ids"], encoded["offset_mapping"]
    rows = [len(layout.ids) + n for n, (low, high) in enumerate(spans) if low < look.end and high > look.start]
    neutral = layout.neutral(made.lm)
    asked = weights(made.lm, [*layout.ids, *said], [rows], heads)[:, 0, : neutral.start]
    drawn = weights(made.lm, [*layout.ids[: neutral.start], *neutral.ids], neutral.rows[:1], heads)
    beyond = np.maximum(asked - drawn[:, 0, : neutral.start], 0).mean(axis=0)
    inside = np.concatenate([list(layout.tokens(at, at + len(h.chunk.text))) for at, h in zip(layout.passages, HITS)])
    assert look.passages == pytest.approx(beyond[inside].sum(), abs=1e-3)
    best = look.sentences[0]
    n = [hit.chunk.document_id for hit in HITS].index(best.document_id)
    at = layout.passages[n]
    expected = beyond[list(layout.tokens(at + best.start, at + best.end))].sum() / beyond[inside].sum()
    assert best.score == pytest.approx(expected, abs=1e-3)


def test_a_span_of_two_passages_is_named_once(model):
    made = generator(model)
    twice = [*HITS, HITS[0]]
    look = made.looks(QUERY, answered(made, QUERY, twice, CORPUS), CORPUS)[0]
    for places in (look.sentences, look.phrases):
        spans = [(place.document_id, place.start, place.end) for place in places]
        assert len(spans) == len(set(spans))
    assert sum(place.score for place in look.sentences) <= 1.001


def test_without_passages_nothing_is_looked_at(model):
    made = generator(model)
    assert made.looks(QUERY, answered(made, QUERY, (), CORPUS), CORPUS) == []


def test_a_table_is_made_once_and_is_of_the_very_weights_and_probes(model, cache, monkeypatch, tmp_path):
    lm = load(model)
    first = probing.known(lm, model)
    (path,) = (cache / "heads").iterdir()
    assert tables.read(path) == first
    assert set(first.scores) == {"question", "answer"}
    assert np.array(first.scores["question"]).shape == (2, 4)

    def never(*_):
        raise AssertionError("probed again")

    with monkeypatch.context() as patched:
        patched.setattr(probing, "pointing_scores", never)
        assert probing.known(lm, model) == first
        path.write_text(path.read_text()[:-20])
        with pytest.raises(AssertionError, match="probed again"):
            probing.known(lm, model)  # torn
        tables.keep(first)
        patched.setattr(probing, "PROBES", 3)
        probing.digest.cache_clear()
        with pytest.raises(AssertionError, match="probed again"):
            probing.known(lm, model)  # of other probes
    assert tables.find(save_llama(tmp_path / "other"), "evidence", first.probe) is None  # another model


def test_a_cache_that_watches_auto_watches_the_tables_heads(model):
    pytest.importorskip("numba")
    made = generator(model, attention={"use": "retrieval", "watch": "auto", "dense_below": 0, "sinks": 4, "window": 8})
    heads = probing.known(made.lm, model).strongest("answer", probing.HEADS, near=probing.NEAR)
    assert made.attending.watch == tuple(heads)
    assert made.attention.watch == "auto"
    answer = answered(made, QUERY, HITS, CORPUS)
    assert made.looks(QUERY, answer, CORPUS)[0].said == QUERY.text
