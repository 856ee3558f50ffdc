"""The evaluator: failures counted with their reasons, values of how many, latency, comparisons, the store's chunks."""

import json
import math
import re
from typing import ClassVar

import numpy as np
import pytest

from fovea.pipelines.evaluation.case import Texts
from fovea.pipelines.evaluation.compare import compare, pair
from fovea.pipelines.evaluation.evaluate import Evaluator, default_metrics
from fovea.pipelines.evaluation.evaluation import failures_of, read_outcomes, values_of, write_outcomes
from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.report import difference_table, differences, rows, table
from fovea.pipelines.evaluation.segmentation import segmentation
from fovea.pipelines.evaluation.taken import take_in
from fovea.pipelines.evaluation.value import Value, means
from fovea.rag.errors import ConfigError, ConfigErrors, DocumentError
from fovea.rag.retrieval import Retriever
from fovea.rag.trace import Trace
from fovea.rag.types import Document
from tests.conftest import TEXTS
from tests.growth import spent

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")

TEA = TEXTS["tea.md"]


def gold(name, words):
    at = TEXTS[name].index(words)
    return Gold(name, at, at + len(words), words)


def tea_questions(count):
    one = gold("tea.md", "Green tea is brewed at 80 degrees.")
    asked = (f"Is green tea number {n} brewed hot?" for n in range(count))
    return QuestionSet("tea", tuple(Question(f"q{n}", text, (one,)) for n, text in enumerate(asked)))


class Faulty(Retriever):
    """Finds what lexical search does; raises for the questions that name one of `numbers`. It is not registered."""

    name: ClassVar[str] = "faulty"
    numbers: tuple[int, ...] = ()
    error: str = "ValueError"

    def search(self, query, k, corpus):
        for number in self.numbers:
            if f"number {number} " in query.text:
                raise {"ValueError": ValueError, "MemoryError": MemoryError, "KeyboardInterrupt": KeyboardInterrupt}[
                    self.error
                ]("the index is torn\nsecond line")
        return corpus.match(query.text, k)


@pytest.fixture
def pipeline(make, docs):
    def made(**stages):
        one = make(**{"retrieve": "bm25", **stages})
        one.ingest(docs)
        return one

    return made


def test_three_failures_of_fifty_are_counted_and_are_in_no_mean(pipeline):
    faulty = pipeline(retrieve=Faulty(numbers=(3, 14, 41)))
    evaluation = Evaluator(faulty, tea_questions(50), ["R@5", "span_recall", "seconds"]).evaluate()
    values = evaluation.values()
    assert {(v.n, v.of) for v in values.values()} == {(47, 50)}
    assert values["R@5"].mean == 1.0
    assert evaluation.failures() == {"ValueError: the index is torn": 3}
    assert [o.question for o in evaluation.outcomes if o.failed] == ["q3", "q14", "q41"]
    assert all(not o.scores and not o.missing for o in evaluation.outcomes if o.failed)
    assert not evaluation.passes()
    assert not evaluation.passes(2)
    assert evaluation.passes(3)


def test_nothing_but_an_interruption_ends_the_run(pipeline):
    outcome = Evaluator(pipeline(retrieve=Faulty(numbers=(0,), error="MemoryError")), tea_questions(1), ["MRR"])
    assert outcome.evaluate().outcomes[0].failed == "MemoryError: the index is torn"
    stopped = Evaluator(pipeline(retrieve=Faulty(numbers=(0,), error="KeyboardInterrupt")), tea_questions(1), ["MRR"])
    with pytest.raises(KeyboardInterrupt):
        stopped.evaluate()


def test_an_answer_is_asked_for_only_where_a_metric_needs_one(pipeline):
    one = pipeline()
    retrieved = Evaluator(one, tea_questions(1), ["R@5"]).evaluate().outcomes[0]
    answered = Evaluator(one, tea_questions(1), ["R@5", "faithfulness_lite"]).evaluate().outcomes[0]
    assert retrieved.answer is None
    assert set(retrieved.seconds) == {"retrieve bm25", "keep", "total"}
    assert "80 degrees" in answered.answer
    assert {"generate extractive", "cite extractive"} < set(answered.seconds)
    assert answered.scores["faithfulness_lite"] == 1.0
    assert retrieved.hits == answered.hits
    assert retrieved.tokens == {"passages": sum(retrieved.tokens.values()), "in": 0, "out": 0}
    assert retrieved.seconds["total"] >= retrieved.seconds["retrieve bm25"]


