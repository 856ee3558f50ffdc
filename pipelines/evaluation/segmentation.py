"""How a store's documents are cut, without any retriever: what a perfect one could do with these chunks, and how many
and how long they are.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from fovea.pipelines.evaluation.case import Line, Texts
from fovea.pipelines.evaluation.gold import Gold, Place, QuestionSet
from fovea.pipelines.evaluation.span_metrics import precision_omega
from fovea.pipelines.evaluation.value import Value, means

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.corpus import Corpus


def segmentation(corpus: Corpus, questions: QuestionSet, texts: Texts | None = None) -> dict[str, Value]:
    """`precision_omega` over the questions with gold spans (`fovea.pipelines.evaluation.span_metrics`), `chunks`, and
    the mean `chunk_tokens` and `chunk_characters` over all of them, exact and so without an interval.

    Gold must be under the documents' own ids. Reads every chunk once; O(questions * chunks of the gold's documents).
    """
    texts, line = texts or Texts(corpus.encoder), Line()
    asked = [q for q in questions.questions if q.spans]
    wanted = {document for q in asked for gold in q.spans for document, _, _ in gold.places}
    places, tokens, characters = [], [], []
    for chunk in corpus.chunks():
        tokens.append(texts.encoder.tokenizer.count(chunk.text))
        characters.append(chunk.end - chunk.start)
        if chunk.document_id in wanted:
            places.append((chunk.document_id, chunk.start, chunk.end))
    cut = line.spans(places)
    golds = [line.spans(_best(gold, line, cut) for gold in q.spans) for q in asked]
    omega = list(precision_omega(golds, cut))
    found = means({"precision_omega": omega}, {"precision_omega": len(golds)})
    count = len(tokens)
    sizes = {"chunks": float(count)}
    if count:
        sizes |= {"chunk_tokens": sum(tokens) / count, "chunk_characters": sum(characters) / count}
    return found | {name: Value(x, nan, nan, count, count) for name, x in sizes.items()}


def _best(gold: Gold, line: Line, chunks: np.ndarray) -> Place:
    """The place of a gold text at which a perfect retriever would be most precise."""
    if not gold.elsewhere:
        return gold.document, gold.start, gold.end
    omega = precision_omega([line.spans([place]) for place in gold.places], chunks)
    return gold.places[int(omega.argmax())]
