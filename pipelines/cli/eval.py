"""`fovea eval p.yaml questions.jsonl`: ask every question, and say how good, how fast and how dear that was."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines.cli.ask import positive
from fovea.pipelines.cli.warned import add_quiet, printed
from fovea.rag.printable import counted

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.evaluate import Evaluator
    from fovea.pipelines.evaluation.evaluation import Evaluation
    from fovea.pipelines.evaluation.outcome import Outcome
    from fovea.pipelines.pipeline import Pipeline

OUTCOMES, ROWS = "outcomes.jsonl", "rows.json"
YAML = (".yaml", ".yml")


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
    add_quiet(parser)


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
    """Evaluate and print; exit code 1 where more questions failed than --max-failures. What is written to and compared
    with is looked at first.
    """
    from fovea.pipelines.evaluation import report
    from fovea.pipelines.evaluation.measurements import show
    from fovea.pipelines.evaluation.segmentation import segmentation
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    if args.out:
        _folder(args.out)
    saved, other = _saved(args), _other(args)
    with progress.shown(not args.quiet), Pipeline.from_yaml(args.pipeline) as pipeline, other or nullcontext():
        name, evaluator = pipeline.spec.name, _evaluator(args, pipeline, _names(args))
        if saved is not None:
            _comparable(saved, evaluator)
        theirs = _evaluator(args, other, [one.name for one in evaluator.metrics]) if other else None
        evaluation = evaluator.evaluate()
        chunks = segmentation(pipeline.corpus, evaluator.questions, evaluator.texts)
        before = theirs.evaluate().outcomes if theirs else saved
    rows, texts = report.rows(evaluation, name, chunks), [report.table(evaluation, name, chunks, quiet=args.quiet)]
    if before is not None:
        from fovea.pipelines.evaluation.compare import compare, pair

        paired = pair(before, evaluation.outcomes)
        found = compare(paired, evaluation.metrics, evaluation.questions)
        rows += report.differences(found, paired, evaluation.questions.name, f"{name} against {args.against}")
        texts.append(report.difference_table(found, paired, args.against))
    if args.out:
        _write(args.out, evaluation, show(rows, as_json=True))
    print(show(rows, as_json=True) if args.json else "\n\n".join(texts))
    printed(() if args.json else evaluation.warnings)
    if evaluator.judging is not None:
        print("judge:", ", ".join(f"{n} {what}" for what, n in evaluator.judging.counts.items()), file=sys.stderr)
    return _ended(evaluation, args)


def _ended(evaluation: Evaluation, args: argparse.Namespace) -> int:
    if evaluation.passes(args.max_failures):
        return 0
    reasons = "; ".join(f"{n} x {why}" for why, n in evaluation.failures().most_common(3))
    print(
        f"{counted(evaluation.failed, 'questions')} failed, at most {args.max_failures} may: {reasons}", file=sys.stderr
    )
    return 1


def _names(args: argparse.Namespace) -> list[str] | None:
    return [name.strip() for name in args.metrics.split(",") if name.strip()] if args.metrics else None


def _evaluator(args: argparse.Namespace, pipeline: Pipeline, names: Sequence[str] | None) -> Evaluator:
    from fovea.pipelines.evaluation.evaluate import Evaluator
    from fovea.pipelines.evaluation.questions import read_questions
    from fovea.pipelines.spec import yaml_source

    questions = read_questions(args.questions, limit=args.limit, split=args.split)
    if args.ingest:
        from fovea.pipelines.evaluation.taken import take_in

        take_in(pipeline, questions)
    judge: Any = yaml_source.parse(args.judge, file="--judge").data if args.judge else None
    return Evaluator(pipeline, questions, names, k=args.k, judge=judge, prices=args.prices)


def _saved(args: argparse.Namespace) -> list[Outcome] | None:
    """The outcomes of another run to compare with."""
    from fovea.pipelines.evaluation.evaluation import read_outcomes

    path = Path(args.against or "")
    if not args.against or path.suffix in YAML:
        return None
    return read_outcomes(path / OUTCOMES if path.is_dir() else path)


def _other(args: argparse.Namespace) -> Pipeline | None:
    """The pipeline to compare with, which is to be asked the same."""
    from fovea.pipelines.pipeline import Pipeline

    return Pipeline.from_yaml(args.against) if args.against and Path(args.against).suffix in YAML else None


def _comparable(saved: Sequence[Outcome], evaluator: Evaluator) -> None:
    """Raise ConfigError where the other run was asked nothing of what this one will be."""
    from fovea.pipelines.evaluation.compare import pair
    from fovea.pipelines.evaluation.outcome import Outcome

    pair(saved, [Outcome(q.id, content=q.content) for q in evaluator.questions.questions])


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
