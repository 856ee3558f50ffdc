"""What feedback may ask of a pipeline: passages once more by other words, or answers from more or fewer passages.

Both stand on one retrieval whose trace they share; stages that run again bear the number of their turn in their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fovea.pipelines import search
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.corpus import Corpus
from fovea.rag.feedback import AnswerFeedback, Draft, PassageFeedback
from fovea.rag.retrieval import Refiner
from fovea.rag.trace import Trace
from fovea.rag.types import Answer, Hit, Query
from fovea.retrievers.selection import Selection


class Asked:
    """One question on its way: the settings, the corpus and the trace that all its stages share."""

    def __init__(self, spec: PipelineSpec, query: Query, k: int, corpus: Corpus, trace: Trace) -> None:
        self.spec, self.query, self.k, self.corpus, self.trace = spec, query, k, corpus, trace

    def passages(self) -> list[Hit]:
        """What is read: retrieved, refined, and corrected where the feedback looks at passages."""
        hits = search.retrieve(self.spec, self.query, self.k, self.corpus, self.trace)
        if not isinstance(feedback := self.spec.feedback, PassageFeedback):
            return hits
        with self.trace.stage(f"feedback {feedback.name}") as stage:
            hits = feedback.correct(_Evidence(self, hits))
            stage.count(hits=len(hits))
        self._end("corrected", hits)
        return hits

    def drafted(self) -> Iterator[str | Answer]:
        """The pieces of the answer that the feedback on answers holds for the best, then that Answer."""
        feedback = self.spec.feedback
        assert isinstance(feedback, AnswerFeedback)
        rounds = _Rounds(self)
        with self.trace.stage(f"feedback {feedback.name}"):
            draft = feedback.best(rounds)
        self._end("best", draft.answer.hits)
        yield from draft.pieces
        yield draft.answer

    def _end(self, name: str, hits: Sequence[Hit]) -> None:
        """A last stage that says what came out, since feedback began before the stages that it ran again."""
        with self.trace.stage(name) as stage:
            stage.keep(hits)


class _Evidence:
    """`fovea.rag.feedback.Evidence`."""

    def __init__(self, asked: Asked, hits: list[Hit]) -> None:
        self.asked, self.hits = asked, hits
        self.query, self.corpus, self.k = asked.query, asked.corpus, asked.k

    def again(self, text: str) -> list[Hit]:
        a = self.asked
        found = search.candidates(a.spec, replace(a.query, text=text), a.k, a.corpus, a.trace, "again ")
        return search.keep(
            search.refine(enumerate(a.spec.refine), a.query, found, a.corpus, a.trace, "again "), a.k, a.trace, "again "
        )

    def graded(self, hits: Sequence[Hit]) -> list[Hit]:
        grader = next(stage for stage in reversed(self.asked.spec.refine) if "probabilities" in stage.gives)
        with self.asked.trace.stage(f"grade {grader.name}") as stage:
            stage.count(passages=len(hits))
            return grader.refine(self.query, hits, self.corpus)


class _Rounds:
    """`fovea.rag.feedback.Rounds`."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.query, self.corpus, self.generator = asked.query, asked.corpus, asked.spec.generate
        chain = list(enumerate(asked.spec.refine))
        at = next((i for i, stage in reversed(chain) if isinstance(stage, Selection)), len(chain))
        self.rule, self.after = (chain[at][1] if at < len(chain) else None), chain[at + 1 :]
        hits = search.candidates(asked.spec, asked.query, asked.k, asked.corpus, asked.trace)
        self.ranked = search.refine(chain[:at], asked.query, hits, asked.corpus, asked.trace)
        self.at, self.drafts = at, 0

    def select(self, steps: int) -> list[Hit] | None:
        """Tried outside the trace: what is answered from is traced by `draft`."""
        return self._select(steps, Trace(), "")

    def position(self, steps: int) -> dict[str, float]:
        if isinstance(self.rule, Selection):
            return rule.position if (rule := self.rule.moved(steps)) else {}
        return {"k": self.asked.k + steps}

    def draft(self, steps: int, hits: Sequence[Hit]) -> Draft:
        self.drafts += 1
        turn = "" if self.drafts == 1 else f"round {self.drafts} "
        self._select(steps, self.asked.trace, turn)
        *pieces, answer = search.answer(self.generator, self.query, hits, self.corpus, self.asked.trace, turn)
        assert isinstance(answer, Answer)
        return Draft(tuple(p for p in pieces if isinstance(p, str)), answer)

    def _select(self, steps: int, trace: Trace, turn: str) -> list[Hit] | None:
        a, chain, k = self.asked, self.after, self.asked.k
        if isinstance(self.rule, Selection):
            rule = self.rule.moved(steps)
            if rule is None or (steps > 0 and rule.min_k > len(self.ranked)):
                return None
            first: list[tuple[int, Refiner]] = [(self.at, rule)]
            chain = [*first, *chain]
        elif steps and not 0 < (k := k + steps) <= len(self.ranked):
            return None
        return search.keep(search.refine(chain, a.query, self.ranked, a.corpus, trace, turn), k, trace, turn)
