"""Evaluator: asks a pipeline the questions of a set, and scores what comes back.

evaluator = Evaluator(pipeline, read_questions("questions.jsonl"), ["R@5", "span_iou", "faithfulness_lite"])
evaluation = evaluator.evaluate()
print(evaluation.values()["R@5"].mean, evaluation.failures())
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fovea.pipelines.evaluation.case import Case, Texts
from fovea.pipelines.evaluation.evaluation import Evaluation
from fovea.pipelines.evaluation.gold import Question, QuestionSet
from fovea.pipelines.evaluation.judging import Judging
from fovea.pipelines.evaluation.metrics.metric import Metric, metric
from fovea.pipelines.evaluation.missing import Missing
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.questions import check_questions
from fovea.rag import progress
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError
from fovea.rag.trace import Trace, clock, warn
from fovea.rag.types import Answer, Hit

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline

LONGEST_REASON = 300


class Evaluator:
    """Scores the questions of a set, whose gold is fitted to the pipeline's documents once, here.

    The pipeline is asked for an answer only where a metric needs one. `k` is how many passages are kept, by default
    the pipeline's own. `encoder` measures likeness of texts and counts tokens, by default the pipeline's own: give one
    where pipelines of several encoders are compared. `judge` is what judged metrics ask: a LangChain chat model, or a
    generator such as `chat`. `prices` are money per million tokens, `{"in": ..., "out": ...}`.

    Raises ConfigErrors for gold that does not fit the documents, ConfigError for an unknown metric and for one that
    lacks a judge, prices or questions with its gold.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        questions: QuestionSet,
        metrics: Sequence[str] | None = None,
        *,
        k: int | None = None,
        judge: Any = None,
        encoder: Encoder | None = None,
        prices: Mapping[str, float] | None = None,
    ) -> None:
        self.pipeline, self.k, self.prices = pipeline, k, dict(prices or {})
        self.texts = Texts(encoder or pipeline.spec.encoder)
        self.judging = Judging.of(judge) if judge is not None else None
        with Trace().stage("questions") as looked:
            self.questions = check_questions(questions, pipeline.corpus.library.documents())
        self._by_id = {q.id: q for q in self.questions.questions}
        kept = k or pipeline.spec.kept
        names = metrics or default_metrics(self.questions, kept, judged=judge is not None)
        self.metrics = [self._checked(metric(name)) for name in dict.fromkeys(names)]
        for one in self.metrics:
            if one.unit == "k" and (one.cut or 0) > kept:
                warn(f"{one.name} looks at {one.cut} places, and the pipeline keeps {kept} passages: -k {one.cut}")
        self._looked, self.warnings = looked.warnings, Counter[str]()
        self.answers = any("answer" in m.needs for m in self.metrics)

    def _checked(self, one: Metric) -> Metric:
        if "judge" in one.needs and self.judging is None:
            raise ConfigError(
                f"the metric {one.name} asks a language model, and no judge is given",
                where="metrics",
                fix="--judge '{use: chat, model: \"openai:gpt-4o-mini\"}', or the metric that ends in _lite",
            )
        if "prices" in one.needs and not self.prices:
            raise ConfigError(
                f"the metric {one.name} needs prices", where="metrics", fix="--prices IN,OUT per million tokens"
            )
        if not any(map(one.applies, self.questions.questions)):
            raise ConfigError(
                f"no question of {self.questions.name} has the gold that {one.name} is measured by",
                where="metrics",
                fix=one.about,
            )
        return one

    def evaluate(self) -> Evaluation:
        """Every question, in order, with progress; a failed one is an outcome with its reason."""
        began, outcomes = time.perf_counter(), []
        self.warnings.clear()
        with progress.bar("evaluate", len(self.questions.questions)) as bar:
            for question in self.questions.questions:
                outcomes.append(self.outcome(question))
                bar.advance(1, "failed: " + outcomes[-1].failed[:40] if outcomes[-1].failed else "")
        spent = time.perf_counter() - began
        return Evaluation(
            self.questions,
            tuple(outcomes),
            tuple(m.name for m in self.metrics),
            spent,
            dict(self._looked + self.warnings),
        )

    def outcome(self, question: Question) -> Outcome:
        """What came of one question. Any exception of the pipeline becomes the reason of a failure."""
        began, question = clock(), self._by_id.get(question.id, question)
        try:
            hits, answer, trace = self._asked(question)
        except Exception as error:  # whatever a component raises: it is counted, with its reason
            took = {"total": clock() - began}
            return Outcome(question.id, seconds=took, failed=reason(error), content=question.content)
        spent = clock() - began
        return self.scored(question, hits, answer, trace, total=spent)

    def _asked(self, question: Question) -> tuple[Sequence[Hit], Answer | None, Trace]:
        if not self.answers:
            trace = Trace()
            return self.pipeline.retrieve(question.query, self.k, trace=trace), None, trace
        answer = self.pipeline.ask(question.query, self.k)
        return answer.hits, answer, answer.trace or Trace()

    def scored(
        self,
        question: Question,
        hits: Sequence[Hit],
        answer: Answer | None,
        trace: Trace,
        *,
        total: float | None = None,
    ) -> Outcome:
        """The outcome of passages and an answer that are there already. Seconds are those of the trace; without
        `total` they are summed. What a metric raises makes that metric missing, with the reason.
        """
        question = self._by_id.get(question.id, question)
        seconds = {stage.name: stage.seconds for stage in trace.stages}
        seconds["total"] = sum(seconds.values()) if total is None else total
        with trace.stage("score"):
            outcome = self._scored(question, hits, answer, trace, seconds)
        self.warnings.update(trace.warnings)
        return outcome

    def _scored(
        self, question: Question, hits: Sequence[Hit], answer: Answer | None, trace: Trace, seconds: dict[str, float]
    ) -> Outcome:
        tokens = {
            "passages": sum(self.texts.tokens(hit.chunk.text) for hit in hits),
            "in": sum(stage.counts["input_tokens"] for stage in trace.stages),
            "out": sum(stage.counts["output_tokens"] for stage in trace.stages),
        }
        case = Case(question, hits, self.texts, answer, seconds, tokens, self.judging, self.prices)
        scores, missing = self._scores(case)
        places = tuple((h.chunk.document_id, h.chunk.start, h.chunk.end, float(h.score)) for h in hits)
        said = answer.text if answer else None
        return Outcome(question.id, scores, seconds, tokens, places, said, "", missing, question.content)

    def _scores(self, case: Case) -> tuple[dict[str, float], dict[str, str]]:
        scores: dict[str, float] = {}
        missing: dict[str, str] = {}
        for one in self.metrics:
            if not one.applies(case.question):
                continue
            try:
                value = float(one.score(case))
                if value != value:
                    raise Missing("it came out as not a number")
                scores[one.name] = value
            except Exception as error:  # of a judge's provider, say: counted with its reason, and never a number
                missing[one.name] = str(error) if isinstance(error, Missing) else reason(error)
        return scores, missing


