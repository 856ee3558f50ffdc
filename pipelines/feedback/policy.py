"""When to answer again, with more passages or fewer, and when to stop: the rule of self-feedback, without a pipeline.

    grade >= threshold: stop.   Otherwise move the selection by the judge's -1 or +1, answer, and grade again.

(Zhang, Li and Su, 2025, "SAGE: A Framework of Precise Retrieval for RAG".) Three things keep it from running on: the
number of rounds, the bounds on how many passages there are, and a guard against cycles. A step that selects the very
same passages would give the same answer, so it costs no round: the next step is tried at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fovea.rag.feedback import Grade
from fovea.rag.types import Hit

T = TypeVar("T")
Select = Callable[[int], "Sequence[Hit] | None"]
"""The passages at so many steps from the settings; None where the rule can go no further."""


@dataclass(frozen=True, slots=True)
class Round(Generic[T]):
    """One answer: what it was made from, what came out, its grade, and, of the last round, why it was the last."""

    steps: int
    hits: tuple[Hit, ...]
    made: T
    grade: Grade
    stop: str = ""


@dataclass(frozen=True, slots=True)
class FeedbackPolicy:
    """Stops at a grade of `threshold` or after `rounds` answers; moves `step` steps at a time, to selections of
    `floor` to `ceil` passages (None: as many as there are).
    """

    threshold: int = 9
    rounds: int = 3
    step: int = 1
    floor: int = 1
    ceil: int | None = None

    def run(self, select: Select, attempt: Callable[[int, Sequence[Hit]], tuple[T, Grade]]) -> Iterator[Round[T]]:
        """The rounds, as they are made. `attempt` answers from the passages at so many steps, and has it graded."""
        steps, hits = 0, self._capped(select(0) or ())
        seen: set[tuple[str, ...]] = set()
        for n in range(1, self.rounds + 1):
            seen.add(_ids(hits))
            made, grade = attempt(steps, hits)
            stop = self._stop(grade, n)
            move = None if stop else self._move(steps, hits, grade.delta, select)
            if isinstance(move, tuple) and _ids(move[1]) in seen:
                move = "cycle: those passages were tried before"
            yield Round(steps, tuple(hits), made, grade, stop or (move if isinstance(move, str) else ""))
            if not isinstance(move, tuple):
                return
            steps, hits = move

    def _stop(self, grade: Grade, n: int) -> str:
        if grade.grade is None:
            return "the grade could not be read"
        if grade.grade >= self.threshold:
            return f"the grade reaches {self.threshold}"
        if n == self.rounds:
            return f"{n} rounds"
        return "" if grade.delta else "nothing to change: neither too much nor too little"

    def _move(self, steps: int, hits: Sequence[Hit], delta: int, select: Select) -> tuple[int, Sequence[Hit]] | str:
        """The next selection that differs, or why there is none."""
        if delta > 0 and self.ceil is not None and len(hits) >= self.ceil:
            return f"at most {self.ceil} passages"
        while (found := select(steps := steps + delta * self.step)) is not None:
            found = self._capped(found)
            if _ids(found) != _ids(hits):
                return (steps, found) if len(found) >= self.floor else f"at least {self.floor} passages"
        return f"nothing to change: the selection can keep no {'more' if delta > 0 else 'fewer'}"

    def _capped(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        return hits[: self.ceil]


def _ids(hits: Sequence[Hit]) -> tuple[str, ...]:
    return tuple(hit.chunk.id for hit in hits)


def best_of(rounds: Sequence[Round[T]]) -> int:
    """Which round has the highest grade, from 0; of equals the first. A grade that could not be read is the lowest."""
    return max(range(len(rounds)), key=lambda i: (rounds[i].grade.grade or 0, -i))