def test_a_refusal_is_no_failure_and_counts_in_every_mean(pipeline):
    strict = pipeline(generate={"use": "extractive", "floor": 1.0})
    names = ["coverage", "faithfulness_lite", "answer_correctness_lite", "answer_similarity", "citation_precision"]
    evaluation = Evaluator(strict, tea_questions(2), names).evaluate()
    assert {name: (v.mean, v.n, v.of) for name, v in evaluation.values().items()} == dict.fromkeys(names, (0.0, 2, 2))
    assert evaluation.passes()
    assert evaluation.failures() == {}


def test_a_metric_that_raises_is_missing_with_its_reason_and_the_others_stay(pipeline, monkeypatch):
    evaluator = Evaluator(pipeline(), tea_questions(2), ["R@5", "answer_similarity"])
    monkeypatch.setattr(evaluator.texts, "cosine", lambda a, b: 1 / 0)
    evaluation = evaluator.evaluate()
    assert evaluation.failures() == {"answer_similarity: ZeroDivisionError: division by zero": 2}
    assert (evaluation.values()["R@5"].n, "answer_similarity" in evaluation.values()) == (2, False)
    assert evaluation.failed == 2


def test_not_a_number_is_missing(pipeline, monkeypatch):
    evaluator = Evaluator(pipeline(), tea_questions(1), ["answer_similarity"])
    monkeypatch.setattr(evaluator.texts, "cosine", lambda a, b: math.nan)
    [outcome] = evaluator.evaluate().outcomes
    assert outcome.scores == {}
    assert outcome.missing == {"answer_similarity": "it came out as not a number"}


def test_a_metric_is_over_the_questions_with_its_gold(pipeline):
    spans = (gold("moon.txt", "It has no air."),)
    asked = (
        Question("spans", "Has the Moon air?", spans),
        Question("graded", "Is the Nile longer than the Danube?", relevant={"rivers.txt": 1}),
        Question("told", "How many days?", answers=("27 days",)),
    )
    values = Evaluator(pipeline(), QuestionSet("mixed", asked)).evaluate().values()
    counted = {"R@5": 2, "span_recall": 1, "answer_similarity": 2, "context_precision_lite": 2, "seconds": 3}
    assert {name: values[name].of for name in counted} == counted
    assert values["R@5"].mean == 1.0


def test_what_is_measured_by_default_is_what_the_gold_allows():
    graded = QuestionSet("g", (Question("a", "?", relevant={"d": 1}),))
    assert default_metrics(graded, 7) == [
        "R@7", "MRR@7", "nDCG@7", "coverage", "faithfulness_lite", "answer_relevancy_lite", "seconds", "tokens_passages"
    ]  # fmt: skip
    told = default_metrics(QuestionSet("t", (Question("a", "?", answers=("b",)),)), 5, judged=True)
    assert {"faithfulness", "answer_correctness", "context_recall", "answer_similarity"} < set(told)
    assert not {"R@5", "span_recall", "context_recall_lite"} & set(told)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["faithfulness"], "metrics: the metric faithfulness asks a language model, and no judge is given"),
        (["cost"], "metrics: the metric cost needs prices"),
        (["span_iou"], "metrics: no question of g has the gold that span_iou is measured by"),
    ],
)
def test_a_metric_that_cannot_be_had_is_refused_before_anything_runs(pipeline, metrics, message):
    graded = QuestionSet("g", (Question("a", "?", relevant={"tea.md": 1}),))
    with pytest.raises(ConfigError) as error:
        Evaluator(pipeline(), graded, metrics)
    assert str(error.value).split("\n")[0] == message


def test_gold_that_does_not_fit_the_store_is_refused_before_anything_runs(pipeline):
    far = QuestionSet("far", (Question("a", "?", (Gold("tea", 0, 9999),), where="q.jsonl:1"),))
    with pytest.raises(
        ConfigErrors, match=r"q\.jsonl:1: question 'a': the span \[0, 9999\) ends outside 'docs/tea.md'"
    ):
        Evaluator(pipeline(), far, ["MRR"])


