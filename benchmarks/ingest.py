"""How fast documents come in, beside a LangChain pipeline with the same model and chunk size in the same run.

    python benchmarks/ingest.py [--data FOLDER] [--megabytes 1] [--rounds 3] [--json]

Both read the same text files, cut them to at most 200 tokens of all-MiniLM-L6-v2, encode every chunk and put it into a
store that can be searched: Fovea's embedded store (durable) and LangChain's recursive splitter, its Hugging Face style
embeddings over sentence-transformers with its defaults, and its in-memory vector store (which writes nothing to disk).
Rounds alternate; the median is reported. Model loading is outside the clock for both.
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
    ours, theirs = [], []
    langchain = langchain_ingest()
    for i in range(args.rounds):
        ours.append(fovea_ingest(files, folder / f"round{i}", args.backend))
        if langchain is not None:
            theirs.append(langchain(files))
    data = f"{sum(f.stat().st_size for f in files.iterdir()) / 1e6:.2f} MB in {len(list(files.iterdir()))} files"
    settings = {"model": MODEL, "max_tokens": TOKENS, "backend": args.backend}

    def row(method: str, metric: str, value: float | None) -> Row:
        return Row("ingest", data, method, metric, value, n=args.rounds, settings=settings)

    yield row("fovea", "chunks/s", median(c / s for c, s, _ in ours))
    yield row("fovea", "MB/s", median(float(data.split()[0]) / s for _, s, _ in ours))
    yield row("fovea", "chunks", ours[0][0])
    yield row("fovea", "share of time in the encoder", median(e / s for _, s, e in ours))
    yield row("langchain", "chunks/s", median(c / s for c, s in theirs) if theirs else None)
    if theirs:
        yield row("langchain", "MB/s", median(float(data.split()[0]) / s for _, s in theirs))
        yield row("langchain", "chunks", theirs[0][0])
        ratios = [t / o for (_, o, _), (_, t) in zip(ours, theirs)]
        yield row("fovea, times langchain's speed on the same text", "MB/s", median(ratios))
    yield row("peak memory of this process", "MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def fovea_ingest(files: Path, base: Path, backend: str) -> tuple[int, float, float]:
    """Chunks, seconds, and seconds inside the encoder."""
    base.mkdir()
    encoder = {"use": "sentence_transformer", "model": MODEL, "backend": backend}
    with Pipeline(base=base, encoder=encoder, segment={"use": "recursive", "max_tokens": TOKENS}) as pipeline:
        pipeline.spec.encoder.encode(["warm up"])
        began = time.perf_counter()
        report = pipeline.ingest(files)
        seconds = time.perf_counter() - began
    shutil.rmtree(base)
    return report.chunks, seconds, next(s.seconds for s in report.trace.stages if s.name == "encode")


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

    def run(files: Path) -> tuple[int, float]:
        began = time.perf_counter()
        documents = [Document(p.read_text("utf-8"), metadata={"source": str(p)}) for p in sorted(files.iterdir())]
        chunks = splitter.split_documents(documents)
        InMemoryVectorStore(Encoder()).add_documents(chunks)
        return len(chunks), time.perf_counter() - began

    return run


if __name__ == "__main__":
    main()
