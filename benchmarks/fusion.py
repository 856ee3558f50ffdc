"""Does fusion pay, and is the default ever worse than its best part?

    python benchmarks/fusion.py --data ../shared/data [--sets scifact xquad ...] [--json]

Every retriever fetches 50 chunks; every fuser joins the same lists. recall@5, MRR@10 and nDCG@10 by ir-measures (on the
sets with character spans recall@5 is the share of the answering characters), and, for each fuser, the paired difference
to the best single retriever of that set, with 95 % bootstrap intervals. "learnt" are convex weights learnt on one half
of the questions and tested on the other, both ways.

Which data decided what: `calibrated` got its one number (worth 5) on scifact, xquad, timeqa and three-word questions
drawn from timeqa; that its kind was taken, and not one by the statistics of each list alone, was decided by looking at
msmarco, hotpotqa and spans too; timeqa-2 and qasper were looked at only once all was settled.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from retrieval_sets import SETS, RetrievalSet, overlap

from fovea.pipelines.evaluation import ranking_metrics
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag import registry
from fovea.rag.retrieval import Fuser
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.convex import ConvexFuser
from fovea.retrievers.learn import learn_weights
from fovea.retrievers.rrf import ReciprocalRankFuser

FETCHED, KEPT = 50, 10
DECIDED = {"scifact": "number chosen on it", "xquad": "number chosen on it", "timeqa": "number chosen on it"}
FRESH = ("timeqa-2", "qasper")
FUSERS: dict[str, Fuser] = {
    "rrf": ReciprocalRankFuser(),
    "convex .5 .5": ConvexFuser(weights={"dense": 0.5, "bm25": 0.5}),
    "convex .8 .2": ConvexFuser(weights={"dense": 0.8, "bm25": 0.2}),
    "calibrated (default)": CalibratedFuser(),
}
Runs = list[dict[str, list[Hit]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with retrieval/, spans/, qa/, temporal/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--encoder", default="sentence_transformer")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = registry.find("encoder", args.encoder)()
    kept, found = Kept(encoder, args.cache), []
    for name in args.sets:
        data = SETS[name](args.data, encoder)
        found += measure(name, data, MemoryCorpus(data.documents, data.chunks, kept), args.encoder)  # type: ignore[arg-type]
        kept.save()
    print(show(found, as_json=args.json))


def measure(name: str, data: RetrievalSet, corpus: MemoryCorpus, encoder: str) -> Iterator[Row]:
    runs = retrieve(data, corpus)
    found = {part: [run[part] for run in runs] for part in runs[0]}
    began = time.perf_counter()
    for method, fuser in FUSERS.items():
        found[method] = [fuser.fuse(r, KEPT, Query(q), corpus) for q, r in zip(data.questions, runs)]
    each = (time.perf_counter() - began) / len(runs) / len(FUSERS)
    found["convex, learnt"] = learnt(runs, data.gold)
    scores = {method: score(data, lists) for method, lists in found.items()}
    role = "looked at last" if name in FRESH else DECIDED.get(name, "kind chosen with it")
    yield from rows(f"{data.name} ({role})", scores, {"encoder": encoder, "fetched": FETCHED}, each)


def retrieve(data: RetrievalSet, corpus: MemoryCorpus) -> Runs:
    parts: dict[str, Any] = {name: registry.find("retriever", name)() for name in ("dense", "bm25")}
    corpus.prepare(data.questions)
    return [{n: p.search(Query(q), FETCHED, corpus) for n, p in parts.items()} for q in data.questions]


def learnt(runs: Runs, gold: list[set[str]]) -> list[list[Hit]]:
    """Each half of the questions fused with the weights that the other half gave."""
    fused: list[list[Hit]] = [[]] * len(runs)
    for half in (0, 1):
        weights = learn_weights(runs[half::2], gold[half::2]).weights
        for i in range(1 - half, len(runs), 2):
            fused[i] = ConvexFuser(weights=weights).combine(runs[i], KEPT)
    return fused


def score(data: RetrievalSet, lists: list[list[Hit]]) -> dict[str, np.ndarray]:
    """By metric, one value a question."""
    ranked = [[hit.chunk.id for hit in hits[:KEPT]] for hits in lists]
    relevant = [dict.fromkeys(gold, 1) for gold in data.gold]
    found = ranking_metrics.scores(ranked, relevant, needed_by="benchmarks/fusion.py")
    values = {"recall@5": found["R@5"], "MRR@10": found["MRR@10"], "nDCG@10": found["nDCG@10"]}
    if data.spans is not None:
        values["recall@5"] = np.array([covered(hits[:5], wanted) for hits, wanted in zip(lists, data.spans)])
    return values


def covered(hits: list[Hit], wanted: list[Any]) -> float:
    """The share of the characters that answer which the hits hold."""
    every = {(name, at) for name, span in wanted for at in range(span.start, span.end)}
    held = {(name, at) for h in hits for name, span in wanted for at in overlap(h.chunk, name, span)}
    return len(held) / len(every)


def rows(data: str, scores: dict[str, dict[str, np.ndarray]], settings: dict, seconds: float) -> Iterator[Row]:
    best = max(("dense", "bm25"), key=lambda part: scores[part]["nDCG@10"].mean())
    for method, values in scores.items():
        for metric, each in values.items():
            mean, low, high = interval(each)
            took = seconds if method in FUSERS else None
            yield Row("fusion", data, method, metric, mean, low, high, len(each), took, settings)
    for method in [*FUSERS, "convex, learnt"]:
        for metric, each in scores[method].items():
            mean, low, high = interval(each - scores[best][metric])
            yield Row("fusion", data, f"{method} - {best}", metric, mean, low, high, len(each), None, settings)


class Kept:
    """An encoder that encodes no text twice, and in no second run either if it is given a folder."""

    def __init__(self, encoder: Any, folder: Path | None) -> None:
        self.encoder, self.dim, self.kept = encoder, encoder.dim, {}
        self.path = folder / f"{encoder.fingerprint}.npz" if folder else None
        if self.path and self.path.exists():
            with np.load(self.path) as held:
                self.kept = dict(zip(held["keys"].tolist(), held["vectors"]))

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        keys = [blake2b(f"{role}\0{text}".encode(), digest_size=12).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts) if key not in self.kept}
        if new:
            self.kept.update(zip(new, self.encoder.encode(list(new.values()), role)))
        return np.stack([self.kept[key] for key in keys])

    def save(self) -> None:
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(self.path, keys=np.array(list(self.kept)), vectors=np.stack(list(self.kept.values())))


if __name__ == "__main__":
    main()
