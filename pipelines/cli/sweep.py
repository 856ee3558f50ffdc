"""`fovea sweep study.yaml`: search the settings of a pipeline, and say which are best, and by how much."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.pipelines.cli.warned import add_quiet, also

if TYPE_CHECKING:
    from fovea.pipelines.sweep.pool import Pool
    from fovea.pipelines.sweep.run import Sweep
    from fovea.pipelines.sweep.study import Study


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("study", help="the study's YAML file")
    parser.add_argument("--documents", action="append", metavar="PATH", help="these, in the place of the study's")
    parser.add_argument("--questions", metavar="FILE", help="these; with the documents that they bring, if any")
    parser.add_argument("--limit", type=int, metavar="N", help="ask only N of the questions")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the study's folder (NAME.sweep beside the file)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="what stages gave; several studies may share one")
    parser.add_argument("--workers", default="1", metavar="N", help="processes (1), or ray, or ray:N")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and what it would take")
    parser.add_argument("--report", action="store_true", help="run nothing; report what is known")
    parser.add_argument("--retry-failed", action="store_true", help="run the failed trials again")
    parser.add_argument("--max-failures", type=int, default=0, metavar="N", help="failed trials that exit with 0 (0)")
    parser.add_argument("--best", type=Path, metavar="FILE", help="write the best pipeline's YAML")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a row a trial (.csv, .parquet, .json)")
    parser.add_argument("--questions-table", type=Path, metavar="FILE", help="write a row a trial and question")
    parser.add_argument("--mlflow", metavar="URI", help="log the study to MLflow")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run, or go on with, the study; exit code 1 if trials failed, or none is complete."""
    from fovea.pipelines.sweep.load import load_study
    from fovea.pipelines.sweep.run import Sweep
    from fovea.rag import progress

    study = load_study(Path(args.study), **_instead(args))
    if args.dry_run:
        from fovea.pipelines.sweep.forecast import forecast

        print(forecast(study, args.cache or _folder(study, args) / "cache"))
        return 0
    with Sweep(study, _folder(study, args), cache=args.cache) as sweep, progress.shown(not args.quiet):
        if args.retry_failed:
            sweep.results.retry(sweep.history)
        if not args.report:
            sweep.run(_pool(args.workers, sweep))
        return _reported(sweep, args)


def _instead(args: argparse.Namespace) -> dict[str, Any]:
    """What the command says in the place of the study; its paths start from where it is called."""
    given: dict[str, Any] = {}
    if args.documents:
        given["documents"] = [str(Path(path).absolute()) for path in args.documents]
    if args.questions:
        given["questions"] = str(Path(args.questions).absolute())
        if not args.documents and _brings_documents(args.questions):
            given["documents"] = []
    return given | ({"limit": args.limit} if args.limit is not None else {})


def _brings_documents(questions: str) -> bool:
    from fovea.pipelines.evaluation.questions import read_questions

    return bool(read_questions(questions).documents)


def _folder(study: Study, args: argparse.Namespace) -> Path:
    return args.out or Path(args.study).resolve().parent / f"{study.spec.study}.sweep"


def _pool(workers: str, sweep: Sweep) -> Pool:
    from fovea.pipelines.sweep.pool import LocalPool, RayPool
    from fovea.rag.errors import ConfigError

    where, _, count = workers.partition(":")
    number = count if where == "ray" else where
    if number and (not number.isdigit() or int(number) < 1):
        raise ConfigError(f"--workers takes a number, ray, or ray:N, got {workers!r}")
    memory = sweep.study.spec.limits.memory_mb
    if where == "ray":
        return RayPool(sweep.data.task, int(number) if number else None, memory)
    return LocalPool(sweep.data.task, int(number), memory)


def _reported(sweep: Sweep, args: argparse.Namespace) -> int:
    """Print the table, and write what was asked for; the page always."""
    from fovea.pipelines.evaluation.measurements import show
    from fovea.pipelines.sweep.report import tables
    from fovea.pipelines.sweep.report.best import best_yaml
    from fovea.pipelines.sweep.report.html import write_html
    from fovea.pipelines.sweep.report.text import summary
    from fovea.rag.write_whole import write_whole

    record = sweep.record(" ".join(["fovea", *sys.argv[1:]]))
    page = sweep.folder / "report.html"
    write_html(record, page)
    for path, flat in ((args.table, tables.trials), (args.questions_table, tables.questions)):
        if path:
            tables.write(flat(record), path)
    if args.best and record.complete:
        write_whole(args.best, lambda part: part.write_text(best_yaml(record), encoding="utf-8"))
    if args.mlflow:
        from fovea.pipelines.sweep.report.mlflow_log import log_study

        log_study(record, args.mlflow)
    print(show(tables.rows(record), as_json=True) if args.json else f"{summary(record)}\n\nreport: {page}")
    also(sweep.results.warnings(sweep.history))
    failed = sum(trial.state == "failed" for trial in record.trials)
    return int(failed > args.max_failures or not record.complete)