def test_a_cut_beyond_what_is_kept_is_warned_of(pipeline, caplog):
    Evaluator(pipeline(), tea_questions(1), ["R@10"], k=3)
    assert "R@10 looks at 10 places, and the pipeline keeps 3 passages" in caplog.text


def test_what_was_had_before_is_scored_the_same(pipeline):
    evaluator = Evaluator(pipeline(), tea_questions(1), ["R@5", "seconds", "seconds_retrieve"])
    question = tea_questions(1).questions[0]
    trace = Trace()
    found = evaluator.pipeline.retrieve(question.query, trace=trace)
    trace.stages[0].seconds = 2.0
    outcome = evaluator.scored(question, found, None, trace)
    assert outcome.scores["R@5"] == 1
    assert outcome.scores["seconds_retrieve"] == 2.0 == pytest.approx(outcome.scores["seconds"], abs=0.1)
    assert outcome.hits == evaluator.outcome(question).hits


def test_scoring_costs_little(pipeline):
    names = ["nDCG@5", "R@5", "MRR@5", "MAP", "P@5", "span_recall", "span_iou", "span_recall@500t", "tokens_passages"]
    evaluator = Evaluator(pipeline(), tea_questions(1), names)
    question = evaluator.questions.questions[0]
    found = evaluator.pipeline.retrieve(question.query)
    evaluator.scored(question, found, None, Trace())
    assert min(spent(lambda: evaluator.scored(question, found, None, Trace())) for _ in range(20)) < 0.010


def test_warnings_of_stages_are_counted_over_all_questions(pipeline):
    tight = pipeline(refine={"use": "token_budget", "max_tokens": 1})
    evaluation = Evaluator(tight, tea_questions(3), ["R@5"]).evaluate()
    assert evaluation.warnings == {"token_budget: no passage fits into 1 tokens": 3}
    assert evaluation.values()["R@5"].mean == 0
    assert "warning: 3 x token_budget" in table(evaluation, "mine", {})


# Values


def test_means_are_those_of_the_shared_interval():
    rng = np.random.default_rng(1)
    columns = {"a": list(rng.random(31)), "b": list(rng.random(31)), "c": list(rng.random(7)), "none": []}
    found = means(columns, dict.fromkeys(columns, 31))
    assert list(found) == ["a", "b", "c"]
    for name, value in found.items():
        np.testing.assert_allclose((value.mean, value.low, value.high), interval(columns[name]), rtol=1e-12)
        assert (value.n, value.of) == (len(columns[name]), 31)


def outcome(key, failed="", missing=None, **scores):
    return Outcome(key, scores, {"total": 1.0}, failed=failed, missing=missing or {}, content=f"{key}-gold")


def test_values_of_a_part_are_of_that_part():
    questions = tea_questions(9)
    outcomes = [outcome("q0", MRR=1.0), outcome("q1", failed="E: x"), outcome("q2", MRR=0.0)]
    assert values_of(outcomes, questions, ["MRR"])["MRR"] == Value(0.5, 0.0, 1.0, 2, 3)
    assert failures_of(outcomes) == {"E: x": 1}


def test_latency_is_by_stage_over_those_that_ran_it(pipeline):
    evaluation = Evaluator(pipeline(), tea_questions(4), ["MRR"]).evaluate()
    spent = [o.seconds["retrieve bm25"] for o in evaluation.outcomes]
    assert evaluation.latency()["retrieve bm25"] == pytest.approx((np.quantile(spent, 0.5), np.quantile(spent, 0.95)))
    assert list(evaluation.latency())[-1] == "total"


