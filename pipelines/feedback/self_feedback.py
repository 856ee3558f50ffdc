"""Self-feedback: the answer is graded, and made again from more passages or fewer until the grade is good.

    feedback: {use: self_feedback, rounds: 3, threshold: 9}

The judge's "too little" or "too much" moves the selection rule of `refine` by one step (`gradient`: min_k by one;
`mass`: target by 0.05), or `k` by one where there is no rule (Zhang, Li and Su, 2025, "SAGE"). Passages are fetched and
re-ranked once. The best-graded answer is given, not the last.

Models grade their own answers kindly: before you rely on the loop, hold the trace against questions whose answers you
know. Each round costs one answer and one grading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from fovea.pipelines.feedback.policy import FeedbackPolicy, Round, best_of
from fovea.pipelines.judges.model import ModelJudge
from fovea.pipelines.judges.support import SupportJudge
from fovea.rag import trace
from fovea.rag.feedback import AnswerFeedback, Draft, Grade, Judge, Rounds
from fovea.rag.generation import Generator
from fovea.rag.types import Hit


class SelfFeedback(AnswerFeedback, name="self_feedback"):
    """Grades each answer, and asks again with more passages or fewer until the grade reaches `threshold`."""

    rounds: PositiveInt = 3
    """How often the question is answered, at most."""
    threshold: Annotated[int, Field(ge=1, le=10)] = 9
    """The grade that is good enough, of 10."""
    step: PositiveInt = 1
    """How many steps the selection rule moves at a time."""
    floor: PositiveInt = 1
    """Never go down to fewer passages."""
    ceil: PositiveInt | None = None
    """Never use more passages; left out, all that were found may be."""
    judge: Judge | None = None
    """Who grades. Left out, the model that writes the answers; `support` where no model does."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ceil is not None and self.ceil < self.floor:
            raise ValueError(f"ceil ({self.ceil}) must not be under floor ({self.floor})")
        return self

    @property
    def policy(self) -> FeedbackPolicy:
        """The rule, without a pipeline."""
        return FeedbackPolicy(self.threshold, self.rounds, self.step, self.floor, self.ceil)

    def judge_for(self, generator: Generator) -> Judge:
        """Who grades what `generator` writes."""
        if self.judge is not None:
            return self.judge
        return ModelJudge(model=generator) if ModelJudge.can_ask(generator) else SupportJudge()

    def best(self, rounds: Rounds) -> Draft:
        """The best-graded draft; the trace holds a line for each round."""
        judge, made = self.judge_for(rounds.generator), list[Round[Draft]]()

        def attempt(steps: int, hits: Sequence[Hit]) -> tuple[Draft, Grade]:
            draft = rounds.draft(steps, hits)
            with trace.stage(f"judge {judge.name}") as stage:
                grade = judge.grade(rounds.query, draft.answer, hits, rounds.corpus)
                stage.count(grades=1, unreadable=int(grade.grade is None))
            return draft, grade

        if not rounds.select(0):
            return rounds.draft(0, ())
        for one in self.policy.run(rounds.select, attempt):
            made.append(one)
        at = best_of(made)
        self._tell(made, at, rounds)
        return made[at].made

    def _tell(self, made: Sequence[Round[Draft]], at: int, rounds: Rounds) -> None:
        count, stage = rounds.corpus.encoder.tokenizer.count, trace.current()
        table = [
            {
                **rounds.position(one.steps),
                "passages": len(one.hits),
                "tokens": sum(count(hit.chunk.text) for hit in one.hits),
                "grade": one.grade.grade,
                "delta": one.grade.delta,
                **({"stop": one.stop} if one.stop else {}),
            }
            for one in made
        ]
        stage.note(rounds=table, best=at + 1)
        stage.count(rounds=len(made))
        unread = [one.grade.raw for one in made if one.grade.grade is None]
        if unread:
            trace.warn(f"the judge's reply holds no grade: {unread[0][:80]!r}", len(unread))
