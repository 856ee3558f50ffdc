"""Metrics without a judge, against hand arithmetic, oracles and planted answers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.evaluation.case import Case, Texts
from fovea.pipelines.evaluation.gold import Gold, Question
from fovea.pipelines.evaluation.metrics.lite import average, normal, word_f1
from fovea.pipelines.evaluation.metrics.metric import families, metric
from fovea.rag import registry
from fovea.rag.errors import ConfigError
from fovea.rag.models import find
from fovea.rag.types import Document, Hit, Span
from tests.eval_cases import TEXTS, answered, cited, spans_case
from tests.planted_answers import PARAPHRASED, PASSAGES, SUPPORTED, UNSUPPORTED

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")


def score(name, case):
    return metric(name).score(case)


def graded(ranked, relevant):
    """A ranking of whole documents, some of them twice, as passages do."""
    found = [Hit(Document(key, "text").chunk(Span(0, 4)), 1.0) for key in ranked]
    return Case(Question("q", "What?", relevant=relevant), found, TEXTS)


def oracle(name, ranked, relevant):
    """The definitions, for graded documents."""
    base, _, cut = name.partition("@")
    ranked = list(dict.fromkeys(ranked))[: int(cut) if cut else None]
    gains = np.array([relevant.get(key, 0) for key in ranked], float)
    places = np.flatnonzero(gains > 0)
    best = np.sort(np.array(list(relevant.values()), float))[::-1][: int(cut) if cut else None]

    def dcg(values):
        return float(values @ (1 / np.log2(np.arange(len(values)) + 2)))

    return {
        "R": lambda: len(places) / len(relevant),
        "P": lambda: len(places) / int(cut),
        "Success": lambda: float(len(places) > 0),
        "MRR": lambda: 1 / (places[0] + 1) if len(places) else 0.0,
        "MAP": lambda: sum((n + 1) / (p + 1) for n, p in enumerate(places)) / len(relevant),
        "nDCG": lambda: dcg(gains) / dcg(best),
    }[base]()


@pytest.mark.parametrize("name", ["R@3", "P@7", "Success@1", "MRR@4", "MRR", "MAP", "MAP@5", "nDCG@6", "nDCG@1"])
def test_graded_documents_are_measured_as_the_oracle_does(name):
    rng = np.random.default_rng(len(name))
    for _ in range(40):
        ranked = [f"d{n}" for n in rng.integers(0, 20, rng.integers(0, 15))]
        relevant = {f"d{n}": int(rng.integers(1, 4)) for n in rng.choice(20, rng.integers(1, 8), False)}
        assert score(name, graded(ranked, relevant)) == pytest.approx(oracle(name, ranked, relevant), abs=1e-9)


def test_gold_spans_are_items_and_places_are_passages():
    """Spans A, B together in the second passage, C alone in the fourth, D nowhere."""
    gold = [(100, 110), (120, 130), (400, 420), (900, 920)]
    case = spans_case(gold, [(500, 600), (90, 140), (95, 125), (395, 411), (0, 50)])
    assert score("R@1", case) == 0
    assert score("R@2", case) == 2 / 4
    assert score("R@5", case) == 3 / 4
    assert score("MRR", case) == 1 / 2
    assert score("Success@1", case) == 0
    assert score("P@3", case) == pytest.approx(2 / 3, abs=1e-9)  # The third repeats, and is relevant still.
    assert score("P@10", case) == pytest.approx(3 / 10, abs=1e-9)
    assert score("MAP", case) == pytest.approx((1 / 2 + 2 / 4) / 3, abs=1e-9)  # Items: {A, B}, C, D.
    ideal = 2 + 1 / np.log2(3) + 1 / np.log2(4)
    assert score("nDCG@5", case) == pytest.approx((2 / np.log2(3) + 1 / np.log2(5)) / ideal, abs=1e-9)


@pytest.mark.parametrize(
    ("passage", "found"),
    [
        ((0, 150), True),
        ((0, 149), False),
        ((110, 140), True),
        ((150, 300), True),
        ((151, 300), False),
        ((200, 300), False),
    ],
)
def test_a_passage_finds_a_span_by_half_of_it_or_from_inside(passage, found):
    assert score("R@1", spans_case([(100, 200)], [passage])) == float(found)


def test_nothing_retrieved_is_nought_and_not_an_error():
    case = spans_case([(0, 10)], [])
    for name in ("R@5", "P@5", "MRR", "MAP", "nDCG@5", "Success@5", "span_recall", "span_precision", "span_iou",
                 "span_recall@100t", "context_precision_lite", "context_recall_lite"):  # fmt: skip
        assert score(name, case) == 0.0
    assert score("nDCG@5", graded([], {"a": 1})) == 0.0


some_spans = st.lists(st.tuples(st.integers(0, 990), st.integers(1, 200)), min_size=1, max_size=5).map(
    lambda rows: [(a, min(1000, a + n)) for a, n in rows]
)


@given(gold=some_spans, found=some_spans)
def test_laws_of_span_and_ranking_metrics(gold, found):
    case = spans_case(gold, found)
    recall, precision, iou = (score(f"span_{name}", case) for name in ("recall", "precision", "iou"))
    assert 0 <= iou <= min(recall, precision) <= max(recall, precision) <= 1
    budgets = [score(f"span_recall@{n}t", case) for n in (1, 5, 20, 10_000)]
    assert all(a <= b for a, b in pairwise(budgets))
    assert budgets[-1] == recall == score("context_recall_lite", case)
    by_cut = [score(f"R@{k}", case) for k in range(1, 6)]
    assert all(a <= b for a, b in pairwise(by_cut))
    for name in ("nDCG@5", "MAP", "MRR", "P@5", "context_precision_lite"):
        assert 0 <= score(name, case) <= 1 + 1e-12
    covered = {c for a, b in found for c in range(a, b)}
    wanted = {c for a, b in gold for c in range(a, b)}
    assert recall == pytest.approx(len(covered & wanted) / len(wanted))


@given(gold=some_spans)
def test_a_passage_a_span_in_any_order_is_perfect(gold):
    case = spans_case(gold, gold)
    assert score("R@5", case) == score("MRR", case) == score("span_recall", case) == 1
    if all(b <= c for (_, b), (c, _) in pairwise(sorted(gold))):
        assert score("nDCG@5", case) == pytest.approx(1)
        assert score("MAP", case) == pytest.approx(1)


def test_a_token_budget_cuts_the_passage_where_it_ends():
    text = "one two three four five six seven eight nine ten"
    page = Document("page", text)
    found = [Hit(page.chunk(Span(0, len(text))), 1.0)]
    question = Question("q", "?", (Gold("page", 0, len(text)),))
    case = Case(question, found, TEXTS)
    assert case.sizes == [10]
    assert score("span_recall@5t", case) == pytest.approx(len(text) // 2 / len(text))


# LLM-free answer metrics


@pytest.mark.parametrize(
    ("verdicts", "value"),
    [([], 0), ([False], 0), ([True], 1), ([False, True], 1 / 2), ([True, False, True], (1 + 2 / 3) / 2),
     ([False, True, True, False, True], (1 / 2 + 2 / 3 + 3 / 5) / 3)],
)  # fmt: skip
def test_average_precision_of_verdicts(verdicts, value):
    assert average(verdicts) == pytest.approx(value, abs=1e-9)


def test_useful_passages_share_half_of_the_shorter_or_hold_the_answer():
    gold = [(100, 200)]
    assert score("context_precision_lite", spans_case(gold, [(0, 149), (120, 140), (0, 150)])) == pytest.approx(
        (1 / 2 + 2 / 3) / 2, abs=1e-9
    )
    case = answered("", passages=["Nothing.", "It was in 1969, they say.", "19690 men"], answers=["The 1969!"])
    assert score("context_precision_lite", case) == pytest.approx(1 / 2, abs=1e-9)


def test_squad_normalisation_and_f1():
    assert normal("The  Moon's, a (big) Rock!") == "moons big rock"
    assert word_f1("a cat sat", "the cat ran") == pytest.approx(1 / 2)
    assert word_f1("dog", "the cat") == 0
    assert word_f1("cat cat", "cat") == pytest.approx(2 / 3)


MOON = [
    "Neil Armstrong walked on the Moon in July 1969. He collected 21 kilograms of rock.",
    "The Moon has no air. Its days last for two weeks.",
]
REFERENCE = "Neil Armstrong walked on the Moon in July 1969. The Moon has no air."
PLANTED = {
    "supported": "Neil Armstrong walked on the Moon in July 1969. The Moon has no air.",
    "contradicted number": "Neil Armstrong walked on the Moon in July 1979. The Moon has no air.",
    "unsupported": "Sheep were grazing quietly beside the river. Paris has many bridges.",
}


def planted(name, text):
    case = answered(text, question="Who walked on the Moon, and has it air?", passages=MOON, answers=[REFERENCE])
    return score(name, case)


def test_planted_answers_are_ordered_by_faithfulness():
    assert [planted("faithfulness_lite", text) for text in PLANTED.values()] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    "text",
    ["The Moon has air.", "Armstrong collected 22 kilograms of rock.", "Buzz Aldrin walked on the Moon in July 1969."],
    ids=["denied", "number", "name"],
)
def test_one_wrong_word_is_not_faithful(text):
    assert planted("faithfulness_lite", text) == 0.0


def faithful(passage, text, texts):
    case = answered(text, question="What does the passage say?", passages=[passage])
    case.texts = texts
    return score("faithfulness_lite", case)


@pytest.mark.parametrize("encoder", ["hash", "sentence_transformer"])
def test_answers_made_by_hand_are_told_apart(encoder):
    """Ten that the passage supports in its own words, twelve that it does not; words alone would take most of these."""
    if encoder == "sentence_transformer" and find("minilm") is None:
        pytest.skip("needs the model: fovea models get minilm")
    texts = Texts(registry.find("encoder", encoder)())
    assert [text for key, text in SUPPORTED if faithful(PASSAGES[key], text, texts) != 1.0] == []
    assert [text for key, text in UNSUPPORTED if faithful(PASSAGES[key], text, texts) != 0.0] == []
    if encoder == "sentence_transformer":
        assert sum(faithful(PASSAGES[key], text, texts) for key, text in PARAPHRASED) >= 2


@pytest.mark.parametrize("name", ["answer_correctness_lite", "answer_similarity", "answer_relevancy_lite"])
def test_planted_answers_are_strictly_ordered(name):
    values = [planted(name, text) for text in [*PLANTED.values(), NO_ANSWER]]
    supported, contradicted, unsupported, refusal = values
    if name == "answer_similarity":
        assert supported == pytest.approx(1)
        assert supported > contradicted > unsupported > refusal == 0
    elif name == "answer_correctness_lite":
        assert supported > contradicted > unsupported > refusal == 0
    else:  # Relevancy does not look at truth.
        assert min(supported, contradicted) > unsupported > refusal == 0


def test_the_best_reference_counts_and_gold_text_stands_in_for_none():
    assert score("answer_similarity", answered("Two weeks.", answers=["One day.", "Two weeks."])) == pytest.approx(1)
    gold = (Gold("d0", 0, 8, "Two"), Gold("d0", 9, 12, "weeks."))
    assert score("answer_similarity", answered("Two weeks.", gold=gold)) == pytest.approx(1)
    assert score("answer_correctness_lite", answered("two weeks", gold=gold)) > 0.9


def test_citations_are_measured_by_characters_once():
    case = cited([(100, 200)], (150, 250), (150, 200))
    assert score("citation_precision", case) == pytest.approx(50 / 100)
    assert score("citation_recall", case) == pytest.approx(50 / 100)
    assert score("citation_precision", cited([(100, 200)])) == 0
    assert score("citation_recall", cited([(100, 200)])) == 0


# Costs


def test_costs_are_sums_of_stages_and_tokens():
    seconds = {"retrieve dense": 1.0, "again retrieve dense": 2.0, "refine[0] cross_encoder": 4.0, "generate chat": 8.0,
               "round 2 generate chat": 16.0, "cite chat": 32.0, "total": 70.0}  # fmt: skip
    tokens = {"passages": 500, "in": 1_000_000, "out": 2000}
    case = spans_case([(0, 1)], [], seconds=seconds, tokens=tokens, prices={"in": 0.5, "out": 10.0})
    expected = {"seconds": 70, "seconds_retrieve": 3, "seconds_refine": 4, "seconds_generate": 24, "seconds_cite": 32,
                "seconds_fuse": 0, "tokens_passages": 500, "tokens_in": 1_000_000, "tokens_out": 2000,
                "cost": 0.52}  # fmt: skip
    assert {name: score(name, case) for name in expected} == pytest.approx(expected)
    assert {metric(name).direction for name in expected} == {"minimise"}


# Names


def test_every_metric_says_what_it_is_and_which_gold_it_needs():
    assert len(families()) >= 30
    for name, family in families().items():
        one = metric(name if "" in family.cuts else f"{name}@5")
        assert len(one.about) > 20
        assert not name.endswith("_lite") or "judge" not in one.needs
    judged = [name for name, family in families().items() if "judge" in family.needs]
    assert all(f"{name}_lite" in families() for name in judged)
    assert len(judged) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDGC@5", "metrics: there is no metric 'nDGC@5'"),
        ("R", "metrics: the metric 'R' is none: write R@k"),
        ("R@500t", "metrics: the metric 'R@500t' is none: write R@k"),
        ("span_recall@5", "metrics: the metric 'span_recall@5' is none: write span_recall[@Nt]"),
        ("R@0", "metrics: there is no metric 'R@0'"),
        ("faithfulness@3", "metrics: the metric 'faithfulness@3' is none: write faithfulness"),
    ],
)
def test_a_wrong_name_is_refused(name, message):
    with pytest.raises(ConfigError) as error:
        metric(name)
    assert str(error.value).split("\n")[0] == message


def test_a_misspelt_name_has_a_nearest():
    with pytest.raises(ConfigError, match="did you mean 'faithfulness'"):
        metric("faithfullness")
