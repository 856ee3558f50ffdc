"""One question to many shards: does asking all of them and merging find what one store finds, and what does it cost.

    python benchmarks/shards.py [--rows 20000] [--shards 1 2 4 8] [--kinds flat hnsw int8] [--json]
    python benchmarks/shards.py --rows 2000000 --shards 8 --kinds hnsw       # 8 x 250,000; 10 GB and an hour

A shard is a process with its own share of the rows: `flat` and `hnsw` are embedded stores with their files, `int8` is
an index of faiss of one byte a number. A question goes to all shards at once; each sends its 10 best with their scores,
and the 10 best of all are kept. Rows are clustered random unit vectors of 384 numbers, the same ones however many
shards there are, so one shard is the store that the others are compared with. `recall@10` counts against exact search,
`same@10` against one shard of that kind. `B/row` is what lies on disk or in memory for a row,
`MB/shard` what building and asking add to the memory of a shard's process at their peak. Shards that have to share
processors wait for each other: `p50 ms` says what this machine did, `work ms` the time of all shards together, the cost
of a question.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.corpus import Rows
from fovea.rag.filters import Filter
from fovea.retrievers.stores.embedded import EmbeddedStore

DIM, CENTRES, BLOCK, K = 384, 512, 1000, 10
Found = tuple[np.ndarray, np.ndarray]
Search = Callable[[np.ndarray], Found]


def block(number: int, rows: int = BLOCK) -> np.ndarray:
    """Unit vectors `(rows, DIM)` around centres; the same for the same number."""
    rng = np.random.default_rng([7, number])
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIM))
    found = centres[rng.integers(0, CENTRES, rows)] + 0.8 * rng.standard_normal((rows, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class Share:
    """The blocks of one shard, as the library that a store follows."""

    dim, sequence = DIM, 1

    def __init__(self, blocks: range) -> None:
        self.blocks, self.count, self.uuid = blocks, len(blocks) * BLOCK, f"{blocks}"

    def added(self, since: int, batch: int = BLOCK) -> Iterator[Rows]:
        """All rows, once."""
        for number in self.blocks if since < self.sequence else ():
            yield Rows(np.arange(number * BLOCK, (number + 1) * BLOCK), block(number), [{}] * BLOCK)

    def removed(self, since: int) -> np.ndarray:
        """None."""
        return np.zeros(0, np.int64)

    def matching(self, where: Filter) -> np.ndarray:
        """Not asked here."""
        raise NotImplementedError


def embedded(kind: Any, share: Share, path: Path) -> tuple[Search, float]:
    index = EmbeddedStore(path=path, index=kind).open(share)
    index.sync()

    def search(vector: np.ndarray) -> Found:
        found = index.search(vector, K)
        return np.array([no for no, _ in found]), np.array([score for _, score in found])

    return search, float(sum(f.stat().st_size for f in path.rglob("*") if f.is_file()))


def compressed(share: Share) -> tuple[Search, float]:
    import faiss

    index = faiss.index_factory(DIM, "SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(np.concatenate([block(number) for number in share.blocks[:10]]))
    for rows in share.added(0):
        index.add(rows.vectors)
    first = share.blocks[0] * BLOCK

    def search(vector: np.ndarray) -> Found:
        scores, places = index.search(vector[None], K)
        return places[0] + first, scores[0]

    return search, float(index.ntotal * index.code_size)


def shard(pipe: Connection, kind: str, blocks: range, path: Path) -> None:
    """A process: says what it holds, then answers questions until it is told None."""
    began, before = time.perf_counter(), peak_mb()
    share = Share(blocks)
    search, size = embedded(kind, share, path) if kind in ("flat", "hnsw") else compressed(share)
    seconds = time.perf_counter() - began
    search(block(0)[0])
    pipe.send((seconds, size, peak_mb() - before))
    while (vector := pipe.recv()) is not None:
        began = time.process_time()
        nos, scores = search(vector)
        pipe.send((nos, scores, time.process_time() - began))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def ask(pipes: list[Connection], vector: np.ndarray) -> tuple[np.ndarray, float]:
    """The 10 best of all shards, best first, and the processor time that these took."""
    for pipe in pipes:
        pipe.send(vector)
    answers = [pipe.recv() for pipe in pipes]
    nos, scores = (np.concatenate([answer[part] for answer in answers]) for part in (0, 1))
    return nos[np.lexsort((nos, -scores))[:K]], sum(answer[2] for answer in answers)


def nearest(rows: int, asked: np.ndarray) -> list[set[int]]:
    """By comparing with every row, a block at a time."""
    best = [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(asked)
    for number in range(rows // BLOCK):
        for i, scores in enumerate(asked @ block(number).T):
            nos = np.concatenate([best[i][0], np.arange(number * BLOCK, (number + 1) * BLOCK)])
            both = np.concatenate([best[i][1], scores])
            top = np.argsort(-both, kind="stable")[:K]
            best[i] = nos[top], both[top]
    return [set(nos.tolist()) for nos, _ in best]


def measure(args: argparse.Namespace) -> Iterator[Row]:
    asked = block(1 << 20, args.queries)
    right = nearest(args.rows, asked)
    for kind in args.kinds:
        alone: list[set[int]] | None = None
        for n in args.shards:
            with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
                facts, found, took, work = asked_of(kind, n, args, asked, Path(folder), stack)
            alone = found if n == 1 else alone
            values = {
                "recall@10": overlap(found, right),
                "same@10": overlap(found, alone) if alone else None,
                "p50 ms": float(np.median(took)),
                "p95 ms": float(np.quantile(took, 0.95)),
                "work ms": float(np.median(work)),
                "build s": max(seconds for seconds, _, _ in facts),
                "B/row": sum(size for _, size, _ in facts) / args.rows,
                "MB/shard": max(peak for _, _, peak in facts),
            }
            settings = {"rows": args.rows, "shards": n, "dim": DIM}
            for metric, value in values.items():
                data, method = f"{args.rows:,} rows", f"{kind}, {n} shard{'s' * (n > 1)}"
                yield Row("shards", data, method, metric, value, n=len(asked), settings=settings)


def asked_of(
    kind: str, n: int, args: argparse.Namespace, asked: np.ndarray, folder: Path, stack: ExitStack
) -> tuple[list[tuple[float, float, float]], list[set[int]], np.ndarray, np.ndarray]:
    """What the shards say of themselves, what they found, and milliseconds: waited for, and worked."""
    start, pipes = multiprocessing.get_context("fork"), []  # Each process anew would load the packages anew.
    blocks = np.array_split(np.arange(args.rows // BLOCK), n)
    facts = []
    for i, part in enumerate(blocks):
        ours, theirs = start.Pipe()
        share = range(int(part[0]), int(part[-1]) + 1)
        process = start.Process(target=shard, args=(theirs, kind, share, folder / str(i)), daemon=True)
        process.start()
        pipes.append(ours)
        stack.callback(process.join)
        facts.append(ours.recv())  # One is built after the other: they share this machine.
    found, took, work = [], [], []
    for vector in asked:
        began = time.perf_counter()
        nos, seconds = ask(pipes, vector)
        took.append(1000 * (time.perf_counter() - began))
        work.append(1000 * seconds)
        found.append(set(nos.tolist()))
    for pipe in pipes:
        pipe.send(None)
    return facts, found, np.array(took), np.array(work)


def overlap(found: list[set[int]], right: list[set[int]]) -> float:
    return sum(len(f & r) for f, r in zip(found, right)) / sum(map(len, right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="in all; a multiple of 1,000")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--kinds", nargs="+", choices=["flat", "hnsw", "int8"], default=["flat", "hnsw"])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.rows % BLOCK or args.rows // BLOCK < max(args.shards):
        parser.error(f"--rows has to be a multiple of {BLOCK:,}, and at least that many a shard")
    print(show(list(measure(args)), as_json=args.json))


if __name__ == "__main__":
    main()
