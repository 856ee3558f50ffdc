"""How well ranked lists put first what answers, and whether two lists of figures differ by more than chance.

Measures are those of ir-measures (trec_eval): of a ranking with gains g_1 g_2 ..., R chunks being relevant,

    R@k     relevant chunks among the first k / R
    MRR@k   1 / place of the first relevant one, 0 if it is not among the first k
    nDCG@k  sum over i <= k of g_i / log2(i + 1), divided by the most that any order gives
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fovea.rag.errors import require

NAMES = {"R@1": "R@1", "R@5": "R@5", "R@10": "R@10", "MRR@10": "RR@10", "nDCG@10": "nDCG@10"}
"""By the name that tables show, the name in ir-measures."""
DRAWS = 10_000


def scores(
    ranked: Sequence[Sequence[str]], relevant: Sequence[Mapping[str, int]], *, needed_by: str
) -> dict[str, np.ndarray]:
    """By measure, one value a question; `ranked` are ids, best first, `relevant` grades by id.

    Ids are handed over with scores that fall by place, so that the order is the one given, also among equals. Raises
    MissingExtra without ir-measures.
    """
    ir = require("ir_measures", extra="bench", needed_by=needed_by)
    measures = {name: ir.parse_measure(theirs) for name, theirs in NAMES.items()}
    judged = [ir.Qrel(str(q), key, grade) for q, grades in enumerate(relevant) for key, grade in grades.items()]
    run = [ir.ScoredDoc(str(q), key, -place) for q, keys in enumerate(ranked) for place, key in enumerate(keys)]
    ours = {str(measure): name for name, measure in measures.items()}
    found = {name: np.zeros(len(ranked)) for name in measures}
    for value in ir.iter_calc(list(measures.values()), judged, run):
        found[ours[str(value.measure)]][int(value.query_id)] = value.value
    return found


def randomisation_p(differences: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Fisher's randomisation test of paired differences `(n,)`: how often their mean would be as far from 0 if the sign
    of each were chance (R. Fisher, 1935; M. Smucker, J. Allan, B. Carterette, "A comparison of statistical
    significance tests for information retrieval evaluation", 2007).

        p = (1 + draws with |mean| at least as large) / (1 + draws)

    O(draws * n).
    """
    rng, moved = np.random.default_rng(seed), differences[differences != 0]
    least, count = abs(moved.sum()) * (1 - 1e-12), 0
    for at in range(0, draws, 1000):
        signs = rng.integers(0, 2, (min(1000, draws - at), len(moved)), np.int8) * 2 - 1
        count += int((np.abs(signs @ moved) >= least).sum())
    return (1 + count) / (1 + draws)


def holm(p: Sequence[float]) -> list[float]:
    """The values of p of several tests, corrected for their number (S. Holm, "A simple sequentially rejective multiple
    test procedure", 1979): by rising p, `max over i <= j of min(1, (m - i) p_i)`, i counted from 0.
    """
    found, most = [0.0] * len(p), 0.0
    for place, number in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        most = max(most, min(1.0, (len(p) - place) * p[number]))
        found[number] = most
    return found
