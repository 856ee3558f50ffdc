"""What a way of cutting does to retrieval: ours beside LangChain's, chonkie's and semchunk's, in the same run.

    python benchmarks/chunking.py --data ../shared/data/spans/chunking_evaluation [--quick] [--json] [--cache FOLDER]

The data is a folder with `corpora/NAME.md` and `questions.jsonl` of {question, corpus, references: [{start, end}]}.
All chunks of all corpora lie in one index, are encoded by all-MiniLM-L6-v2 and ranked by exact inner product. Recall,
precision and IoU count characters of the five best chunks against the gold spans (`pipelines/span_metrics.py`); recall
at N tokens fills a context of N tokens with the best chunks and cuts the last one off, so that no method gains by
longer chunks. Differences are paired by question against LangChain's recursive splitter of 200 tokens.

Sizes are tokens of the encoder's tokenizer for every row, and every splitter counts with it. Peers' chunks are placed
where they truly lie: by exact text, or where a splitter rewrites white space, by the characters that are none. Ours run
with their defaults. No number was fitted to these questions, but one rule of `recursive` (a long line that ends with a
sentence is a paragraph) was added after a first run on the two smaller corpora, so its row there is not blind.

CPU seconds are of cutting alone, by new objects, the median of three where nothing is encoded; encoding that a splitter
does itself is in them as it was measured when it was first done, since vectors are kept in the cache folder.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pipelines.measurements import Row, interval, show
from pipelines.span_metrics import Line, Spans, precision_omega, score, within_budget
from rag.encoders.sentence_transformer import SentenceTransformerEncoder
from rag.errors import FoveaError
from rag.types import Document, Span
from segmenters.chain import segment
from segmenters.embedding_breakpoint import EmbeddingBreakpointSegmenter
from segmenters.fixed import FixedSegmenter
from segmenters.locate import locate
from segmenters.recursive import RecursiveSegmenter
from segmenters.sentence import SentenceSegmenter

K, BUDGETS, DEPTH = 5, (400, 1000, 2000), 1000
REFERENCE = "langchain recursive 200"
Split = Callable[[Document], list[Span]]


class CachedEncoder:
    """An encoder whose vectors are kept in a file, with the CPU seconds each took when it was first encoded."""

    def __init__(self, encoder: SentenceTransformerEncoder, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder, self.dim, self.window, self.tokenizer = encoder, encoder.dim, encoder.window, encoder.tokenizer
        self.db = sqlite3.connect(folder / "vectors.db")
        self.db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, seconds REAL)")
        self.tokens, self.seconds, self.outside = 0, 0.0, 0.0

    def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
        began = time.process_time()
        keys = [blake2b(f"{self.encoder.fingerprint}\0{role}\0{t}".encode(), digest_size=16).digest() for t in texts]
        missing = sorted({k: t for k, t in zip(keys, texts) if not self._get(k)}.items(), key=lambda kt: len(kt[1]))
        for at in range(0, len(missing), 64):
            self._add(missing[at : at + 64], role)
        rows = [self._get(k) for k in keys]
        self.tokens += sum(self.tokenizer.count_many(list(texts)))
        self.seconds += sum(r[1] for r in rows)
        self.outside += time.process_time() - began
        return np.stack([np.frombuffer(r[0], np.float32) for r in rows])

    def _get(self, key: bytes) -> Any:
        return self.db.execute("SELECT vector, seconds FROM vectors WHERE key = ?", (key,)).fetchone()

    def _add(self, batch: list[tuple[bytes, str]], role: str) -> None:
        keys, texts = zip(*batch)
        began = time.process_time()
        vectors = self.encoder.encode(texts, role)
        share = (time.process_time() - began) / len(texts)
        rows = [(k, v.tobytes(), share) for k, v in zip(keys, vectors)]
        with self.db:
            self.db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

    def reset(self) -> None:
        self.tokens, self.seconds, self.outside = 0, 0.0, 0.0


@dataclass(frozen=True)
class Data:
    """Documents, questions and their gold spans on one line of characters."""

    name: str
    documents: list[Document]
    questions: list[str]
    golds: list[Spans]
    line: Line


def read(folder: Path, quick: bool) -> Data:
    """The data folder; `quick` leaves out its largest corpus."""
    paths = sorted((folder / "corpora").glob("*.md"), key=lambda p: p.stat().st_size)[: -1 if quick else None]
    documents = [Document(p.stem, p.read_bytes().decode(), p.name, media_type="text/markdown") for p in paths]
    line = Line({d.id: len(d.text) for d in documents})
    texts = {d.id: d.text for d in documents}
    questions, golds = [], []
    for row in map(json.loads, (folder / "questions.jsonl").read_text("utf-8").splitlines()):
        if row["corpus"] not in texts:
            continue
        for gold in row["references"]:
            assert texts[row["corpus"]][gold["start"] : gold["end"]] == gold["text"], "a gold span is not its text"
        questions.append(row["question"])
        golds.append(line.spans((row["corpus"], g["start"], g["end"]) for g in row["references"]))
    return Data(f"{folder.name}{' without its largest corpus' if quick else ''}", documents, questions, golds, line)


def methods(encoder: CachedEncoder) -> Iterator[tuple[str, dict[str, Any], Callable[[], Split] | None]]:
    """Name, settings, and what makes a new splitter; None for one that is not installed."""
    for size in (200, 400):
        for cls in (RecursiveSegmenter, SentenceSegmenter, FixedSegmenter, EmbeddingBreakpointSegmenter):
            yield f"{cls.name} {size}", {"max_tokens": size}, lambda c=cls, s=size: ours(c(max_tokens=s), encoder)
    yield "recursive window", {"max_tokens": encoder.window}, lambda: ours(RecursiveSegmenter(), encoder)
    for name, settings, module, make in peers(encoder):
        try:
            import_module(module)
        except ImportError:
            yield name, settings, None
        else:
            yield name, settings, make


def peers(encoder: CachedEncoder) -> Iterator[tuple[str, dict[str, Any], str, Callable[[], Split]]]:
    marks = ["\n\n", "\n", ".", "?", "!", " ", ""]
    size = {"chunk_size": 200, "chunk_overlap": 0}
    splitters, experimental = "langchain_text_splitters", "langchain_experimental"
    yield REFERENCE, {**size, "separators": marks}, splitters, lambda: langchain(encoder, 200, separators=marks)
    yield "langchain recursive 200, default separators", size, splitters, lambda: langchain(encoder, 200)
    yield (
        "langchain recursive 400", {"chunk_size": 400, "separators": marks}, splitters,
        lambda: langchain(encoder, 400, separators=marks),
    )  # fmt: skip
    yield "langchain semantic", {"percentile": 95}, experimental, lambda: langchain_semantic(encoder)
    yield "chonkie recursive 200", {"chunk_size": 200}, "chonkie", lambda: chonkie("RecursiveChunker", encoder)
    yield "chonkie sentence 200", {"chunk_size": 200}, "chonkie", lambda: chonkie("SentenceChunker", encoder)
    yield "chonkie semantic 200", {"chunk_size": 200, "threshold": 0.8}, "chonkie", lambda: chonkie_semantic(encoder)
    yield "semchunk 200", {"chunk_size": 200}, "semchunk", lambda: semchunk(encoder)


def ours(segmenter: Any, encoder: CachedEncoder) -> Split:
    return lambda document: [Span(c.start, c.end) for c in segment(document, [segmenter], encoder)]  # type: ignore[arg-type]


def langchain(encoder: CachedEncoder, size: int, **settings: Any) -> Split:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=0, length_function=encoder.tokenizer.count, **settings
    )
    return lambda document: placed(document, splitter.split_text(document.text))


def langchain_semantic(encoder: CachedEncoder) -> Split:
    from langchain_core.embeddings import Embeddings
    from langchain_experimental.text_splitter import SemanticChunker

    class Ours(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encoder.encode(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return encoder.encode([text], "query")[0].tolist()

    splitter = SemanticChunker(Ours())
    return lambda document: placed(document, splitter.split_text(document.text))


def chonkie(name: str, encoder: CachedEncoder) -> Split:
    chunker = getattr(import_module("chonkie"), name)(tokenizer=encoder.tokenizer.count, chunk_size=200)
    return lambda document: placed(document, [c.text for c in chunker.chunk(document.text)])


def chonkie_semantic(encoder: CachedEncoder) -> Split:
    from chonkie import SemanticChunker
    from chonkie.embeddings import BaseEmbeddings

    class Ours(BaseEmbeddings):
        def embed(self, text: str) -> np.ndarray:
            return encoder.encode([text])[0]

        def embed_batch(self, texts: list[str]) -> list[np.ndarray]:
            return list(encoder.encode(texts)) if texts else []

        @property
        def dimension(self) -> int:
            return encoder.dim

        def get_tokenizer(self) -> Any:
            return encoder.tokenizer.count

    chunker = SemanticChunker(embedding_model=Ours(), chunk_size=200)
    return lambda document: placed(document, [c.text for c in chunker.chunk(document.text)])


def semchunk(encoder: CachedEncoder) -> Split:
    # A counter of its own: semchunk remembers counts by counter, and cutting is measured cold.
    chunker = import_module("semchunk").chunkerify(lambda text: encoder.tokenizer.count(text), 200)
    return lambda document: placed(document, chunker(document.text))


def placed(document: Document, pieces: list[str]) -> list[Span]:
    """Where a peer's pieces lie: exactly, or by the characters that are no white space if it rewrote that."""
    try:
        return locate(document.text, pieces)
    except FoveaError:
        solid = [at for at, char in enumerate(document.text) if not char.isspace()]
        bare = ["".join(piece.split()) for piece in pieces]
        if "".join(bare) != "".join(document.text.split()):
            raise
        ends = list(accumulate(map(len, bare)))
        return [Span(solid[e - len(b)], solid[e - 1] + 1) for b, e in zip(bare, ends) if b]


