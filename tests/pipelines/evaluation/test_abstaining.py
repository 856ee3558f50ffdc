"""Who abstains gains nothing: every rating of an answer is a number of every question, and a sweep ranks by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.gold import Gold
from fovea.pipelines.evaluation.metrics.metric import families, metric
from fovea.pipelines.sweep.report.best import best_yaml
from fovea.pipelines.sweep.report.pareto import pareto
from fovea.pipelines.sweep.report.ranking import winner
from fovea.pipelines.sweep.report.text import summary
from tests.eval_cases import answered
from tests.sweep_studies import swept_here, write_study

PASSAGE = "Green tea is brewed at 80 degrees."
RIGHT = "Green tea is brewed at 80 degrees."
RATED = [name for name, family in families().items() if family.rates]
OFFLINE = [name for name in RATED if "judge" not in families()[name].needs]
REFUSALS = [NO_ANSWER, "I don't know.", "The context does not provide an answer to this question.", "", "  \n"]


def rated(name, text, *, answers=(RIGHT,)):
    gold = (Gold("d0", 0, len(PASSAGE), PASSAGE),)
    return metric(name).score(answered(text, question="How?", passages=[PASSAGE], answers=answers, gold=gold))


def test_every_metric_of_an_answer_that_is_to_be_high_rates_it_but_coverage():
    needing = {name for name, family in families().items() if "answer" in family.needs}
    assert needing - {*RATED} == {"coverage", "tokens_in", "tokens_out", "cost"}
    assert len(RATED) == 9


@pytest.mark.parametrize("text", REFUSALS)
@pytest.mark.parametrize("name", RATED)
def test_abstaining_is_worth_nothing_where_there_is_an_answer(name, text):
    assert rated(name, text) == 0.0


@pytest.mark.parametrize("text", REFUSALS)
@pytest.mark.parametrize("name", RATED)
@pytest.mark.parametrize("answers", [(NO_ANSWER,), ("The documents do not say.", "Unknown to us, I cannot say.")])
def test_abstaining_is_right_where_the_set_says_that_there_is_none(name, text, answers):
    assert rated(name, text, answers=answers) == 1.0


@pytest.mark.parametrize("name", ["answer_correctness_lite", "answer_similarity"])
def test_an_answer_where_there_is_none_is_wrong(name):
    assert rated(name, RIGHT, answers=(NO_ANSWER,)) == 0.0


@pytest.mark.parametrize("name", ["answer_correctness_lite", "answer_similarity"])
def test_where_either_is_right_both_are(name):
    either = (RIGHT, NO_ANSWER)
    assert rated(name, RIGHT, answers=either) == pytest.approx(1.0)
    assert rated(name, NO_ANSWER, answers=either) == 1.0


def test_gold_text_that_reads_like_a_refusal_is_gold():
    gold = (Gold("d0", 0, len(NO_ANSWER), NO_ANSWER),)
    case = answered("They say nothing of it.", gold=gold)
    assert metric("answer_similarity").score(case) > 0
    assert metric("answer_similarity").score(answered("I don't know.", gold=gold)) == 0


@given(said=st.lists(st.sampled_from([RIGHT, "Tea is nice.", *REFUSALS]), min_size=1, max_size=8))
def test_no_answer_is_ever_left_out_of_a_mean_and_none_loses_by_being_given(said):
    """A pipeline that says the same or abstains is rated no higher than the one that says it."""
    for name in OFFLINE:
        values = [rated(name, text) for text in said]
        silent = [rated(name, "" if n % 2 else text) for n, text in enumerate(said)]
        assert sum(silent) <= sum(values) + 1e-9, name


def test_coverage_is_the_share_that_is_answered():
    score = metric("coverage").score
    assert [score(answered(text)) for text in (RIGHT, "Perhaps 80.", NO_ANSWER, "")] == [1, 1, 0, 0]
    assert score(answered(NO_ANSWER, answers=[NO_ANSWER])) == 0


@pytest.fixture(scope="module", params=["faithfulness_lite", "citation_precision", "answer_correctness_lite"])
def record(request, tmp_path_factory):
    """Three readers: one that answers all, one what is sure, one next to nothing."""
    pipeline = {
        "encoder": "hash", "segment": "sentence", "retrieve": "bm25", "k": 3,
        "generate": {"use": "extractive", "floor": {"choice": [1.0, 0.7, 0.0]}},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("study")
    return swept_here(write_study(folder, pipeline=pipeline, objectives=[request.param], metrics=["answer_similarity"]))


def test_who_abstains_does_not_win_a_sweep(record):
    covered = {trial.params["generate.floor"]: trial.values["coverage"].mean for trial in record.trials}
    assert covered[1.0] < 0.5 < covered[0.0] == 1.0
    assert winner(record).params["generate.floor"] < 1.0
    assert 1.0 not in {trial.params["generate.floor"] for trial in pareto(record)}
    assert "floor: 1.0" not in best_yaml(record)
    for trial in record.trials:
        assert {(v.n, v.of) for v in trial.values.values()} == {(6, 6)}
        (name,) = record.objectives
        assert trial.values[name].mean <= trial.values["coverage"].mean


def test_the_share_that_is_answered_is_a_column(record):
    assert summary(record).splitlines()[2].split()[:3] == ["trial", next(iter(record.objectives)), "coverage"]


def test_retrieval_alone_has_no_coverage(tmp_path):
    found = swept_here(write_study(tmp_path, search={"use": "grid", "trials": 1}))
    assert "coverage" not in found.trials[0].values
    assert "coverage" not in summary(found)


def test_an_evaluation_says_it_beside(make, docs):
    from tests.pipelines.evaluation.test_evaluate import tea_questions

    strict = make(retrieve="bm25", generate={"use": "extractive", "floor": 1.0})
    strict.ingest(docs)
    values = Evaluator(strict, tea_questions(2)).evaluate().values()
    assert (values["coverage"].mean, values["faithfulness_lite"].mean, values["R@5"].mean) == (0, 0, 1)
