"""The measures of trained retrievers against ir_measures, which the floor above takes them from."""

import numpy as np
import pytest

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")

from fovea.pipelines.evaluation.ranking_metrics import scores as family
from fovea.rag.types import Document, Hit, Query, Span
from fovea.retrievers.collection import Judged
from fovea.retrievers.training.measure import scores


def test_scores_are_those_of_the_family():
    rng = np.random.default_rng(0)
    documents = [Document(f"d{i}", f"text {i}") for i in range(30)]
    chunks = [d.chunk(Span(0, len(d.text))) for d in documents]
    questions, found = [], []
    for i in range(40):
        relevant = {chunks[int(j)].id: 1 for j in rng.choice(30, int(rng.integers(1, 5)), replace=False)}
        questions.append(Judged(str(i), Query("q"), relevant))
        found.append([Hit(chunks[int(j)], 0.0) for j in rng.permutation(30)[: int(rng.integers(0, 15))]])
    theirs = family([[h.chunk.id for h in hits] for hits in found], [q.relevant for q in questions], needed_by="tests")
    for name, value in scores(found, questions).items():
        assert value == pytest.approx(theirs[name].mean(), abs=1e-9), name
