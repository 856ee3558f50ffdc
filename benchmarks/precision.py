"""What int8 costs: retrieval by the vectors of each precision, on the same questions, with paired differences.

    python benchmarks/precision.py --data ../shared/data [--sets xquad msmarco] [--json]

Every precision encodes the same passages and questions with all-MiniLM-L6-v2; recall@5 and the reciprocal rank of the
first right passage come from exact search. Differences are paired by question, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from retrieval_sets import SETS

from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder

PRECISIONS = ("float32", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["xquad", "msmarco"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(show((row for name in args.sets for row in measure(name, args.data)), as_json=args.json))


def measure(name: str, data: Path) -> Iterator[Row]:
    found = {}
    for precision in PRECISIONS:
        encoder = SentenceTransformerEncoder(precision=precision)
        questions = SETS[name](data, encoder)
        began = time.perf_counter()
        vectors = encoder.encode([c.text for c in questions.chunks])
        asked = encoder.encode(questions.questions, "query")
        seconds = time.perf_counter() - began
        found[precision] = np.array(list(scores(asked @ vectors.T, questions)))
        for metric, column in zip(("recall@5", "reciprocal rank"), found[precision].T):
            yield Row("precision", name, precision, metric, *interval(column), n=len(column), seconds=seconds)
    for metric, column in zip(("recall@5", "reciprocal rank"), (found["int8"] - found["float32"]).T):
        yield Row("precision", name, "int8 less float32", metric, *interval(column), n=len(column))


def scores(similarity: np.ndarray, questions) -> Iterator[tuple[float, float]]:  # type: ignore[no-untyped-def]
    """Recall@5 and reciprocal rank of each question."""
    ids = [c.id for c in questions.chunks]
    for row, gold in zip(similarity, questions.gold):
        ranks = [rank for rank, i in enumerate(np.argsort(-row, kind="stable"), 1) if ids[i] in gold]
        yield sum(rank <= 5 for rank in ranks) / len(gold), 1 / ranks[0]


if __name__ == "__main__":
    main()