def reason(error: Exception) -> str:
    """An exception in one line: its kind and first words."""
    words = " ".join(str(error).split("\n", 1)[0].split())[:LONGEST_REASON]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def default_metrics(questions: QuestionSet, k: int, *, judged: bool = False) -> list[str]:
    """What is measured where nothing is chosen: all that the set's gold allows, offline unless there is a judge."""
    spans = any(q.spans for q in questions.questions)
    right = spans or any(q.answers for q in questions.questions)
    names = [f"R@{k}", f"MRR@{k}", f"nDCG@{k}"] if any(q.spans or q.relevant for q in questions.questions) else []
    names += ["span_recall", "span_precision", "span_iou"] if spans else []
    names += ["context_precision_lite"] if right else []
    names += ["context_recall_lite"] if spans else []
    names += ["coverage", "faithfulness_lite", "answer_relevancy_lite"]
    names += ["answer_correctness_lite", "answer_similarity"] if right else []
    names += ["citation_precision", "citation_recall"] if spans else []
    if judged:
        names += ["faithfulness", "answer_relevancy", *(JUDGED_BY_REFERENCE if right else ())]
    return [*names, "seconds", "tokens_passages"]


JUDGED_BY_REFERENCE = ("answer_correctness", "context_precision", "context_recall")
