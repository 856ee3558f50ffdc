"""Gold that is given as a text is looked up in the documents: one place, several, none."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.evaluation.case import Case
from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.lookup import Standing
from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.evaluation.questions import SEVERAL, check_questions, read_questions
from fovea.pipelines.evaluation.report import table
from fovea.pipelines.evaluation.segmentation import segmentation
from fovea.rag.errors import ConfigError, ConfigErrors, DocumentError
from fovea.rag.types import Document, Span
from tests.eval_cases import PAGE, TEXTS, cited, hits
from tests.sweep_studies import QUESTIONS, swept_here, write_study

MOON = Document(
    "docs/moon.txt", "The Moon orbits the Earth in 27 days. It has no air.\nNo AIR, no weather: no-air day."
)
TEA = Document("docs/tea.md", "Green tea is brewed at 80 degrees.")


def stands(text, wanted):
    return [text[span.start : span.end] for span in Standing(text).places(wanted)]


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("It has no air.", "It has no air.", ["It has no air."]),
        ("It has\n  no   air. So", "it HAS no air.", ["It has\n  no   air."]),
        ("Über den Café-Tisch", "uber den cafe tisch", ["Über den Café-Tisch"]),
        (unicodedata.normalize("NFD", "Ein Café hier"), "café", [unicodedata.normalize("NFD", "Café")]),
        ("in 1980, at 80 degrees, 80", "80", ["80", "80"]),
        ("at 35 % or 3.5 %", "3.5 %", ["3.5 %"]),
        ("fair air airs", "air", ["air"]),
        ("say “no” twice", '"no"', ["no"]),
        ("(see below) and see", "(see", ["(see", "see"]),
        ("月亮绕地球转。", "地球", ["地球"]),
        ("soft\u00adware", "software", ["soft\u00adware"]),
        ("ＡＢＣ and ﬁne", "abc and fine", ["ＡＢＣ and ﬁne"]),
        ("a --- b --- c", "---", ["---", "---"]),
        ("nothing", "no", []),
        ("", "air", []),
    ],
)  # fmt: skip
def test_a_text_stands_where_readers_see_it(text, wanted, found):
    assert stands(text, wanted) == found


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=40))
def test_a_text_between_spaces_is_found_there(before, wanted, after):
    text = f"{before} {wanted} {after}"
    places = Standing(text).places(wanted)
    if any(c.isalnum() for c in wanted) and wanted.isascii() and after.isascii():
        start = len(before) + 1
        assert (
            any(
                span.start <= start + len(wanted) - len(wanted.lstrip()) and span.end >= start + len(wanted.rstrip())
                for span in places
            )
            or not wanted.strip()[0].isalnum()
            or not wanted.strip()[-1].isalnum()
        )
    assert all(0 <= span.start < span.end <= len(text) for span in places)


def written(tmp_path, *rows):
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read_questions(path)


def asked(key, *references, **more):
    return {"id": key, "question": "Air?", "references": list(references), **more}


@pytest.mark.parametrize(
    "reference",
    [
        {"document": "moon", "text": "27 days"},
        {"text": "27  DAYS"},
        "27 days",
        {"document": "moon.txt", "text": "27 days", "start": None},
    ],
)
def test_what_stands_once_is_that_span(tmp_path, reference, caplog):
    [found] = check_questions(written(tmp_path, asked("a", reference)), [MOON, TEA]).questions
    at = MOON.text.index("27 days")
    assert found.spans == (Gold("docs/moon.txt", at, at + 7, "27 days"),)
    assert not caplog.records


def test_what_stands_several_times_counts_anywhere_and_that_is_said(tmp_path, caplog):
    [found] = check_questions(
        written(tmp_path, asked("a", {"document": "moon", "text": "no air"})), [TEA, MOON]
    ).questions
    [gold] = found.spans
    assert [MOON.text[a:b] for _, a, b in gold.places] == ["no air", "No AIR", "no-air"]
    assert gold.text == "no air"
    assert caplog.messages == [SEVERAL]


def test_a_text_of_no_document_is_looked_up_in_all(tmp_path):
    both = [Document("a", "The answer is 42."), TEA, Document("b", "It is 42, the answer.")]
    [found] = check_questions(written(tmp_path, asked("a", "the answer")), both).questions
    assert found.spans[0].places == (("a", 0, 10), ("b", 10, 20))


def test_what_stands_nowhere_is_an_error_with_its_line_and_what_is_near(tmp_path):
    rows = [asked("ok", "27 days"), asked("wrong", {"document": "moon", "text": "It has no water."}),
            asked("nowhere", "Xylophones"), asked("gone", {"document": "mars", "text": "It has no air."})]  # fmt: skip
    with pytest.raises(ConfigErrors) as error:
        check_questions(written(tmp_path, *rows), [MOON, TEA])
    path, fix = tmp_path / "q.jsonl", "  fix: quote the words of the document, or give start and end\n"
    assert str(error.value) == (
        f"{path}:2: question 'wrong': the text 'It has no water.' does not stand in 'docs/moon.txt'; the nearest is "
        f"'It has no air.', at [38, 52) of 'docs/moon.txt'\n{fix}"
        f"{path}:3: question 'nowhere': the text 'Xylophones' does not stand in any document\n{fix}"
        f"{path}:4: 'mars' is no document of the store\n"
        "  allowed: docs/moon.txt, docs/tea.md\n"
        "  fix: fovea status p.yaml --all lists them; fovea ingest takes more in"
    )


@pytest.mark.parametrize("reference", [{"document": "moon"}, {"document": "moon", "text": " "}, {"text": 3}, "", {}])
def test_a_reference_without_words_or_place_is_refused(tmp_path, reference):
    with pytest.raises(DocumentError, match=r"q\.jsonl:1: "):
        written(tmp_path, asked("a", reference))


# Metrics over several places


def several(*places, found=(), answer=None):
    (first, *others) = [("page", a, b) for a, b in places]
    gold = Gold(*first, PAGE.text[first[1] : first[2]], tuple(others))
    return Case(Question("q", "What?", (gold,)), hits(*found), TEXTS, answer)


def score(name, case):
    return metric(name).score(case)


NAMES = ["R@1", "R@5", "MRR", "MAP", "nDCG@5", "P@2", "Success@1", "span_recall", "span_iou", "span_precision",
         "span_recall@5t", "context_precision_lite", "context_recall_lite"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_place_is_as_good_as_the_only_one(name):
    places, found = [(100, 120), (500, 520), (900, 920)], [(480, 560), (0, 50)]
    alone = several((500, 520), found=found)
    assert score(name, several(*places, found=found)) == score(name, alone) > 0


@pytest.mark.parametrize("name", NAMES)
def test_finding_it_twice_gains_nothing_but_relevant_places(name):
    both = several((100, 120), (500, 520), found=[(100, 120), (500, 520)])
    once = several((100, 120), found=[(100, 120), (500, 520)])
    assert score(name, both) >= score(name, once)
    if name not in ("P@2", "context_precision_lite"):
        assert score(name, both) == pytest.approx(score(name, once))


def test_the_first_place_that_is_found_counts_for_recall_at_k():
    case = several((100, 120), (500, 520), found=[(500, 512), (100, 120)])
    assert (score("R@1", case), score("R@2", case), score("span_recall", case)) == (1, 1, 1)
    assert score("span_recall", several((100, 120), (500, 520), found=[(500, 505), (100, 110)])) == 0.5


def test_each_gold_text_is_found_by_itself():
    golds = (Gold("page", 0, 10, "", (("page", 200, 210),)), Gold("page", 100, 110))
    case = Case(Question("q", "What?", golds), hits((195, 215)), TEXTS)
    assert score("R@5", case) == 0.5
    assert score("span_recall", case) == 0.5
    np.testing.assert_array_equal(case.reached(np.array([[1, 5, 3]])), [[5, 3]])


def test_a_citation_may_be_of_any_place():
    case = cited([(0, 10)], (500, 520))
    case.question = several((100, 120), (500, 520)).question
    assert (score("citation_precision", case), score("citation_recall", case)) == (1, 1)


# The whole way


@pytest.fixture
def library(make):
    one = make(retrieve="bm25", segment="sentence")
    one.add([MOON, TEA])
    return one


def test_an_evaluation_says_that_a_text_stands_several_times(library, tmp_path):
    questions = written(tmp_path, asked("a", "no air"), asked("b", "80 degrees", question="Green tea?"))
    evaluation = Evaluator(library, questions, ["R@5", "citation_recall"]).evaluate()
    assert {name: v.mean for name, v in evaluation.values().items()}["R@5"] == 1
    assert evaluation.warnings == {SEVERAL: 1}
    assert f"warning: 1 x {SEVERAL}" in table(evaluation, "mine", {})
    both, alone = evaluation.questions, evaluation.questions.questions[0]
    each = [
        segmentation(library.corpus, QuestionSet("one", (replace(alone, spans=(Gold(*place),)),)))
        for gold in alone.spans for place in gold.places
    ]  # fmt: skip
    best = max(values["precision_omega"].mean for values in each)
    other = segmentation(library.corpus, QuestionSet("one", both.questions[1:]))["precision_omega"].mean
    assert segmentation(library.corpus, both)["precision_omega"].mean == pytest.approx((best + other) / 2)


def test_a_sweep_looks_texts_up_as_an_evaluation_does(tmp_path):
    path = write_study(tmp_path / "spans", search={"use": "grid", "trials": 2})
    given = swept_here(path)
    again = write_study(tmp_path / "texts", search={"use": "grid", "trials": 2})
    rows = [
        {"id": f"q{i}", "question": text, "references": [said], "answer": said}
        for i, (text, (_, said)) in enumerate(QUESTIONS.items())
    ]
    (tmp_path / "texts" / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    looked = swept_here(again)
    for one, other in zip(given.trials, looked.trials, strict=True):
        assert one.values["R@2"] == other.values["R@2"]
    assert looked.questions.questions == given.questions.questions
    assert all(gold.looked_up for q in looked.questions.questions for gold in q.spans)


def test_a_sweep_refuses_what_stands_nowhere(tmp_path):
    path = write_study(tmp_path)
    (tmp_path / "questions.jsonl").write_text(json.dumps(asked("a", "Xylophones")))
    with pytest.raises(
        ConfigError, match=r"questions\.jsonl:1: question 'a': the text 'Xylophones' does not stand in any"
    ):
        swept_here(path)


def squad(tmp_path, *answers):
    asked = {"id": "q1", "question": "Air?", "answers": list(answers)}
    paragraphs = [{"context": "No air here.", "qas": []}, {"context": "It has no air; no air at all.", "qas": [asked]}]
    path = tmp_path / "moon.json"
    path.write_text(json.dumps({"data": [{"title": "Moon", "paragraphs": paragraphs}]}))
    return read_questions(path)


@pytest.mark.parametrize("place", [{}, {"answer_start": None}])
def test_squad_without_places_is_looked_up_in_its_paragraph(tmp_path, place):
    found = squad(tmp_path, {"text": "No Air", **place})
    [gold] = check_questions(found, found.documents).questions[0].spans
    [text] = [d.text for d in found.documents]
    assert [text[a:b] for _, a, b in gold.places] == ["no air", "no air"]
    assert min(a for _, a, _ in gold.places) > text.index("It has")
    with pytest.raises(DocumentError, match="question q1: the answer 'water' does not stand in its paragraph"):
        squad(tmp_path, {"text": "water", **place})


def test_a_set_is_told_apart_by_its_texts():
    one, other = (QuestionSet("s", (Question("a", "?", (Gold("", text=text),)),)) for text in ("27 days", "no air"))
    assert one.fingerprint != other.fingerprint
    assert Standing("abc").nearest("") == (0.0, Span(0, 3))
