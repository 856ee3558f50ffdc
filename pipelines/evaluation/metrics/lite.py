"""Answer metrics without a language model. Each is named `_lite`, since it is not the judged metric of that name: it
compares words, numbers and vectors, and does not reason.

The reference is any of the set's answers, the best of them counting; a set that has spans alone is read as if the gold
text were the answer. Cosines are those of the evaluator's encoder.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from fovea.pipelines.answering.claims import Claim, agrees, bag
from fovea.pipelines.answering.likeness import likeness
from fovea.pipelines.answering.refusals import asserted
from fovea.pipelines.evaluation.metrics.metric import metric_of
from fovea.pipelines.evaluation.metrics.spans import span_recall
from fovea.rag.sentences import sentences
from fovea.rag.stems import stems

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.case import Case

COVERED = 0.8
"""The share of a sentence's telling words that one sentence of the passages holds, to support it."""
ALIKE = 0.85
"""Or their likeness, on the encoder's own scale (`fovea.pipelines.answering.likeness`)."""
OVERLAP = 0.5
FACTS, MEANING = 0.75, 0.25
"""Weights of what is said and of how alike it sounds, in answer correctness."""


def average(verdicts: list[bool]) -> float:
    """Average precision over the list: `sum_i precision@i v_i / sum_i v_i`; 0 where no verdict is true.

    What is relevant and was not retrieved does not lower it: read it beside recall.
    """
    true = np.flatnonzero(verdicts)
    return float(np.mean(np.arange(1, len(true) + 1) / (true + 1))) if len(true) else 0.0


@metric_of("context_precision_lite", gold="either")
def context_precision_lite(case: Case, cut: int | None) -> float:
    """Average precision of the passages; useful is one that shares half of the shorter with a gold span, or holds a
    reference answer word for word.
    """
    shared = np.minimum(case.passages[:, None, 1], case.gold[None, :, 1]) - np.maximum(
        case.passages[:, None, 0], case.gold[None, :, 0]
    )
    lengths = (case.passages[:, 1] - case.passages[:, 0])[:, None], (case.gold[:, 1] - case.gold[:, 0])[None]
    useful = ((shared > 0) & (shared >= OVERLAP * np.minimum(*lengths))).any(axis=1)
    answers = [f" {normal(answer)} " for answer in case.question.answers if normal(answer)]
    holds = [any(answer in f" {normal(text)} " for answer in answers) for text in case.contexts]
    return average([bool(u) or h for u, h in zip(useful, holds)])


@metric_of("context_recall_lite", gold="spans")
def context_recall_lite(case: Case, cut: int | None) -> float:
    """The share of the gold characters that the passages hold: `span_recall` by its other name."""
    return span_recall(case, None)


@metric_of("faithfulness_lite", needs=["answer"])
def faithfulness_lite(case: Case, cut: int | None) -> float:
    """The share of the answer's sentences that a sentence of the passages supports: it holds 80 % of the telling words
    or says nearly the same, and agrees in numbers, names and what is denied. 0 where it states nothing.
    """
    if not (said := statements(case.said.text)):
        return 0.0
    evidence = [(text[s.start : s.end], text) for text in case.contexts for s in sentences(text)]
    return float(np.mean([_supported(sentence, evidence, case) for sentence in said]))


def statements(text: str) -> list[str]:
    """What the sentences of an answer state, hedges left out."""
    found = (asserted(text[s.start : s.end]) for s in sentences(text))
    return [said for said in found if stems(said)]


def _supported(sentence: str, evidence: list[tuple[str, str]], case: Case) -> bool:
    claim = Claim.of(sentence)
    agreeing = [e for e, passage in evidence if agrees(claim, e, passage, case.question.text)]
    if any(len(claim.words & bag(e)) >= COVERED * len(claim.words) for e in agreeing):
        return True
    if not agreeing:
        return False
    vectors = case.texts.vectors([sentence, *agreeing])
    return bool((likeness(case.texts.encoder, vectors[1:] @ vectors[0]) >= ALIKE).any())


@metric_of("answer_correctness_lite", gold="answers", needs=["answer"])
def answer_correctness_lite(case: Case, cut: int | None) -> float:
    """`0.75 F1 + 0.25 cosine` with the reference, F1 over words as SQuAD normalises them. 0 where the reference says
    that there is no answer.
    """
    return max(
        (
            FACTS * word_f1(case.said.text, right) + MEANING * max(0.0, case.texts.cosine(case.said.text, right))
            for right in case.right
        ),
        default=0.0,
    )


@metric_of("answer_relevancy_lite", needs=["answer"])
def answer_relevancy_lite(case: Case, cut: int | None) -> float:
    """Cosine of question and answer. Weak: it grows with words of the question, and says nothing of whether the answer
    is right.
    """
    return float(case.texts.asked(case.question.text) @ case.texts.vectors([case.said.text])[0])


@metric_of("answer_similarity", gold="answers", needs=["answer"])
def answer_similarity(case: Case, cut: int | None) -> float:
    """Cosine of the answer and the reference, 0 where that says that there is no answer; the same with and without a
    judge.
    """
    return max((case.texts.cosine(case.said.text, right) for right in case.right), default=0.0)


@metric_of("coverage", needs=["answer"], rates=False)
def coverage(case: Case, cut: int | None) -> float:
    """1 for an answer that says something, 0 for one that abstains: the mean is the share of questions answered."""
    return float(not case.abstained)


def word_f1(said: str, reference: str) -> float:
    """F1 over words as a multiset, after SQuAD's normalisation (P. Rajpurkar et al., 2016)."""
    a, b = Counter(normal(said).split()), Counter(normal(reference).split())
    same = sum((a & b).values())
    return 2 * same / (sum(a.values()) + sum(b.values())) if same else 0.0


_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_MARKS = str.maketrans("", "", string.punctuation)


def normal(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces: SQuAD's normalisation."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_MARKS)).split())
