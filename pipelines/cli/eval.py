"""`fovea eval p.yaml questions.jsonl`: ask every question, and say how good, how fast and how dear that was."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines.cli.ask import positive

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.evaluate import Evaluator
    from fovea.pipelines.evaluation.evaluation import Evaluation
    from fovea.pipelines.evaluation.outcome import Outcome
    from fovea.pipelines.pipeline import Pipeline

OUTCOMES, ROWS = "outcomes.jsonl", "rows.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("questions", type=Path, help="questions with gold: JSONL, SQuAD, or a folder of BEIR or TREC")
    parser.add_argument("--metrics", metavar="A,B,...", help="these only; a wrong name lists them all")
    parser.add_argument("-k", type=positive, help="how many passages are kept")
    parser.add_argument("--judge", metavar="YAML", help="""such as '{use: chat, model: "openai:gpt-4o-mini"}'""")
    parser.add_argument(
        "--prices", type=_prices, metavar="IN,OUT", help="money per million tokens, for the metric cost"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N questions")
    parser.add_argument("--split", help="which part of a BEIR folder: train, dev or test")
    parser.add_argument("--max-failures", type=_count, default=0, metavar="N", help="exit code 1 if more fail (0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"write {OUTCOMES} (a line a question) and {ROWS}")
    parser.add_argument("--against", metavar="RUN", help="compare with another pipeline's YAML, or with such a DIR")
    parser.add_argument("--ingest", action="store_true", help="first take in the documents that the set brings")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 999,999,999, got {text[:40]!r}")
    return int(text)


def _prices(text: str) -> dict[str, float]:
    try:
        into, out = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers such as 0.15,0.60, got {text!r}") from None
    return {"in": into, "out": out}


def run(args: argparse.Namespace) -> int:
    """Evaluate and print; exit code 1 where more questions failed than --max-failures."""
    from fovea.pipelines.evaluation import report
    from fovea.pipelines.evaluation.measurements import show
    from fovea.pipelines.evaluation.segmentation import segmentation
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    if args.out:
        _folder(args.out)
    with progress.shown(not args.quiet), Pipeline.from_yaml(args.pipeline) as pipeline:
        name, evaluator = pipeline.spec.name, _evaluator(args, pipeline)
        evaluation = evaluator.evaluate()
        chunks = segmentation(pipeline.corpus, evaluator.questions, evaluator.texts)
        before = _before(args, evaluation)
    rows, texts = report.rows(evaluation, name, chunks), [report.table(evaluation, name, chunks)]
    if before is not None:
        from fovea.pipelines.evaluation.compare import compare

        found = compare(before, evaluation.outcomes, evaluation.metrics)
        rows += report.differences(found, evaluation.questions.name, f"{name} against {args.against}")
        texts.append(report.difference_table(found, args.against))
    if args.out:
        _write(args.out, evaluation, show(rows, as_json=True))
    print(show(rows, as_json=True) if args.json else "\n\n".join(texts))
    if evaluator.judging is not None:
        print("judge:", ", ".join(f"{n} {what}" for what, n in evaluator.judging.counts.items()), file=sys.stderr)
    return _ended(evaluation, args)


def _ended(evaluation: Evaluation, args: argparse.Namespace) -> int:
    if evaluation.passes(args.max_failures):
        return 0
    reasons = "; ".join(f"{n} x {why}" for why, n in evaluation.failures().most_common(3))
    print(f"{evaluation.failed} questions failed, at most {args.max_failures} may: {reasons}", file=sys.stderr)
    return 1


def _evaluator(args: argparse.Namespace, pipeline: Pipeline) -> Evaluator:
    from fovea.pipelines.evaluation.evaluate import Evaluator
    from fovea.pipelines.evaluation.questions import read_questions
    from fovea.pipelines.spec import yaml_source

    questions = read_questions(args.questions, limit=args.limit, split=args.split)
    if args.ingest:
        from fovea.pipelines.evaluation.taken import take_in

        take_in(pipeline, questions)
    names = [name.strip() for name in args.metrics.split(",") if name.strip()] if args.metrics else None
    judge: Any = yaml_source.parse(args.judge, file="--judge").data if args.judge else None
    return Evaluator(pipeline, questions, names, k=args.k, judge=judge, prices=args.prices)


def _before(args: argparse.Namespace, evaluation: Evaluation) -> list[Outcome] | None:
    """The outcomes to compare with: read, or made by asking the other pipeline the same."""
    if not args.against:
        return None
    from fovea.pipelines.evaluation.evaluation import read_outcomes
    from fovea.pipelines.pipeline import Pipeline

    path = Path(args.against)
    if path.suffix not in (".yaml", ".yml"):
        return read_outcomes(path / OUTCOMES if path.is_dir() else path)
    args.metrics = ",".join(evaluation.metrics)
    with Pipeline.from_yaml(path) as other:
        return list(_evaluator(args, other).evaluate().outcomes)


def _folder(path: Path) -> None:
    """Make the folder of `--out` before there is anything to lose."""
    from fovea.rag.errors import ConfigError
    from fovea.rag.write_whole import refuse_unwritable

    try:
        path.mkdir(parents=True, exist_ok=True)
        for name in (OUTCOMES, ROWS):
            refuse_unwritable(path / name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot write a folder of results there: {reason}", where=f"--out {path}") from None


def _write(folder: Path, evaluation: Evaluation, rows: str) -> None:
    from fovea.pipelines.evaluation.evaluation import write_outcomes
    from fovea.rag.write_whole import write_whole

    write_outcomes(folder / OUTCOMES, evaluation)
    text = json.dumps(json.loads(rows), indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / ROWS, lambda part: part.write_text(text, encoding="utf-8"))
