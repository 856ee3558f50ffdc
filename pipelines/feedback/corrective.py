"""Corrective retrieval: passages are graded before anything is answered; poor ones make the question go out again.

    correct     a probability over `upper`      keep to the strips that answer
    incorrect   all probabilities under `lower` drop all, rewrite the question, retrieve once more
    ambiguous   else                            both

A strip is a run of sentences of a passage, each of which the chain's own re-ranker grades too; strips are slices of
their documents and keep their order (Yan, Gu, Zhu and Ling, 2024, "Corrective retrieval augmented generation", whose
grader is a fine-tuned T5 and whose second source is the web; here it is the corpus, asked in other words).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fovea.pipelines.feedback.rewriting import rewritten
from fovea.pipelines.feedback.strips import joined, split
from fovea.rag import trace
from fovea.rag.feedback import Evidence, PassageFeedback
from fovea.rag.types import Hit

Share = Annotated[float, Field(ge=0, le=1)]
Action = Literal["correct", "incorrect", "ambiguous"]


class Corrective(PassageFeedback, name="corrective"):
    """Grades the passages by their probability: keeps the sentences that answer, and asks once more where none does."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})

    upper: Share = 0.6
    """One passage over it is enough."""
    lower: Share = 0.1
    """A passage under it is dropped."""
    strip: Share | None = 0.1
    """The least probability of a sentence that is kept; null keeps passages whole."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.upper < self.lower:
            raise ValueError(f"upper ({self.upper:g}) must not be under lower ({self.lower:g})")
        return self

    def action(self, grades: Sequence[float]) -> Action:
        """What is to be done about passages of these probabilities; no passages at all are incorrect."""
        if any(grade > self.upper for grade in grades):
            return "correct"
        return "incorrect" if all(grade < self.lower for grade in grades) else "ambiguous"

    def correct(self, evidence: Evidence) -> list[Hit]:
        """At most `evidence.k` passages, of two retrievals at most; those of one passage in reading order."""
        stage, hits = trace.current(), evidence.hits
        action = self.action([hit.score for hit in hits])
        stage.note(action=action, best=round(max((hit.score for hit in hits), default=0.0), 3))
        if action != "correct":
            hits = self._retried(evidence)
        kept = [hit for hit in hits if hit.score >= self.lower]
        for hit in hits:
            if hit.score < self.lower:
                stage.drop(hit, f"graded {hit.score:.2g}, under {self.lower:g}")
        if not kept:
            trace.warn(f"corrective: no passage is graded {self.lower:g} or more")
        for hit in kept[evidence.k :]:
            stage.drop(hit, f"below the first {evidence.k}")
        return self._stripped(kept[: evidence.k], evidence)

    def _retried(self, evidence: Evidence) -> list[Hit]:
        """The hits of both retrievals, best first."""
        text = rewritten(evidence.query.text, evidence.hits[:1], evidence.corpus)
        if text == evidence.query.text:
            trace.current().note(rewritten="nothing to rewrite")
            return evidence.hits
        trace.current().note(rewritten=text)
        known = {hit.chunk.id for hit in evidence.hits}
        fresh = [hit for hit in evidence.again(text) if hit.chunk.id not in known]
        trace.current().count(fresh=len(fresh))
        return sorted([*evidence.hits, *fresh], key=lambda hit: -hit.score)

    def _stripped(self, hits: list[Hit], evidence: Evidence) -> list[Hit]:
        """The passages without the sentences that do not answer; a passage none of whose sentences does by itself, or
        which has only one, stays whole.
        """
        if self.strip is None or not hits:
            return hits
        parts = {hit.chunk.id: split(hit, evidence.corpus) for hit in hits}
        several = [part for found in parts.values() if len(found) > 1 for part in found]
        grades = {hit.chunk.id: hit for hit in evidence.graded(several)} if several else {}
        stage, kept = trace.current(), list[Hit]()
        for hit in hits:
            found = [grades.get(part.chunk.id) for part in parts[hit.chunk.id]]
            good = [one if one is not None and one.score >= self.strip else None for one in found]
            if not any(good) or all(good):
                kept.append(hit)
                continue
            strips = joined(good, evidence.corpus)
            stage.drop(hit, f"cut to {', '.join(strip.chunk.where for strip in strips)}")
            stage.count(sentences_kept=sum(map(bool, good)), sentences_dropped=good.count(None))
            kept += strips
        return kept
