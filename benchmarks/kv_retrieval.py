"""Do a model's own queries, over the cached keys of all passages, find what answers as BM25 and an encoder do?

    python benchmarks/kv_retrieval.py --data ../shared/data [--model smollm2] [--questions 150] [--keys FOLDER] [--json]

The passages of `attention_rerank.py`, of each set its reported half of documents alone: `recursive` cuts of 100 tokens.
`kv` reads each once, with the heads that its probe found (on other texts), and nothing is chosen here. With `--keys`
what was read stays in a folder, and a run that was stopped goes on.

R@k: one of the first k passages holds an answer, or half of it. "+" is fusion: `calibrated`, the default, or by rank,
`rrf`, each with its defaults. Differences are paired by question; intervals are 95 % bootstrap. CPU seconds are of one
thread, of one question, passages read before; "CPU seconds to read a passage" is what comes before, once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attention_rerank import SETS, Library, Scores, at, rank
from attention_rerank_data import Asked, Set, read

from fovea.pipelines.answering.read_once import Memory
from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.retrievers.kv import KVRetriever
from fovea.rag import registry
from fovea.rag.encoder import Encoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.retrieval import Fuser, Retriever
from fovea.rag.types import Hit, Query

DEPTH = 50
"""Hits of each list that are fused."""
FUSED = (("bm25", "dense"), ("bm25", "kv"), ("dense", "kv"), ("bm25", "dense", "kv"))
FUSERS = ("calibrated", "rrf")
AGAINST = (
    ("kv", "bm25"),
    ("kv", "dense"),
    *((f"{some}, {how}", f"bm25 + dense, {how}") for how in FUSERS for some in ("bm25 + kv", "bm25 + dense + kv")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/xquad_en and spans/covid_papers")
    parser.add_argument("--model", default="smollm2", help="a name of `fovea models`, or a folder")
    parser.add_argument("--questions", type=int, default=150, help="of each set")
    parser.add_argument("--documents", type=int, default=0, help="of each set, the first ones; 0 for all")
    parser.add_argument("--keys", type=Path, help="folder to keep the model's keys in")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    behind: Encoder = registry.find("encoder", "sentence_transformer")()  # type: ignore[assignment]
    encoder = RememberingEncoder.of(behind, FileMemory(args.cache, behind) if args.cache else Kept())
    memory = Memory(path=args.keys, limit=64 * 10**9) if args.keys else Memory()
    found: list[dict[str, Scores]] = []
    rows: list[Row] = []
    for name in SETS:
        library = Library(reported(read(args.data, name), args.documents), encoder)
        found.append(measured(library, KVRetriever(model=args.model, memory=memory), args.questions))
        rows += list(told(name, args.model, found[-1], sum(1 for _ in library.passages.chunks())))
    both = {way: {m: np.concatenate([one[way][m] for one in found]) for m in each} for way, each in found[0].items()}
    print(show([*rows, *told("both", args.model, both)], as_json=args.json))


def reported(whole: Set, documents: int) -> Set:
    """The half of a set on which nothing was chosen, or its first documents."""
    asked = [one for one in whole.asked if one.part == "reported"]
    names = {one.document for one in asked}
    kept = [d for d in whole.documents if d.id in names][: documents or None]
    return Set(whole.name, kept, [one for one in asked if one.document in {d.id for d in kept}])


def measured(library: Library, kv: KVRetriever, questions: int) -> dict[str, Scores]:
    """By way to search, each metric's value a question."""
    corpus = library.passages
    ways: dict[str, Retriever] = {
        "bm25": registry.find("retriever", "bm25")(),  # type: ignore[dict-item]
        "dense": registry.find("retriever", "dense")(),  # type: ignore[dict-item]
        "kv": kv,
    }
    fusers: dict[str, Fuser] = {how: registry.find("fuser", how)() for how in FUSERS}  # type: ignore[misc]
    began = time.process_time()
    kv.read(corpus)
    reading = (time.process_time() - began) / sum(1 for _ in corpus.chunks())
    values: dict[str, dict[str, list[float]]] = {}

    def note(way: str, hits: list[Hit], good: Callable[[Hit], bool]) -> None:
        place = rank([good(hit) for hit in hits])
        for k in (1, 3, 10):
            values.setdefault(way, {}).setdefault(f"R@{k}", []).append(at(place, k))

    for asked in library.set.some("reported", questions):
        lists: dict[str, list[Hit]] = {}
        query = Query(asked.text)

        def good(hit: Hit, asked: Asked = asked) -> bool:
            return asked.answered_by(hit.chunk.document_id, hit.chunk.start, hit.chunk.end)

        for name, way in ways.items():
            began = time.process_time()
            lists[name] = way.search(query, DEPTH, corpus)
            values.setdefault(name, {}).setdefault("CPU seconds", []).append(time.process_time() - began)
            note(name, lists[name], good)
        for some in FUSED:
            for how, fuser in fusers.items():
                found = fuser.fuse({name: lists[name] for name in some}, DEPTH, query, corpus)
                note(f"{' + '.join(some)}, {how}", found, good)
    values["kv"]["CPU seconds to read a passage"] = [reading]
    return {way: {metric: np.array(each) for metric, each in all_.items()} for way, all_ in values.items()}


def told(data: str, model: str, found: dict[str, Scores], passages: int = 0) -> Iterator[Row]:
    settings: dict[str, Any] = {"model": model, **({"passages": passages} if passages else {})}
    for way, scores in found.items():
        for metric, each in scores.items():
            mean, low, high = interval(each, shares="@" in metric)
            yield Row("kv_retrieval", data, way, metric, mean, low, high, len(each), settings=settings)
    for way, other in AGAINST:
        for metric in ("R@1", "R@3", "R@10"):
            mean, low, high = interval(found[way][metric] - found[other][metric])
            n = len(found[way][metric])
            yield Row("kv_retrieval", data, f"{way} - {other}", metric, mean, low, high, n, settings=settings)


if __name__ == "__main__":
    main()
