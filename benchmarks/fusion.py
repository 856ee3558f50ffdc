"""Does fusion pay, and is the default ever worse than the best simple rule?

    python benchmarks/fusion.py --data ../shared/data --cache FOLDER [--sets scifact xquad ...] [--json]

Every retriever fetches 50 chunks; every fuser joins the same lists. nDCG@10, recall@5 and MRR@10 by ir-measures (on
sets with character spans recall@5 is the share of the answering characters). "left out" is `adaptive` with weights by
coordinate ascent on the development sets of all *other* families (`FAMILIES`), so no set is measured with weights that
have seen it or its kind. Differences are paired, with 95 % bootstrap intervals, those of the mean over sets by drawing
questions inside each set; p by randomisation, by Holm over all sets of a part. "best rule" is the best of vectors,
BM25, rrf, convex and calibrated on that very set: it knows the answers.

Which data decided what: the features of `adaptive` and its numbers were chosen on `DEVELOPMENT`, of the sets that have
no split (`HALVED`) on the questions of one half by hash; all else is reported apart. `calibrated` got its one number
from scifact, xquad and timeqa, long before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from retrieval_sets import SETS, RetrievalSet, overlap

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation import ranking_metrics
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag import registry
from fovea.rag.remember import RememberingEncoder
from fovea.rag.retrieval import Fuser
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.adaptive import AdaptiveFuser
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.convex import ConvexFuser
from fovea.retrievers.rrf import ReciprocalRankFuser
from fovea.retrievers.training.ascent import Asked, ascend, asked_of

FETCHED, KEPT, DRAWS = 50, 10, 2000
DEVELOPMENT = ("xquad", "timeqa", "msmarco", "hotpotqa", "musique", "cranfield", "limit", "covid", "locomo")
HALVED = ("musique", "cranfield", "limit", "covid", "locomo")
FAMILIES = {"musique": "hotpotqa", "timeqa-2": "timeqa", "timeqa-3": "timeqa"}
"""Sets of one kind, left out together; any other is its own."""
RULES: dict[str, Fuser] = {
    "rrf": ReciprocalRankFuser(),
    "convex .5 .5": ConvexFuser(weights={"dense": 0.5, "bm25": 0.5}),
    "convex .8 .2": ConvexFuser(weights={"dense": 0.8, "bm25": 0.2}),
    "calibrated": CalibratedFuser(),
}
SIMPLE = ("dense", "bm25", *RULES)
LEFT_OUT, DEFAULT = "adaptive, left out", "adaptive (default)"
Lists = dict[str, list[Hit]]
Values = dict[str, dict[str, np.ndarray]]
"""By method and metric, one value a question."""


class Part(NamedTuple):
    """Questions of a set that decided something, or that did not, with what each retriever found."""

    name: str
    development: bool
    data: RetrievalSet
    corpus: MemoryCorpus
    lists: list[Lists]
    asked: list[Asked]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with retrieval/, spans/, qa/, temporal/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--encoder", default="sentence_transformer")
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = registry.find("encoder", args.encoder)()
    kept = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder))  # type: ignore[arg-type]
    parts = [part for name in args.sets for part in parts_of(name, SETS[name](args.data, kept), kept)]
    values = [measured(part, parts) for part in parts]
    print(show(rows(parts, values), as_json=args.json))


def parts_of(name: str, data: RetrievalSet, encoder: Any) -> Iterator[Part]:
    corpus = MemoryCorpus(data.documents, data.chunks, encoder)
    corpus.prepare(data.questions)
    halves = {True: [], False: []}
    for i, question in enumerate(data.questions):
        first = int(sha256(question.encode()).hexdigest(), 16) % 2 == 0
        if data.gold[i]:
            halves[name in DEVELOPMENT and (name not in HALVED or first)].append(i)
    searching: dict[str, Any] = {one: registry.find("retriever", one)() for one in ("dense", "bm25")}
    for development, chosen in halves.items():
        if chosen:
            part = data.of(chosen)
            queries = [Query(text) for text in part.questions]
            lists = [{n: r.search(query, FETCHED, corpus) for n, r in searching.items()} for query in queries]
            asked = [asked_of(one, q, corpus, gold) for one, q, gold in zip(lists, queries, part.gold)]
            yield Part(name, development, part, corpus, lists, asked)


def measured(part: Part, parts: list[Part]) -> Values:
    """What each method gives for the questions of a part."""
    family = FAMILIES.get(part.name, part.name)
    others = [p for p in parts if p.development and FAMILIES.get(p.name, p.name) != family]
    fusers = {**RULES, DEFAULT: AdaptiveFuser()}
    if others:
        groups = [p.name for p in others for _ in p.asked]
        learnt: dict[str, Any] = ascend([one for p in others for one in p.asked], groups)
        print(f"{part.name}: {learnt}", file=sys.stderr)
        fusers[LEFT_OUT] = AdaptiveFuser(**learnt)
    found = {name: [one[name] for one in part.lists] for name in ("dense", "bm25")}
    for method, fuser in fusers.items():
        pairs = zip(part.data.questions, part.lists)
        found[method] = [fuser.fuse(one, KEPT, Query(question), part.corpus) for question, one in pairs]
    return {method: score(part.data, lists) for method, lists in found.items()}


def score(data: RetrievalSet, lists: list[list[Hit]]) -> dict[str, np.ndarray]:
    """By metric, one value a question."""
    ranked = [[hit.chunk.id for hit in hits[:KEPT]] for hits in lists]
    relevant = [dict.fromkeys(gold, 1) for gold in data.gold]
    found = ranking_metrics.scores(ranked, relevant, needed_by="benchmarks/fusion.py")
    values = {"nDCG@10": found["nDCG@10"], "recall@5": found["R@5"], "MRR@10": found["MRR@10"]}
    if data.spans is not None:
        values["recall@5"] = np.array([covered(hits[:5], wanted) for hits, wanted in zip(lists, data.spans)])
    return values


def covered(hits: list[Hit], wanted: list[Any]) -> float:
    """The share of the characters that answer which the hits hold."""
    every = {(name, at) for name, span in wanted for at in range(span.start, span.end)}
    held = {(name, at) for h in hits for name, span in wanted for at in overlap(h.chunk, name, span)}
    return len(held) / len(every)


def rows(parts: list[Part], values: list[Values]) -> Iterator[Row]:
    for part, found in zip(parts, values):
        data = f"{part.data.name} ({'development' if part.development else 'apart'})"
        for method, metrics in found.items():
            for metric, each in metrics.items():
                yield Row("fusion", data, method, metric, *interval(each), len(each))
    for development in (True, False):
        chosen = [(p.data.name, v) for p, v in zip(parts, values) if p.development == development]
        for method in (LEFT_OUT, DEFAULT):
            if chosen and all(method in found for _, found in chosen):
                yield from differences(f"{'development' if development else 'apart'}: {method}", method, chosen)


def differences(data: str, method: str, chosen: list[tuple[str, Values]]) -> Iterator[Row]:
    """To `calibrated`, and to the best simple rule of each set."""
    ours = [found[method]["nDCG@10"] for _, found in chosen]
    bests = [max(SIMPLE, key=lambda m: float(found[m]["nDCG@10"].mean())) for _, found in chosen]
    for against, theirs in (("calibrated", ["calibrated"] * len(chosen)), ("best rule", bests)):
        moved = [a - found[b]["nDCG@10"] for a, b, (_, found) in zip(ours, theirs, chosen)]
        p = ranking_metrics.holm([ranking_metrics.randomisation_p(each) for each in moved])
        for (name, _), rule, each, corrected in zip(chosen, theirs, moved, p):
            yield Row("fusion", data, name, f"- {against}", *interval(each), len(each), None, {"rule": rule})
            yield Row("fusion", data, name, f"- {against}: p (Holm)", corrected)
        yield Row("fusion", data, "mean over sets", f"- {against}", *over_sets(moved), len(moved))


def over_sets(moved: list[np.ndarray]) -> tuple[float, float, float]:
    """The mean of the sets' means, and its 95 % interval when questions are drawn inside each set."""
    rng = np.random.default_rng(0)
    drawn = [each[rng.integers(0, len(each), (DRAWS, len(each)))].mean(1) for each in moved]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return float(np.mean([each.mean() for each in moved])), float(low), float(high)


if __name__ == "__main__":
    main()
