"""How fast documents come in, beside a LangChain pipeline with the same model and chunk size in the same run.

    python benchmarks/ingest.py [--data FOLDER] [--megabytes 1] [--rounds 3] [--workers N] [--static FOLDER] [--json]

Both read the same text files, cut them to at most 200 tokens of all-MiniLM-L6-v2, encode every chunk and put it into a
store that can be searched: Fovea's embedded store (durable) and LangChain's recursive splitter, its Hugging Face style
embeddings over sentence-transformers with its defaults, and its in-memory vector store (which writes nothing to disk).
Rounds alternate; the median is reported. Model loading is outside the clock for both, but for `--workers`: so many
processes start and load within it. `--static` is a table that `fovea train encoder static` made of the same model.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.models import locate

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LIBRARY = Path(__file__).resolve().parents[1] / "examples" / "library"
TOKENS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=LIBRARY, help="a folder of .txt and .md files")
    parser.add_argument("--megabytes", type=float, default=0.3, help="how much text to take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="auto", help="what runs our encoder")
    parser.add_argument("--workers", default="", help="also with so many processes, or ray:N")
    parser.add_argument("--static", type=Path, help="also with a table of token vectors in the place of the model")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = collect(args.data, Path(folder) / "docs", int(args.megabytes * 1e6))
        print(show(measure(files, Path(folder), args), as_json=args.json))


def collect(data: Path, target: Path, most: int) -> Path:
    """Copy text files until `most` bytes, so that both sides read the same folder."""
    target.mkdir()
    taken = 0
    for path in sorted([*data.rglob("*.txt"), *data.rglob("*.md")]):
        text = path.read_text("utf-8", "replace")[: most - taken]
        taken += len(text.encode())
        (target / f"{len(list(target.iterdir())):04}{path.suffix}").write_text(text, "utf-8")
        if taken >= most:
            break
    return target


def measure(files: Path, folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    encoder = {"use": "sentence_transformer", "model": MODEL, "backend": args.backend}
    ours: dict[str, tuple[dict[str, object], int | str]] = {"fovea": (encoder, 1)}
    if args.workers:
        ours[f"fovea, workers {args.workers}"] = encoder, args.workers
    if args.static:
        ours["fovea, static"] = {"use": "static", "model": str(args.static.resolve())}, 1
    taken: dict[str, list[Taken]] = {}
    theirs = langchain_ingest()
    for i in range(args.rounds):
        for number, (name, (settings, workers)) in enumerate(ours.items()):
            taken.setdefault(name, []).append(fovea_ingest(files, folder / f"round{i}.{number}", settings, workers))
        if theirs is not None:
            taken.setdefault("langchain", []).append(theirs(files))
    size = sum(f.stat().st_size for f in files.iterdir()) / 1e6
    data = f"{size:.2f} MB in {len(list(files.iterdir()))} files"
    plain = {"model": MODEL, "max_tokens": TOKENS, "backend": args.backend}

    def row(method: str, metric: str, value: float | None) -> Row:
        return Row("ingest", data, method, metric, value, n=args.rounds, settings=plain)

    for name, rounds in taken.items():
        yield row(name, "chunks", rounds[0].chunks)
        yield row(name, "chunks/s", median(each.chunks / each.seconds for each in rounds))
        yield row(name, "MB/s", median(size / each.seconds for each in rounds))
        if name in ours:
            yield row(name, "share of time in the encoder", median(each.encoding / each.seconds for each in rounds))
    for name in ours if "langchain" in taken else ():
        ratios = [peer.seconds / own.seconds for own, peer in zip(taken[name], taken["langchain"])]
        yield row(f"{name}, times langchain's speed on the same text", "MB/s", median(ratios))
    yield row("peak memory of this process", "MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


class Taken(NamedTuple):
    """What one way of ingesting took."""

    chunks: int
    seconds: float
    encoding: float = 0.0
    """Seconds inside the encoder, where that is known."""


def fovea_ingest(files: Path, base: Path, encoder: dict[str, object], workers: int | str) -> Taken:
    base.mkdir()
    segment = {"use": "recursive", "max_tokens": TOKENS}
    with Pipeline(base=base, encoder=encoder, segment=segment) as pipeline:
        pipeline.spec.encoder.encode(["warm up"])
        began = time.perf_counter()
        report = pipeline.ingest(files, workers=workers)
        seconds = time.perf_counter() - began
    shutil.rmtree(base)
    return Taken(report.chunks, seconds, next(s.seconds for s in report.trace.stages if s.name == "encode"))


def langchain_ingest():  # type: ignore[no-untyped-def]
    try:
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings
        from langchain_core.vectorstores import InMemoryVectorStore
        from langchain_text_splitters import RecursiveCharacterTextSplitter
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    model = SentenceTransformer(str(locate(MODEL).path), device="cpu")

    class Encoder(Embeddings):
        """What langchain-huggingface does: sentence-transformers with its defaults."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return model.encode(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return model.encode(text).tolist()

    splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
        model.tokenizer, chunk_size=TOKENS, chunk_overlap=0
    )
    model.encode(["warm up"])

    def run(files: Path) -> Taken:
        began = time.perf_counter()
        documents = [Document(p.read_text("utf-8"), metadata={"source": str(p)}) for p in sorted(files.iterdir())]
        chunks = splitter.split_documents(documents)
        InMemoryVectorStore(Encoder()).add_documents(chunks)
        return Taken(len(chunks), time.perf_counter() - began)

    return run


if __name__ == "__main__":
    main()
