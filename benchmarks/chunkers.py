"""The splitters that benchmarks/chunking.py compares, ours and peers', and an encoder that keeps what it encoded."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.bench.segmentation_peers import chonkie_embeddings
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.spec.presets import PRESETS
from fovea.rag import registry
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import FoveaError
from fovea.rag.pooler import Pooler
from fovea.rag.remember import RememberingEncoder
from fovea.rag.segmenter import Segmenter
from fovea.rag.types import Document, Span
from fovea.segmenters.chain import segment
from fovea.segmenters.embedding_breakpoint import EmbeddingBreakpointSegmenter
from fovea.segmenters.fixed import FixedSegmenter
from fovea.segmenters.locate import locate
from fovea.segmenters.poolers.late import LatePooler
from fovea.segmenters.recursive import RecursiveSegmenter
from fovea.segmenters.sentence import SentenceSegmenter

REFERENCE = "langchain recursive 200"
SIZES = (75, 100, 150, 200)
Made = tuple[list[Span], "np.ndarray | None"]
"""Where the chunks of a document lie, and their vectors where they were made with them."""
Split = Callable[[Document], Made]
Spans = Callable[[Document], list[Span]]
TOPICAL = (
    "texttiling",
    "c99",
    "cluster",
    "hnet_rule",
    "hnet_sentence",
    "hnet_bytes",
    "sage",
    "topical_change",
    "pointer",
)
"""Segmenters that look for where topics end; each row with separate vectors, and with those of its own reading."""


class CachedEncoder:
    """An encoder whose vectors are kept in a file, with the CPU seconds each took when it was first encoded."""

    def __init__(self, encoder: SentenceTransformerEncoder, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder, self.dim, self.window, self.tokenizer = encoder, encoder.dim, encoder.window, encoder.tokenizer
        self.space, self.fingerprint, self.name = encoder.space, encoder.fingerprint, encoder.name
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


def methods(encoder: CachedEncoder) -> Iterator[tuple[str, dict[str, Any], Callable[[], Split] | None]]:
    """Name, settings, and what makes a new splitter; None for one that is not installed."""
    late = LatePooler()
    for size in SIZES:
        for cls in (RecursiveSegmenter, FixedSegmenter):
            yield ours(f"{cls.name} {size}", [cls(max_tokens=size)], None, encoder)
        yield ours(f"recursive {size} + late", [RecursiveSegmenter(max_tokens=size)], late, encoder)
    for cls in (SentenceSegmenter, EmbeddingBreakpointSegmenter):
        yield ours(f"{cls.name} 200", [cls(max_tokens=200)], None, encoder)
    for name in TOPICAL:
        made = registry.find("segmenter", name)(max_tokens=200)
        yield ours(f"{name} 200", [made], None, encoder)
        yield ours(f"{name} 200 + late", [made], late, encoder)
    for name in PRESETS:
        spec = PipelineSpec(preset=name)
        yield ours(f"preset {name}", spec.segment, spec.pool, encoder)
    for name, settings, module, make in peers(encoder):
        try:
            import_module(module)
        except ImportError:
            yield name, settings, None
        else:
            yield name, settings, lambda make=make: without_vectors(make())


def ours(name: str, chain: Sequence[Segmenter], pooler: Pooler | None, encoder: CachedEncoder) -> Any:
    """A row of ours; with a pooler, what it shares with the segmenters is encoded once."""

    def make() -> Split:
        def split(document: Document) -> Made:
            reader: Any = RememberingEncoder.of(encoder)  # type: ignore[arg-type]
            chunks = segment(document, chain, reader)
            vectors = None if pooler is None or pooler.by_text else pooler.vectors(document, chunks, reader)
            return [Span(c.start, c.end) for c in chunks], vectors

        return split

    settings = {"segment": [s.settings() for s in chain], "pool": pooler.settings() if pooler else "separate"}
    return name, settings, make


def without_vectors(split: Spans) -> Split:
    return lambda document: (split(document), None)


def peers(
    encoder: CachedEncoder,
) -> Iterator[tuple[str, dict[str, Any], str, Callable[[], Spans]]]:
    marks = ["\n\n", "\n", ".", "?", "!", " ", ""]
    size = {"chunk_size": 200, "chunk_overlap": 0}
    splitters, experimental = "langchain_text_splitters", "langchain_experimental"
    for tokens in SIZES:
        settings = {"chunk_size": tokens, "chunk_overlap": 0, "separators": marks}
        yield (
            f"langchain recursive {tokens}", settings, splitters,
            lambda t=tokens: langchain(encoder, t, separators=marks),
        )  # fmt: skip
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


def langchain(encoder: CachedEncoder, size: int, **settings: Any) -> Spans:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=0, length_function=encoder.tokenizer.count, **settings
    )
    return lambda document: placed(document, splitter.split_text(document.text))


def langchain_semantic(encoder: CachedEncoder) -> Spans:
    from langchain_core.embeddings import Embeddings
    from langchain_experimental.text_splitter import SemanticChunker

    class Ours(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encoder.encode(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return encoder.encode([text], "query")[0].tolist()

    splitter = SemanticChunker(Ours())
    return lambda document: placed(document, splitter.split_text(document.text))


def chonkie(name: str, encoder: CachedEncoder) -> Spans:
    chunker = getattr(import_module("chonkie"), name)(tokenizer=encoder.tokenizer.count, chunk_size=200)
    return lambda document: placed(document, [c.text for c in chunker.chunk(document.text)])


def chonkie_semantic(encoder: CachedEncoder) -> Spans:
    from chonkie import SemanticChunker

    chunker = SemanticChunker(embedding_model=chonkie_embeddings(encoder), chunk_size=200)
    return lambda document: placed(document, [c.text for c in chunker.chunk(document.text)])


def semchunk(encoder: CachedEncoder) -> Spans:
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