def test_outcomes_are_written_and_read(pipeline, tmp_path):
    faulty = pipeline(retrieve=Faulty(numbers=(1,)))
    evaluation = Evaluator(faulty, tea_questions(3), ["MRR", "faithfulness_lite"]).evaluate()
    write_outcomes(tmp_path / "o.jsonl", evaluation)
    assert read_outcomes(tmp_path / "o.jsonl") == list(evaluation.outcomes)
    assert json.loads((tmp_path / "o.jsonl").read_text().split("\n")[1])["failed"] == "ValueError: the index is torn"
    (tmp_path / "o.jsonl").write_text('{"question": "a"}\n')
    with pytest.raises(DocumentError, match=r"o\.jsonl:1: an outcome that does not say what was asked"):
        read_outcomes(tmp_path / "o.jsonl")
    (tmp_path / "o.jsonl").write_text('{"question": "a", "content": "b-c"}\n')
    with pytest.raises(DocumentError, match=r"o\.jsonl:1: no outcome of an evaluation: KeyError: 'hits'"):
        read_outcomes(tmp_path / "o.jsonl")
    (tmp_path / "o.jsonl").write_text("")
    with pytest.raises(DocumentError, match="no outcomes"):
        read_outcomes(tmp_path / "o.jsonl")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("scores", value)
            for value in (None, 5, "x", [], {"MRR": None}, {"MRR": "x"}, {"MRR": [1]}, {"MRR": 10**400})
        ),
        *(("scores", {"MRR": float(value)}) for value in ("nan", "inf")),
        *((name, 5) for name in ("question", "seconds", "tokens", "hits", "answer", "failed", "missing", "content")),
    ],
)
def test_a_forged_outcome_is_refused(tmp_path, field, value):
    good = Outcome("1", {"MRR": 1.0}, content="a-b").to_dict()
    (tmp_path / "o.jsonl").write_text(json.dumps(good) + "\n" + json.dumps({**good, field: value}) + "\n")
    with pytest.raises(DocumentError, match=r"o\.jsonl:2: no outcome of an evaluation: "):
        read_outcomes(tmp_path / "o.jsonl")


# Comparisons


def test_differences_are_paired_over_what_both_have():
    before = [outcome(f"q{n}", MRR=0.0, MAP=0.5) for n in range(12)]
    after = [outcome(f"q{n}", MRR=1.0, MAP=0.5) for n in range(11)] + [outcome("q11", failed="E: x")]
    paired = pair(before, after)
    mrr, average = compare(paired, ["MRR", "MAP", "P@5"])
    assert (mrr.metric, mrr.before, mrr.after) == ("MRR", 0.0, 1.0)
    assert (mrr.difference.mean, mrr.difference.ends) == (1.0, (None, None)), "eleven alike say nothing of a twelfth"
    assert (mrr.difference.n, mrr.difference.of) == (11, 12)
    assert mrr.p < 0.01
    assert mrr.p_holm == pytest.approx(2 * mrr.p)
    assert (average.difference.mean, average.p) == (0.0, 1.0)
    text = difference_table([mrr, average], paired, "base.yaml")
    assert text.split("\n")[2].split() == [
        "MRR",
        "0",
        "1",
        "+1",
        "11",
        "of",
        "12",
        f"{mrr.p_holm:.3g}",
    ]
    assert text.endswith("\n12 questions paired by content")
    [count, row, _] = differences([mrr, average], paired, "tea", "mine against base.yaml")
    assert (row.metric, row.value, row.low, row.high, row.n) == ("MRR difference", 1.0, None, None, 11)
    assert (count.metric, count.value) == ("paired questions", 12.0)
    assert count.settings == {"only before": [], "only after": [], "other gold": 0}


def test_evaluations_of_different_questions_are_no_comparison():
    with pytest.raises(ConfigError, match="no question in common"):
        pair([outcome("a", MRR=1.0)], [outcome("b", MRR=1.0)])


# The store's chunks


def test_segmentation_needs_no_retriever(pipeline):
    one = pipeline(segment={"use": "fixed", "max_tokens": 8})
    questions = Evaluator(one, tea_questions(2), ["MRR"]).questions
    found = segmentation(one.corpus, questions)
    chunks = list(one.corpus.chunks())
    assert found["chunks"].mean == len(chunks)
    assert found["chunk_characters"].mean == pytest.approx(np.mean([c.end - c.start for c in chunks]))
    assert found["chunk_tokens"].mean == pytest.approx(
        np.mean([Texts(one.spec.encoder).tokens(c.text) for c in chunks])
    )
    [one_gold] = questions.questions[0].spans
    wanted = set(range(one_gold.start, one_gold.end))
    ranges = [set(range(c.start, c.end)) for c in chunks if c.document_id == "docs/tea.md"]
    read = set().union(*(r for r in ranges if r & wanted))
    omega = len(read & wanted) / len(read | wanted)
    value = found["precision_omega"]
    assert (value.mean, value.ends, value.n) == (pytest.approx(omega), (None, None), 2)
    assert 0.5 < omega < 1


