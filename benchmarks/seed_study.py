"""What a run of examples/study_hyperparameters.yaml says of the findings of arXiv 2505.08445.

    fovea sweep examples/study_hyperparameters.yaml --documents DIR --questions FILE --out RUN
    python -m benchmarks.seed_study --documents DIR --questions FILE --out RUN [--json]

Each row is a mean over questions of a difference, or of a ratio of times, between trials that are equal in all else,
with its 95 % bootstrap interval over questions. Ratios of times are those of the medians over questions, pair by pair.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.sweep.load import load_study
from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.effects import effects
from fovea.pipelines.sweep.report.ranking import by_question
from fovea.pipelines.sweep.report.significance import difference
from fovea.pipelines.sweep.run import Sweep

STUDY = Path(__file__).resolve().parents[1] / "examples" / "study_hyperparameters.yaml"
QUALITY = (
    "context_recall_lite", "context_precision_lite", "faithfulness_lite", "answer_correctness_lite",
    "answer_relevancy_lite", "answer_similarity", "span_iou",
)  # fmt: skip
DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents")
    parser.add_argument("--questions", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the finished study")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    given = {"questions": str(Path(args.questions).resolve())} | ({"limit": args.limit} if args.limit else {})
    given["documents"] = [str(Path(args.documents).resolve())] if args.documents else []
    with Sweep(load_study(STUDY, **given), args.out) as sweep:
        record = sweep.record()
        print(show(rows(record), as_json=args.json))


def rows(record: Record) -> list[Row]:
    found: list[Row] = []
    data = record.questions.name
    for metric in QUALITY:
        for name, reference, level in (("store", "embedded", "chroma"), ("refine", "none", "reranker")):
            effect = next(e for e in effects(record, metric)[name] if e.level == level)
            label = f"{name}: {level} less {reference}"
            found.append(
                Row("seed_study", data, label, metric, effect.difference, effect.low, effect.high, effect.pairs)
            )
        for label, trial, other in windows(record):
            found.append(_row(data, label, metric, trial, other))
    for name, level, metric in (
        ("store", "chroma", "seconds_retrieve"), ("store", "chroma", "seconds"), ("refine", "reranker", "seconds"),
    ):  # fmt: skip
        value, low, high, pairs = ratio(record, name, level, metric)
        found.append(Row("seed_study", data, f"{name}: {level}, times the time", metric, value, low, high, pairs))
    for label, trial, other in windows(record):
        found.append(_row(data, label, "seconds", trial, other))
        found.append(_row(data, label, "tokens_passages", trial, other))
    return found


def _row(data: str, label: str, metric: str, trial: TrialRecord, other: TrialRecord) -> Row:
    d = difference(trial, other, metric)
    assert d is not None
    return Row("seed_study", data, label, metric, d.mean, d.low, d.high, len(d.values))


def windows(record: Record) -> list[tuple[str, TrialRecord, TrialRecord]]:
    """Windows of little overlap, the smallest and the next, against each semantic rule, both without re-ranking and in
    the embedded store.
    """
    plain = [t for t in record.complete if (t.params["store"], t.params["refine"]) == ("embedded", "none")]
    small = [t for t in plain if t.params.get("window") in (256, 512) and t.params.get("overlap") == 32]
    rules = [t for t in plain if "rule" in t.params]
    return [(f"window {s.params['window']}/32 less {t.params['rule']}", s, t) for s in small for t in rules]


def ratio(record: Record, name: str, level: str, metric: str) -> tuple[float, float, float, int]:
    """Median time at a level over that at the reference, the mean over pairs that are equal in all else; its interval
    by drawing questions anew.
    """
    pairs = [
        (trial, other) for trial in record.complete if trial.params[name] == level for other in record.complete
        if other.params[name] != level and _else(trial, name) == _else(other, name)
    ]  # fmt: skip
    times = [[by_question(t, metric) for t in pair] for pair in pairs]
    asked = [q for q in times[0][0] if all(q in side for pair in times for side in pair)]
    table = np.array([[[side[q] for q in asked] for side in pair] for pair in times])
    draws = np.random.default_rng(0).integers(0, len(asked), (DRAWS // 10, len(asked)))
    by_draw = [float(_ratio(table[:, :, draw])) for draw in draws]
    low, high = np.quantile(by_draw, [0.025, 0.975])
    return float(_ratio(table)), float(low), float(high), len(pairs)


def _ratio(table: np.ndarray) -> float:
    medians = np.median(table, axis=2)
    return float((medians[:, 0] / medians[:, 1]).mean())


def _else(trial: TrialRecord, name: str) -> dict[str, object]:
    return {key: value for key, value in trial.params.items() if key != name}


if __name__ == "__main__":
    main()
