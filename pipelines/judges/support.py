"""A judge without a language model: does the answer rest on the passages, and do they speak of what was asked?

    grade = 1 + 9 s c,   s = supported sentences / sentences,   c = cover(question, evidence)

`s` is what citing found, `c` the share of the question's telling words, by weight, that stand in the cited sentences or
in the titles above them. It can say that something is missing, and that the last passages were of no use. It cannot say
that an answer is right: a sentence that speaks of everything asked and answers another question has the full grade.
"""

from __future__ import annotations

from collections.abc import Sequence

from fovea.pipelines.answering.likeness import cover, weights
from fovea.pipelines.answering.refusals import is_refusal
from fovea.rag.corpus import Corpus
from fovea.rag.feedback import Grade, Judge
from fovea.rag.stems import stems
from fovea.rag.types import Answer, Hit, Query


class SupportJudge(Judge, name="support"):
    """Grades by the share of supported sentences and of the question's words in their evidence."""

    def grade(self, query: Query, answer: Answer, hits: Sequence[Hit], corpus: Corpus) -> Grade:
        """From 1, for a refusal, to 10. Too little where anything is missing; too much where nothing is, and the last
        passage is not cited.
        """
        said = [s for s in answer.sentences if not is_refusal(s.text)]
        if not said:
            return Grade(1, 1, "no answer")
        supported = sum(s.supported for s in said) / len(said)
        covered = self._covered(query, answer, hits)
        lacks = supported < 1 or covered < 1
        delta = 1 if lacks else -int(not _cited(answer, hits[-1]))
        return Grade(1 + int(9 * supported * covered), delta, f"supported {supported:.2f}, covered {covered:.2f}")

    def _covered(self, query: Query, answer: Answer, hits: Sequence[Hit]) -> float:
        weight = weights([stems(hit.chunk.text) for hit in hits])
        titles = {hit.chunk.document_id: hit.chunk.title for hit in hits}
        told = [f"{c.quote} {titles.get(c.document_id, '')}" for c in answer.citations]
        asked = stems(query.text)
        return cover(asked, stems(" ".join(told)), weight) if asked else 1.0


def _cited(answer: Answer, hit: Hit) -> bool:
    c = hit.chunk
    return any(x.document_id == c.document_id and x.start < c.end and c.start < x.end for x in answer.citations)