def test_documents_of_a_set_are_taken_in_as_they_are(make):
    text = "Line one.\r\nIt has  no air.\u2028Über Ärger. 月には空気がない。"
    documents = (Document("set/a b", text, title="Moon"), Document("c", "Tea."))
    span = Gold("set/a b", text.index("It"), text.index("It") + 15, "It has  no air.")
    questions = QuestionSet("mine", (Question("q", "Has it air?", (span,)),), documents)
    one = make(retrieve="bm25")
    assert take_in(one, questions).chunks > 0
    evaluation = Evaluator(one, questions, ["span_recall", "R@5"]).evaluate()
    assert evaluation.values()["span_recall"].mean == 1.0
    assert take_in(one, questions).unchanged == 1
    with pytest.raises(ConfigError, match="the set bare brings no documents"):
        take_in(one, QuestionSet("bare", questions.questions))


# What is printed


def test_rows_and_tables_say_of_how_many(pipeline):
    faulty = pipeline(retrieve=Faulty(numbers=(1,)), generate={"use": "extractive", "floor": 1.0})
    evaluation = Evaluator(faulty, tea_questions(3), ["MRR", "faithfulness_lite"]).evaluate()
    found = rows(evaluation, "mine", segmentation(faulty.corpus, evaluation.questions))
    plain = {row["metric"]: row for row in json.loads(show(found, as_json=True))}
    assert plain["MRR"] == {
        "bench": "eval", "data": "tea", "method": "mine", "metric": "MRR", "value": 1.0,
        "low": pytest.approx(0.34, abs=0.01), "high": 1.0, "n": 2, "seconds": None, "settings": {"of": 3},
    }  # fmt: skip
    assert (plain["faithfulness_lite"]["value"], plain["faithfulness_lite"]["n"]) == (0.0, 2)
    assert plain["failed"]["value"] == 1
    assert plain["failed"]["settings"] == {"reasons": {"ValueError: the index is torn": 1}, "warnings": {}}
    assert plain["seconds p95 total"]["value"] > 0
    assert plain["chunks"]["low"] is None
    text = table(evaluation, "mine", {})
    assert re.search(r"^faithfulness_lite +0 +0 to 0.658 +2 of 3$", text, re.MULTILINE)
    assert text.endswith("failed: 1 of 3 questions; what failed is in no mean\n  1 x ValueError: the index is torn")


def test_a_metric_that_no_question_has_is_none_of_so_many(pipeline):
    evaluation = Evaluator(pipeline(retrieve=Faulty(numbers=(0, 1))), tea_questions(2), ["MRR"]).evaluate()
    assert re.search(r"^MRR +none +0 of 2$", table(evaluation, "mine", {}), re.MULTILINE)


@pytest.mark.parametrize(
    ("column", "low", "high"), [([1.0] * 6, 0.61, 1.0), ([0.0] * 6, 0.0, 0.39), ([1.0] * 14, 0.785, 1.0)]
)
def test_all_right_or_all_wrong_is_no_certainty(column, low, high):
    found = means({"m": column}, {"m": len(column)})["m"]
    assert found.ends == pytest.approx((low, high), abs=0.005)


@pytest.mark.parametrize("column", [[0.37], [0.5] * 4])
def test_numbers_that_do_not_vary_have_no_interval(column):
    assert means({"m": column}, {"m": len(column)})["m"].ends == (None, None)


@pytest.mark.parametrize("column", [[0.37], [0.5] * 4, [1.0], [0.0], [1.0] * 6, [0.0] * 6])
def test_a_bench_prints_no_interval_of_no_width(column):
    for shares in (False, True):
        row = Row("bench", "data", "method", "R@1", *interval(column, shares=shares), len(column))
        edge = shares and len(column) == 6
        assert (row.low, row.high) == (means({"m": column}, {"m": 6})["m"].ends if edge else (None, None))
        assert "NaN" not in show([row], as_json=True)
        assert ("[" in show([row]).splitlines()[-1]) == edge
