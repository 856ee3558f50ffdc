"""Fusion fitted to one's own questions: weights of `adaptive`, and what they are worth on questions they have not seen.

tuned = tune(pipeline, read_questions("questions.jsonl"))
print(tuned.yaml)          # fuse: {use: adaptive, meaning: ...}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea.pipelines import search
from fovea.pipelines.evaluation.gold import Question, QuestionSet
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.pipelines.evaluation.questions import check_questions
from fovea.rag import progress, registry
from fovea.rag.errors import ConfigError
from fovea.rag.retrieval import Fuser
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.training.ascent import Asked, ascend, asked_of, ndcg, ndcg_of

if TYPE_CHECKING:
    import numpy as np

    from fovea.pipelines.pipeline import Pipeline

FOLDS, FEWEST = 5, 20
RULES = ("rrf", "convex", "calibrated", "adaptive")


@dataclass(frozen=True)
class Tuned:
    """`weights` fitted to all questions; nDCG@10 of each question by method, `fitted` by cross-validation."""

    weights: dict[str, float]
    present: str
    """The name of the fuser that the pipeline has now."""
    values: dict[str, np.ndarray]
    skipped: int
    """Questions of which nothing in the store is known to answer."""

    @property
    def yaml(self) -> str:
        """The line for the pipeline's YAML."""
        return "fuse: {use: adaptive, " + ", ".join(f"{name}: {value:g}" for name, value in self.weights.items()) + "}"

    @property
    def better(self) -> bool:
        """Whether fitting beats the present fuser beyond chance."""
        return interval(self.values["fitted"] - self.values[self.present])[1] > 0

    def rows(self, data: str) -> Iterator[Row]:
        """Every method, and its difference to the present fuser."""
        for method, each in self.values.items():
            yield Row("tune", data, method, "nDCG@10", *interval(each), len(each))
            if method != self.present:
                moved = interval(each - self.values[self.present])
                yield Row("tune", data, method, f"- {self.present}", *moved, len(each))


def tune(pipeline: Pipeline, questions: QuestionSet) -> Tuned:
    """Fit `adaptive` to the questions, a fifth left out in turn to measure it.

    Raises ConfigError for a pipeline with one retriever, and for fewer than 20 questions with gold in the store.
    O(chunks), and a retrieval for each question.
    """
    spec = pipeline.spec
    if len(spec.retrieve) < 2:
        raise ConfigError("there is nothing to fuse: the pipeline has one retriever", fix="retrieve: [dense, bm25]")
    fusers: dict[str, Fuser] = {name: registry.find("fuser", name)() for name in RULES}  # type: ignore[misc]
    present = spec.fuser.name if spec.fuser == fusers.get(spec.fuser.name) else "present"
    fusers[present] = spec.fuser
    asked: list[Asked] = []
    values: dict[str, list[float]] = {name: [] for name in fusers}
    with pipeline.reading() as corpus:
        found = check_questions(questions, corpus.library.documents())
        chunks = defaultdict[str, list[Chunk]](list)
        for chunk in corpus.chunks():
            chunks[chunk.document_id].append(chunk)
        with progress.bar("retrieve", len(found.questions)) as bar:
            for question in found.questions:
                if gold := set(_answering(question, chunks)):
                    lists = search.found_by(spec, question.query, spec.candidates, corpus, Trace())
                    asked.append(asked_of(lists, question.query, corpus, gold))
                    for name, fuser in fusers.items():
                        values[name].append(_measured(fuser, lists, question.query, corpus, gold))
                bar.advance(1)
    if len(asked) < FEWEST:
        what = f"{len(asked)} of {len(found.questions)} questions have an answer in the store"
        raise ConfigError(f"{what}: too few to fit to", where=questions.name, fix=f"at least {FEWEST}")
    return _fitted(asked, values, present, len(found.questions) - len(asked))


def _fitted(asked: list[Asked], values: dict[str, list[float]], present: str, skipped: int) -> Tuned:
    import numpy as np

    held_out = np.zeros(len(asked))
    for fold in range(FOLDS):
        weights = ascend([one for i, one in enumerate(asked) if i % FOLDS != fold])
        held_out[fold::FOLDS] = ndcg_of(asked[fold::FOLDS], weights)
    every = {name: np.array(each) for name, each in values.items()}
    return Tuned(ascend(asked), present, {**every, "fitted": held_out}, skipped)


def _answering(question: Question, chunks: dict[str, list[Chunk]]) -> Iterator[str]:
    """The ids of the chunks that touch a span that answers, or are of a document that does."""
    for name in question.relevant:
        yield from (chunk.id for chunk in chunks[name])
    for name, start, end in (place for gold in question.spans for place in gold.places):
        yield from (chunk.id for chunk in chunks[name] if chunk.start < end and start < chunk.end)


def _measured(fuser: Fuser, lists: dict[str, list[Hit]], query: Query, corpus: LibraryCorpus, gold: set[str]) -> float:
    return ndcg([hit.chunk.id for hit in fuser.fuse(lists, 10, query, corpus)], gold)
