"""What a query costs at 100,000 chunks, and how much of it is the framework.

    python benchmarks/query.py [--chunks 100000] [--queries 300] [--index flat] [--json]

The library is filled with real chunk texts (the example library, repeated with numbers so that no two are equal) and
clustered unit vectors of the encoder's size; searching does not care what a vector means. Reported, in milliseconds of
wall time: `retrieve` as a whole, the store's own search inside it, the encoder, and the rest, which is the framework;
where both search, with `calibrated` fusion and with `adaptive`, the default, which reads chunks.
Also: `fovea --help` and `fovea ask` on a warm store, process start included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library.library import Library, SourceRow, vector_key

LIBRARY = Path(__file__).resolve().parents[1] / "examples" / "library"
FUSED = ("calibrated", "adaptive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--index", default="auto", help="index of the embedded store")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [*retrieve_rows(args), *start_rows()]
    print(show(rows, as_json=args.json))


def sentences() -> list[str]:
    text = "\n".join(
        p.read_text("utf-8", "replace") for p in sorted(LIBRARY.rglob("*.txt")) + sorted(LIBRARY.rglob("*.md"))
    )
    return [" ".join(line.split()) for line in text.split("\n\n") if len(line.split()) > 20]


def fill(pipeline: Pipeline, chunks: int, texts: list[str]) -> None:
    encoder, rng = pipeline.spec.encoder, np.random.default_rng(0)
    centres = rng.standard_normal((512, encoder.dim)).astype(np.float32)
    with Library.open(pipeline.spec.store.path, encoder=encoder) as library:
        for at in range(0, chunks, 2000):
            document, cut = numbered(at, min(2000, chunks - at), texts)
            vectors = centres[rng.integers(0, 512, len(cut))] + rng.standard_normal((len(cut), encoder.dim)) * 0.8
            vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
            library.add_vectors([vector_key(c.text, encoder.fingerprint) for c in cut], vectors)
            library.replace(SourceRow(document.source, digest=str(at), recipe="bench"), [(document, cut)])
        index = pipeline.spec.store.open(library)
        index.sync()
        index.close()


def numbered(at: int, n: int, texts: list[str]) -> tuple[Document, list[Chunk]]:
    lines = [f"{i}. {texts[i % len(texts)]}" for i in range(at, at + n)]
    document, start, cut = Document(f"part{at}", "\n".join(lines), source=f"part{at}"), 0, []
    for line in lines:
        cut.append(Chunk(document.id, start, start + len(line), line, document.source))
        start += len(line) + 1
    return document, cut


def retrieve_rows(args: argparse.Namespace) -> Iterator[Row]:
    texts = sentences()
    questions = [" ".join(texts[(i * 37) % len(texts)].split()[3:11]) + f" {i}" for i in range(args.queries)]
    settings = {"chunks": args.chunks, "index": args.index}
    with tempfile.TemporaryDirectory() as folder:
        for names, fuse in ((["dense"], ""), (["bm25"], ""), *((["dense", "bm25"], fuse) for fuse in FUSED)):
            stages = {"store": {"use": "embedded", "index": args.index}, "retrieve": names}
            stages |= {"fuse": fuse} if fuse else {}
            with Pipeline(base=folder, **stages) as pipeline:
                if names == ["dense"]:
                    fill(pipeline, args.chunks, texts)
                pipeline.retrieve("warm up")
                times = np.array([timed(pipeline, q) for q in questions]) * 1000
                what = ("retrieve", "encode", "search", "framework")
                for name, column in zip(what, times.T):
                    yield from quantiles(f"{'+'.join(names)}{fuse and f', {fuse}'}: {name}", column, settings)


def quantiles(method: str, milliseconds: np.ndarray, settings: dict) -> Iterator[Row]:
    data = f"{settings['chunks']:,} chunks, index {settings['index']}"
    for metric, share in (("p50 ms", 0.5), ("p95 ms", 0.95)):
        value = float(np.quantile(milliseconds, share))
        yield Row("query", data, method, metric, value, n=len(milliseconds), settings=settings)


def timed(pipeline: Pipeline, question: str) -> tuple[float, float, float, float]:
    """Seconds of: the whole, the encoder, the store's searches, the rest."""
    corpus, spent = pipeline.corpus, {"encode": 0.0, "search": 0.0}

    class Timed:
        def __init__(self, inner: object, stage: str, names: tuple[str, ...]) -> None:
            self.inner, self.stage, self.names = inner, stage, names

        def __getattr__(self, name: str) -> object:
            found = getattr(self.inner, name)
            return clocked(found, self.stage) if name in self.names else found

    def clocked(function, stage):  # type: ignore[no-untyped-def]
        def run(*args, **kwargs):  # type: ignore[no-untyped-def]
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[stage] += time.perf_counter() - began

        return run

    saved = corpus.encoder, corpus.index, corpus.library
    corpus.encoder = Timed(saved[0], "encode", ("encode",))
    corpus.index = Timed(saved[1], "search", ("search",))
    corpus.library = Timed(saved[2], "search", ("match",))
    try:
        began = time.perf_counter()
        pipeline.retrieve(question)
        whole = time.perf_counter() - began
    finally:
        corpus.encoder, corpus.index, corpus.library = saved
    return whole, spent["encode"], spent["search"], whole - spent["encode"] - spent["search"]


def start_rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "p.yaml").write_text("name: bench\n")
        command = [sys.executable, "-m", "fovea.pipelines.cli.main"]
        subprocess.run(
            [*command, "ingest", "p.yaml", str(LIBRARY), "--quiet"], cwd=here, check=False, capture_output=True
        )
        for name, args in (
            ("fovea --help", ["--help"]),
            ("fovea ask, warm store", ["ask", "p.yaml", "How many writers does SQLite allow at the same time?"]),
        ):
            seconds = []
            for _ in range(5):
                began = time.perf_counter()
                subprocess.run([*command, *args], cwd=here, check=True, capture_output=True)
                seconds.append(time.perf_counter() - began)
            yield Row("query", "process start included", name, "median s", float(np.median(seconds)), n=5)
            yield Row("query", "process start included", name, "best s", min(seconds), n=5)


if __name__ == "__main__":
    main()
