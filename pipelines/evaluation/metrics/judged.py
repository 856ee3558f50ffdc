"""Answer metrics by a language model, after RAGAS (S. Es et al., "RAGAS: Automated evaluation of retrieval augmented
generation", 2023; formulas as of its release 0.4). Prompts are our own.

    faithfulness        supported statements of the answer / its statements
    answer_correctness  0.75 F1 + 0.25 cosine(answer, reference), F1 = TP / (TP + (FP + FN) / 2), TP statements of the
                        answer that the reference supports, FP those it does not, FN statements of the reference that
                        the answer lacks
    answer_relevancy    mean cosine of the question and three questions that the answer answers; 0 if all three times
                        the answer is held noncommittal
    context_precision   sum_i precision@i v_i / sum_i v_i, v_i whether passage i is of use for the reference; 0 if none
    context_recall      sentences of the reference that the passages support / its sentences

The reference is as in the lite metrics. Without passages the last two are 0, and no statement is supported. An answer
that states nothing has faithfulness 0, where RAGAS has none: who abstains would gain by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fovea.pipelines.answering.refusals import is_refusal
from fovea.pipelines.evaluation.judging import Judging, strings, verdicts
from fovea.pipelines.evaluation.metrics.lite import FACTS, MEANING, answer_similarity, average
from fovea.pipelines.evaluation.metrics.metric import metric_of
from fovea.rag.sentences import sentences

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.case import Case

QUESTIONS = 3
STATEMENTS = """\
Split `answer`, which was given to `question`, into statements that each say one thing and can be understood alone: \
put names where it has pronouns. Add nothing. What says that there is no answer is no statement. Reply with JSON such \
as {"statements": ["...", "..."]}, an empty list if it states nothing.\
"""
SUPPORTED = """\
For each of `statements`, in order, say 1 if it can be inferred from `passages` and from nothing else, 0 if it cannot. \
Reply with JSON of one verdict a statement, such as {"verdicts": [1, 0]}.\
"""
PRESENT = """\
`answer` and `reference` hold statements that answer `question`; those of the reference are right. For each of the \
answer's, in order, say 1 if a statement of the reference supports it, else 0; for each of the reference's, say 1 if \
it is in the answer, else 0. Reply with JSON of one verdict a statement, such as {"answer": [1, 0], "reference": [1]}.\
"""
ASKED = f"""\
Write {QUESTIONS} different questions that `answer` answers, and for each say 1 if the answer is noncommittal \
(evasive, vague, or that it does not know), 0 if not. Reply with JSON such as {{"questions": ["...", "...", "..."], \
"noncommittal": [0, 0, 0]}}.\
"""
USEFUL = """\
Say 1 if `passage` was of use to come from `question` to an answer like one of `references`, 0 if not. Reply with JSON \
such as {"verdicts": [1]}.\
"""


@metric_of("faithfulness", needs=["answer", "judge"])
def faithfulness(case: Case, cut: int | None) -> float:
    """The share of the answer's statements that a judge infers from the passages."""
    said = _statements(case, case.said.text)
    if not said:
        return float(case.unanswerable)
    if not case.contexts:
        return 0.0
    return float(np.mean(_supported(case, said)))


@metric_of("answer_correctness", gold="answers", needs=["answer", "judge"])
def answer_correctness(case: Case, cut: int | None) -> float:
    """`0.75 F1 + 0.25 cosine` with the reference, F1 over statements that a judge compares. 0 where the reference says
    that there is no answer.
    """
    if not case.right:
        return 0.0
    if not (said := _statements(case, case.said.text)):
        return 0.0
    facts = max(_f1(case, said, right) for right in case.right)
    return FACTS * facts + MEANING * answer_similarity(case, None)


@metric_of("answer_relevancy", needs=["answer", "judge"])
def answer_relevancy(case: Case, cut: int | None) -> float:
    """Mean cosine of the question and questions that a judge makes of the answer; 0 for a noncommittal one."""

    def read(said: Any) -> tuple[list[str], list[bool]]:
        return strings("questions", QUESTIONS)(said), verdicts("noncommittal", QUESTIONS)(said)

    questions, evades = _judge(case).ask(ASKED, {"answer": case.said.text}, read)
    asked = case.texts.asked(case.question.text)
    alike = float(np.mean([float(case.texts.asked(question) @ asked) for question in questions]))
    return float(case.unanswerable) if all(evades) else alike


@metric_of("context_precision", gold="answers", needs=["judge"])
def context_precision(case: Case, cut: int | None) -> float:
    """Average precision of the passages, each held useful or not by a judge who knows the reference."""
    told = {"question": case.question.text, "references": list(case.references)}
    return average(
        [_judge(case).ask(USEFUL, {**told, "passage": p}, verdicts("verdicts", 1))[0] for p in case.contexts]
    )


@metric_of("context_recall", gold="answers", needs=["judge"])
def context_recall(case: Case, cut: int | None) -> float:
    """The share of the reference's sentences that a judge infers from the passages."""
    if not case.contexts:
        return 0.0
    parts = [[r[s.start : s.end] for s in sentences(r)] for r in case.references]
    return max(float(np.mean(_supported(case, part))) for part in parts)


def _judge(case: Case) -> Judging:
    assert case.judging is not None
    return case.judging


def _statements(case: Case, text: str) -> list[str]:
    if is_refusal(text):
        return []
    return _judge(case).ask(STATEMENTS, {"question": case.question.text, "answer": text}, strings("statements"))


def _supported(case: Case, statements: list[str]) -> list[bool]:
    told = {"passages": case.contexts, "statements": statements}
    return _judge(case).ask(SUPPORTED, told, verdicts("verdicts", len(statements)))


def _f1(case: Case, said: list[str], reference: str) -> float:
    right = _statements(case, reference)
    if not right:
        return 0.0

    def read(reply: Any) -> tuple[list[bool], list[bool]]:
        return verdicts("answer", len(said))(reply), verdicts("reference", len(right))(reply)

    told = {"question": case.question.text, "answer": said, "reference": right}
    supported, present = _judge(case).ask(PRESENT, told, read)
    hit = sum(supported)
    wrong = len(said) - hit + len(right) - sum(present)
    return hit / (hit + wrong / 2)