@dataclass(frozen=True)
class Cutting:
    """What a splitter made, and what that took."""

    spans: list[tuple[Document, Span]]
    seconds: float
    tokens: int


def cut(make: Callable[[], Split], data: Data, encoder: CachedEncoder) -> Cutting:
    times = []
    while len(times) < 3:
        split = make()
        encoder.reset()
        began = time.process_time()
        found = [(d, span) for d in data.documents for span in split(d)]
        times.append(time.process_time() - began - encoder.outside + encoder.seconds)
        if encoder.tokens:
            break
    return Cutting(found, median(times), encoder.tokens)


def measure(name: str, cutting: Cutting, data: Data, encoder: CachedEncoder) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics by name, as numbers or arrays of one a question; and the recall at 1,000 tokens."""
    texts = [d.text[s.start : s.end] for d, s in cutting.spans]
    chunks = data.line.spans((d.id, s.start, s.end) for d, s in cutting.spans)
    sizes = np.array(encoder.tokenizer.count_many(texts))
    scores = encoder.encode(data.questions, "query") @ encoder.encode(texts).T
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    best = score(data.golds, [chunks[row[:K]] for row in ranked])
    filled = {
        budget: score(data.golds, [within_budget(chunks[row], sizes[row], budget) for row in ranked]).recall
        for budget in BUDGETS
    }
    whole = sum(encoder.tokenizer.count_many([d.text for d in data.documents]))
    found = {
        f"recall@{K}": best.recall, f"precision@{K}": best.precision, f"IoU@{K}": best.iou,
        "precision omega": precision_omega(data.golds, chunks),
        **{f"recall@{budget} tokens": values for budget, values in filled.items()},
        "chunks": len(texts), "mean tokens": sizes.mean(), "p95 tokens": np.percentile(sizes, 95),
        "max tokens": sizes.max(), "tokens encoded per token": (sizes.sum() + cutting.tokens) / whole,
        "CPU s": cutting.seconds,
    }  # fmt: skip
    return found, filled[1000]


def rows(data: Data, encoder: CachedEncoder) -> Iterator[Row]:
    measured: dict[str, tuple[dict[str, Any], dict[str, Any], np.ndarray]] = {}
    missing = []
    for name, settings, make in methods(encoder):
        if make is None:
            missing.append(name)
        else:
            measured[name] = settings, *measure(name, cut(make, data, encoder), data, encoder)
    reference = measured[REFERENCE][2] if REFERENCE in measured else None
    for name, (settings, found, at_1000) in sorted(measured.items(), key=lambda item: -item[1][2].mean()):
        if reference is not None:
            found = {**found, "recall@1000 tokens - reference": at_1000 - reference}
        for metric, value in found.items():
            yield row(data, name, settings, metric, value, found["CPU s"])
    for name in missing:
        yield Row("chunking", data.name, name, f"recall@{K}", None)


def row(data: Data, name: str, settings: dict[str, Any], metric: str, value: Any, seconds: float) -> Row:
    low = high = None
    if isinstance(value, np.ndarray):
        value, low, high = interval(value)
    return Row("chunking", data.name, name, metric, float(value), low, high, len(data.questions), seconds, settings)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="without the largest corpus")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fovea-chunking")
    args = parser.parse_args(None if arguments is None else list(arguments))
    encoder = CachedEncoder(SentenceTransformerEncoder(offline=True), args.cache)
    encoder.tokenizer.count("warm up")
    print(show(rows(read(args.data, args.quick), encoder), as_json=args.json))


if __name__ == "__main__":
    main()
