"""What the library and the vector stores cost: writing, searching, filtering, and how much an index finds.

    python benchmarks/stores.py [--chunks 100000] [--data FOLDER] [--chroma] [--json]

Chunks are passages of the texts under `--data`, with numbers before them, so that no two are equal; vectors are
clustered random unit vectors of MiniLM's length, since searching does not care what a vector means. `recall@10` is the
share of the ten nearest rows, found by brute force, that a search returns. `faiss.knn` over the same matrix is the peer
of exact search, Chroma's graph that of the approximate one. Lexical search beside its peers: `benchmarks/lexical.py`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.rag.corpus import VectorStore
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.filters import parse
from fovea.rag.types import Document, Span
from fovea.retrievers.library.library import Library, SourceRow, vector_key
from fovea.retrievers.stores import graph
from fovea.retrievers.stores.chroma import ChromaStore
from fovea.retrievers.stores.embedded import EmbeddedStore

DATA = Path(__file__).resolve().parents[1] / "examples" / "library"
DIM, CENTRES, GROUP, LENGTH = 384, 512, 500, 800
FILTERS = {
    "1 in 25 kept": parse("year == 2003"),
    "1 in 3 kept": parse("lang == 'en'"),
    "24 in 25 kept": parse("year != 2003"),
}


@dataclass
class Bench:
    """Where rows of results are made."""

    chunks: int
    data: str

    def row(self, method: str, metric: str, value: float, n: int | None = None) -> Row:
        settings = {"chunks": self.chunks, "data": self.data}
        return Row("stores", f"{self.chunks:,} chunks", method, metric, value, n=n, settings=settings)

    def times(self, method: str, action: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Row]:
        found = 1000 * np.array([timed(partial(action, one)) for one in arguments])
        yield self.row(method, "p50 ms", float(np.median(found)), len(found))
        yield self.row(method, "p95 ms", float(np.quantile(found, 0.95)), len(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with .txt and .md files")
    parser.add_argument("--chroma", action="store_true", help="also Chroma, which takes minutes to fill")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.chunks, args.data.name)
    with tempfile.TemporaryDirectory() as folder:
        print(show(list(measure(bench, Path(folder), args)), as_json=args.json))


def measure(bench: Bench, path: Path, args: argparse.Namespace) -> Iterator[Row]:
    encoder, texts = HashEncoder(size=DIM), passages(args.data)
    with Library.open(path, encoder=encoder) as library:
        for method, seconds in fill(library, encoder, texts, bench.chunks).items():
            yield bench.row(method, "rows/s", bench.chunks / seconds)
        yield bench.row("library", "MB on disk", sum(f.stat().st_size for f in path.iterdir()) / 1e6)
        yield from match_rows(bench, library, texts, args.queries)
        vectors, asked = np.concatenate([rows.vectors for rows in library.added(0)]), queries(args.queries)
        if graph.available():
            faiss = graph.faiss("the benchmark")
            search = partial(faiss.knn, xb=vectors, k=10, metric=faiss.METRIC_INNER_PRODUCT)
            yield from bench.times("peer: faiss.knn", search, [q[None] for q in asked])
        right = [set(np.argsort(-(vectors @ q), kind="stable")[:10] + 1) for q in asked]
        for name, store in stores(path, chroma=args.chroma).items():
            yield from store_rows(bench, name, store, library, asked, right)


def match_rows(bench: Bench, library: Library, texts: list[str], n: int) -> Iterator[Row]:
    draw = np.random.default_rng(2)
    questions = [" ".join(texts[i].split()[20:29]) for i in draw.integers(0, len(texts), n)]
    match = partial(library.match, k=10)
    yield from bench.times("library: match", match, questions)
    for name, where in FILTERS.items():
        yield from bench.times(f"library: match, {name}", partial(match, where=where), questions[:50])


def stores(path: Path, *, chroma: bool) -> dict[str, VectorStore]:
    found: dict[str, VectorStore] = {"embedded: flat": EmbeddedStore(path=path, index="flat")}
    if graph.available():
        found["embedded: hnsw"] = EmbeddedStore(path=path, index="hnsw")
        found["embedded: ivf"] = EmbeddedStore(path=path, index="ivf")
    return {**found, "chroma": ChromaStore(path=path)} if chroma else found


def store_rows(
    bench: Bench, name: str, store: VectorStore, library: Library, asked: np.ndarray, right: list[set[int]]
) -> Iterator[Row]:
    index = store.open(library)
    yield bench.row(name, "build s", timed(index.sync))
    yield bench.row(name, "open s", timed(lambda: store.open(library, read_only=True).search(asked[0], 1)))
    found = [{no for no, _ in index.search(q, 10)} for q in asked]
    hits = sum(len(f & r) for f, r in zip(found, right))
    yield bench.row(name, "recall@10", hits / (10 * len(asked)), len(asked))
    yield from bench.times(name, partial(index.search, k=10), list(asked))
    for share, where in FILTERS.items():
        index.search(asked[0], 1, where)  # The library remembers what a filter keeps until it changes.
        yield from bench.times(f"{name}, {share}", partial(index.search, k=10, where=where), list(asked[:50]))
    index.close()


def fill(library: Library, encoder: HashEncoder, texts: list[str], chunks: int) -> dict[str, float]:
    """Write documents of 500 chunks each; returns seconds by step."""
    rng, centres = np.random.default_rng(0), np.random.default_rng(0).standard_normal((CENTRES, DIM))
    seconds = {"library: add_vectors": 0.0, "library: replace": 0.0}
    for at in range(0, chunks, GROUP):
        document, cut = numbered(at, [texts[i * 7919 % len(texts)] for i in range(at, min(chunks, at + GROUP))])
        keys = [vector_key(c.text, encoder.fingerprint) for c in cut]
        vectors = around(centres, len(cut), rng)
        seconds["library: add_vectors"] += timed(partial(library.add_vectors, keys, vectors))
        seconds["library: replace"] += timed(partial(library.replace, SourceRow(document.source), [(document, cut)]))
    return seconds


def numbered(at: int, texts: list[str]) -> tuple[Document, list[Any]]:
    lines = [f"{at + i}. {text}\n" for i, text in enumerate(texts)]
    ends = np.cumsum([len(line) for line in lines]).tolist()
    metadata = {"year": 2000 + at // GROUP % 25, "lang": "de" if at // GROUP % 3 else "en"}
    document = Document(f"part{at}", "".join(lines), source=f"part{at}", metadata=metadata)
    return document, [document.chunk(Span(end - len(line), end)) for end, line in zip(ends, lines)]


def passages(folder: Path) -> list[str]:
    """The texts of a folder in pieces of 800 characters."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".txt", ".md"))
    whole = " ".join(" ".join(p.read_text("utf-8", "replace").split()) for p in files)
    return [whole[i : i + LENGTH] for i in range(0, len(whole) - LENGTH, LENGTH)]


def queries(n: int) -> np.ndarray:
    """Unit vectors around the same centres as the rows."""
    return around(np.random.default_rng(0).standard_normal((CENTRES, DIM)), n, np.random.default_rng(1))


def around(centres: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    found = centres[rng.integers(0, CENTRES, n)] + 0.8 * rng.standard_normal((n, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def timed(action: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
