"""`fovea tune fusion p.yaml questions.jsonl`: fit the fusion of several retrievers to gold questions."""

from __future__ import annotations

import argparse
from pathlib import Path

from fovea.pipelines.cli.ask import positive
from fovea.pipelines.cli.warned import add_quiet


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", choices=["fusion"], help="what to tune")
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("questions", type=Path, help="questions with gold, as for eval, or those of make-questions")
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N questions")
    parser.add_argument("--split", help="which part of a BEIR folder: train, dev or test")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Print what each fuser gives on the questions, and the line of YAML; the pipeline's file is left as it is."""
    from fovea.pipelines.evaluation.measurements import show
    from fovea.pipelines.evaluation.questions import read_questions
    from fovea.pipelines.evaluation.tuning import tune
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag import progress

    questions = read_questions(args.questions, limit=args.limit, split=args.split)
    with progress.shown(not args.quiet), Pipeline.from_yaml(args.pipeline) as pipeline:
        tuned = tune(pipeline, questions)
    print(show(tuned.rows(questions.name), as_json=args.json))
    if not args.json:
        if tuned.skipped:
            asked = f"{tuned.skipped:,} questions were" if tuned.skipped > 1 else "1 question was"
            print(f"\n{asked} left out: nothing in the store is known to answer what was asked")
        verdict = "better than" if tuned.better else "not better, beyond chance, than"
        print(f"\nOn questions left out of the fit, fitted weights are {verdict} {tuned.present}. To take them:\n")
        print(tuned.yaml)
    return 0
