"""A made collection for the re-ranker: the passage that answers names the year that is asked for, others another."""

import numpy as np

from fovea.rag.types import Document, Query, Span
from fovea.retrievers.collection import Collection, Judged


def collection(told: bool) -> Collection:
    """Forty questions over passages alike but for a year; with `told` false, which of them answers is drawn by lot."""
    rng = np.random.default_rng(0)
    documents, chunks, questions, parts = [], [], [], {}
    for number in range(40):
        years = rng.choice(np.arange(1900, 2000), 8, replace=False)
        texts = [f"In {year} the ship {name(number)} sailed to the far north with men and dogs." for year in years]
        document = Document(f"d{number}", "\n\n".join(texts), title=name(number))
        starts = np.cumsum([0, *(len(t) + 2 for t in texts)])
        spans = [document.chunk(Span(int(s), int(s) + len(t))) for s, t in zip(starts, texts)]
        split = "dev" if number % 4 == 0 else "train"
        right = int(rng.integers(8))
        answer = right if told else int(rng.integers(8))
        query = Query(f"Where did the ship {name(number)} sail in {years[right]}?")
        documents.append(document)
        chunks += spans
        parts[document.id] = split
        questions.append(Judged(str(number), query, {spans[answer].id: 1}, split))
    return Collection("ships", documents, chunks, questions, parts)


def name(number: int) -> str:
    """A ship's name, of no other number."""
    return "".join("aeioubdfgk"[int(digit)] for digit in f"{number:03d}") + "mar"
