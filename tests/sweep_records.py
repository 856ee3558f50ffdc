"""Records of studies made up for the tests of the report: by hand from figures, and a large one that looks real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from math import nan
from pathlib import Path

import numpy as np

from fovea.pipelines.evaluation.gold import Gold, Question, QuestionSet
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.record import Record, TrialRecord, Value
from fovea.pipelines.sweep.results import Claimed, Results

MAXIMISE = {"nDCG@10": "maximise"}
BOTH = {"nDCG@10": "maximise", "seconds": "minimise"}
TOPICS = ("the checkpoint", "a transaction", "the write-ahead log", "an index", "the page cache", "a rollback journal",
          "a shared lock", "the schema", "a virtual table", "the query planner")  # fmt: skip
DOES = ("is written before the pages it speaks of", "must be held until readers have finished",
        "is rebuilt from the rows when it is lost", "costs one sync of the disk",
        "never grows over a thousand pages unless a reader waits", "is skipped when nothing has changed")  # fmt: skip


def value(mean: float, n: int = 10, of: int | None = None, spread: float = 0.02) -> Value:
    return Value(mean, mean - spread, mean + spread, n, n if of is None else of)


def trial(number: int, scores: Sequence[float] | float = 0.0, *, cost: float | None = None, **fields) -> TrialRecord:
    """A complete trial with scores of questions q0 q1 ..., or with a mean alone; `cost` is its metric `seconds`."""
    outcomes: tuple[Outcome, ...] = ()
    if isinstance(scores, float | int):
        values = {"nDCG@10": value(float(scores))}
    else:
        values = {"nDCG@10": Value(float(np.mean(scores)), min(scores), max(scores), len(scores), len(scores))}
        outcomes = tuple(Outcome(f"q{i}", {"nDCG@10": float(s)}) for i, s in enumerate(scores))
    values |= {} if cost is None else {"seconds": value(cost)}
    plain = {"id": f"{number:016x}", "state": "complete", "settings": {"name": "x", "k": number + 1}, "params": {}}
    return TrialRecord(number=number, **{**plain, "values": values, "outcomes": outcomes, **fields})


def questions(n: int = 10) -> QuestionSet:
    asked = tuple(Question(f"q{i}", f"What about number {i}?", (Gold("a.txt", 10 * i, 10 * i + 5),)) for i in range(n))
    return QuestionSet("numbers", asked)


def record(trials: Sequence[TrialRecord], objectives: Mapping = MAXIMISE, **more) -> Record:
    return Record("a study", objectives, trials, **{"questions": questions(), **more})


def documents() -> dict[str, str]:
    """Three documents of sixty sentences."""
    made = {}
    for d, name in enumerate(("wal.md", "guide/locks.html", "保存/日本語.txt")):
        lines = [f"{TOPICS[(i * 7 + d) % 10].capitalize()} {DOES[(i + d) % 6]} ({d}.{i})." for i in range(60)]
        made[name] = "\n".join(" ".join(lines[i : i + 6]) for i in range(0, 60, 6))
    return made


def large(trials: int = 48, asked: int = 60, *, seed: int = 7, texts: Mapping[str, str] | None = None) -> Record:
    """A grid of 48 trials (or as many as asked for, with `k`) on `asked` questions, some pruned, some failed."""
    rng = np.random.default_rng(seed)
    texts = documents() if texts is None else texts
    gold = [_gold(texts, i) for i in range(asked)]
    items = tuple(Question(f"q{i:03}", f"What is said of {texts[g.document][g.start : g.end].split(' (')[0]}?", (g,))
                  for i, g in enumerate(gold))  # fmt: skip
    hard = rng.normal(0, 0.25, asked)
    grid = product(
        range(1, 200), (128, 256, 512), ("fixed", "recursive", "semantic", "sage"), ("faiss", "chroma"), (False, True)
    )
    made = []
    for number, (k, size, segmenter, store, rerank) in zip(range(trials), grid):
        params = {"segment": segmenter, "size": size, "store": store, "rerank": "minilm" if rerank else None}
        params |= {"k": k} if trials > 48 else {}
        if segmenter == "semantic":
            params["threshold"] = (0.3, 0.5)[number % 3 % 2]
        made.append(_trial(rng, number, params, items, hard, texts))
    set_ = QuestionSet("sqlite manual", items)
    command = "fovea sweep examples/study.yaml --workers 2"
    source = "name: chunking and re-ranking\nsegment: {choice: [fixed, recursive, semantic, sage]}\n"
    return Record("chunking and re-ranking", {"nDCG@10": "maximise", "seconds": "minimise"}, made, set_, made[0].id,
                  "2 cores, Linux x86_64, Python 3.11; fovea 0.1.0", command, source,
                  lambda document, start, end: texts[document][start:end] if document in texts else None)  # fmt: skip


def _gold(texts: Mapping[str, str], i: int) -> Gold:
    name = list(texts)[i % len(texts)]
    found = list(re.finditer(r"[^.\n]+\(\d+\.\d+\)\.", texts[name]))
    at = found[(i * 5) % len(found)]
    return Gold(name, at.start() + len(at[0]) - len(at[0].lstrip()), at.end())


def _trial(rng, number, params, items, hard, texts) -> TrialRecord:
    settings = {
        "name": "study", "encoder": {"use": "hash"}, "segment": [{"use": "fixed", "max_tokens": params["size"]}],
        "store": {"use": "embedded", "path": ".fovea/study"}, "retrieve": [{"use": "dense"}, {"use": "bm25"}], "k": 5,
    }  # fmt: skip
    common = {"id": f"{number * 2654435761 % 2**64:016x}", "number": number, "params": params, "settings": settings}
    if number in (17, 30):
        reason = "MemoryError: the re-ranker asked for 9.1 GB\n  refine[0] cross_encoder, batch 64"
        return TrialRecord(**common, state="failed", reason=reason, seconds=3.2)
    skill = 0.45 + {"fixed": 0.0, "recursive": 0.06, "semantic": 0.02, "sage": 0.09}[params["segment"]]
    skill += {128: -0.05, 256: 0.03, 512: 0.0}[params["size"]] + (0.1 if params["rerank"] else 0.0)
    outcomes = [_outcome(rng, q, skill + hard[i], params, texts) for i, q in enumerate(items)]
    if number in (5, 21, 40):
        reason = "dominated on the first 15 questions by #11"
        return TrialRecord(**common, state="pruned", outcomes=outcomes[:15], reason=reason, seconds=1.5)
    stages = {
        s: (int(rng.integers(0, 2)), int(rng.integers(1, 4))) for s in ("segment", "encode", "retrieve", "refine")
    }
    values = {m: _mean(outcomes, m) for m in ("nDCG@10", "seconds", "tokens_passages", "span recall")}
    return TrialRecord(**common, state="complete", values={k: v for k, v in values.items() if v}, outcomes=outcomes,
                       seconds=float(rng.gamma(4, 2)), stages=stages)  # fmt: skip


def _outcome(rng, question: Question, skill: float, params: Mapping, texts: Mapping[str, str]) -> Outcome:
    if rng.random() < 0.004:
        return Outcome(question.id, failed="the encoder gave no vector")
    gold = question.spans[0]
    score = float(np.clip(round(rng.normal(skill, 0.15) * 4) / 4, 0, 1))
    names, hits = list(texts), []
    for place in range(5):
        name = gold.document if score and place == round((1 - score) * 3) else names[int(rng.integers(len(names)))]
        middle = gold.start - 40 if score and place == round((1 - score) * 3) else int(rng.integers(0, 3000))
        start = max(0, middle)
        hits.append((name, start, min(len(texts[name]), start + 2 * params["size"]), 0.9 - 0.1 * place))
    seconds = {"retrieve dense": rng.gamma(3, 0.004), "retrieve bm25": rng.gamma(2, 0.001), "fuse adaptive": 0.0004}
    if params["rerank"]:
        seconds["refine[0] cross_encoder"] = rng.gamma(6, 0.03 * params["size"] / 256)
    seconds = {k: float(v) for k, v in seconds.items()}
    tokens = {"passages": int(params["size"] * 4.2 + rng.integers(0, 60))}
    answer = texts[gold.document][gold.start : gold.end] if score > 0.5 else "The documents do not say."
    scores = {"nDCG@10": score, "span recall": float(score > 0.4)}
    return Outcome(question.id, scores, {**seconds, "total": sum(seconds.values())}, tokens, tuple(hits), answer)


def _mean(outcomes: Sequence[Outcome], metric: str) -> Value | None:
    from fovea.pipelines.evaluation.measurements import interval
    from fovea.pipelines.sweep.report.ranking import by_question

    made = by_question(TrialRecord("", 0, "complete", {}, {}, outcomes=outcomes), metric)
    return Value(*interval(list(made.values()), draws=200), len(made), len(outcomes)) if made else None


def chromium() -> str | None:
    """Where a Chromium is, None without one."""
    from shutil import which

    return next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := which(name))), None)


PLAN = {"history": "h", "study": "small", "objectives": {"R@2": "maximise"}, "trials": 4, "questions": 3}


@contextmanager
def running(folder: Path) -> Iterator[Results]:
    """A folder of a study in which this process runs a trial; one is complete, one has failed."""
    results = Results(folder)
    results.remember("plan", json.dumps(PLAN))
    for number in range(3):
        results.claim(Claimed(f"t{number}", {}), "h", number, {"segment": "fixed", "k": number + 1})
    results.add("t0", 0, [Outcome(f"q{n}") for n in range(3)])
    value = Value(0.5, nan, nan, 3, 3)
    results.finish("t0", "complete", values={"R@2": value}, reason="", seconds=1.5, stages={"segment": (1, 0)})
    results.finish("t1", "failed", values={}, reason="<b>no</b> room", seconds=0.1, stages={})
    results.add("t2", 0, [Outcome(f"q{n}") for n in range(2)])
    yield results
    results.close()


if __name__ == "__main__":
    import sys

    from fovea.pipelines.sweep.report.html import write_html

    write_html(large(*map(int, sys.argv[2:])), Path(sys.argv[1]))
