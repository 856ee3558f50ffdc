"""What situating a chunk is worth: every form of it, for its vector, for its words, and for both together.

    python benchmarks/situate.py --data ../shared/data [--split test] [--cache FOLDER] [--json]

Wikipedia pages of TimeQA as Markdown; chunks are paragraphs, a question's gold chunk is the annotated paragraph, all
pages of the part lie in one index. Ten chunks are judged by ir-measures. Differences are paired by question, with 95 %
bootstrap intervals: vectors against the chunk's own, words against the chunk's own, hybrids against the unsituated one.
`alikeness` is the mean cosine of the chunks of a document. Nothing here is trained; no setting was chosen on these
questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import scores
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.situator import Situator, alikeness
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Chunk, Document, Query
from fovea.rag.windows import scaled
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.read import read
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.retrievers.situators.late import LateSituator
from fovea.segmenters.poolers.late import LatePooler

FETCHED, KEPT = 50, 10
FORMS: dict[str, Situator] = {
    "prefix: title and headings": HeadingSituator(form="prefix"),
    "residual .5: + prefixed": HeadingSituator(form="residual"),
    "residual 1: + prefixed": HeadingSituator(form="residual", weight=1.0),
    "add .5: + title and headings": HeadingSituator(),
    "add 1: + title and headings": HeadingSituator(weight=1.0),
}
JOINED = {
    "residual .5: + late": LateSituator(form="residual"),
    "residual 1: + late": LateSituator(form="residual", weight=1.0),
}
HYBRIDS = {"dense": "chunk only", "add .5": "add .5: + title and headings", "late": "late chunking"}


@dataclass
class Pages:
    """A collection by its documents, with the vectors of chunks alone and of questions."""

    collection: Collection
    parts: list[tuple[Document, list[Chunk]]]
    reader: RememberingEncoder
    own: list[np.ndarray]
    asked: np.ndarray

    @classmethod
    def of(cls, collection: Collection, reader: RememberingEncoder) -> Pages:
        chunks: dict[str, list[Chunk]] = {}
        for chunk in collection.chunks:
            chunks.setdefault(chunk.document_id, []).append(chunk)
        parts = [(d, chunks[d.id]) for d in collection.documents if d.id in chunks]
        own = [reader.encode([c.text for c in found]) for _, found in parts]
        return cls(collection, parts, reader, own, reader.encode([q.query.text for q in collection.questions], "query"))

    @property
    def chunks(self) -> list[Chunk]:
        return [chunk for _, found in self.parts for chunk in found]

    def situated(self, situator: Situator) -> list[np.ndarray]:
        return [situator.vectors(d, c, own, self.reader) for (d, c), own in zip(self.parts, self.own)]

    def said(self, situator: Situator) -> list[str]:
        return [text for d, c in self.parts for text in situator.texts(d, c)]


def vectors(pages: Pages) -> Iterator[tuple[str, list[np.ndarray]]]:
    yield "chunk only", pages.own
    for name, situator in FORMS.items():
        yield name, pages.situated(situator)
    late = pages.situated(LateSituator())
    yield "late chunking", late
    for name, situator in JOINED.items():  # The states are those of the row before.
        yield name, [situator.joined(own, made) for own, made in zip(pages.own, late)]
    means = [scaled(own.mean(axis=0, keepdims=True)) for own in pages.own]
    yield "+ .5 mean of the document", [scaled(own + 0.5 * mean) for own, mean in zip(pages.own, means)]
    pooled = [LatePooler().vectors(d, c, pages.reader) for d, c in pages.parts]
    yield "pool: late (sentences and around)", pooled
    both = (HeadingSituator().vectors(d, c, v, pages.reader) for (d, c), v in zip(pages.parts, pooled))
    yield "pool: late, add .5", list(both)


def nearest(pages: Pages, made: list[np.ndarray]) -> list[list[str]]:
    ids = np.array([chunk.id for chunk in pages.chunks])
    return [
        list(ids[row]) for row in np.argsort(-(pages.asked @ np.concatenate(made).T), axis=1, kind="stable")[:, :KEPT]
    ]


def lexical(pages: Pages, situations: list[str] | None, made: list[np.ndarray]) -> tuple[list, list]:
    """The ids that BM25 finds, and those of it and the vectors joined by the default fuser."""
    documents = [d for d, _ in pages.parts]
    corpus = MemoryCorpus(documents, pages.chunks, pages.reader, vectors=np.concatenate(made), situations=situations)
    corpus.prepare([q.query.text for q in pages.collection.questions])
    alone, joined = [], []
    for question in pages.collection.questions:
        query = Query(question.query.text)
        lists = {r.name: r.search(query, FETCHED, corpus) for r in (DenseRetriever(), BM25Retriever())}
        alone.append([hit.chunk.id for hit in lists["bm25"][:KEPT]])
        joined.append([hit.chunk.id for hit in PipelineSpec().fuser.fuse(lists, KEPT, query, corpus)])
    return alone, joined


def measure(pages: Pages, data: str) -> Iterator[Row]:
    ranked: dict[str, list[list[str]]] = {}
    made: dict[str, list[np.ndarray]] = {}
    found, began = iter(vectors(pages)), time.perf_counter()
    for name, rows in found:
        took, made[name], ranked[name] = time.perf_counter() - began, rows, nearest(pages, rows)
        yield Row("situate", data, name, "alikeness", float(np.mean([alikeness(v) for v in rows])), seconds=took)
        began = time.perf_counter()
    said = pages.said(HeadingSituator())
    for words, situations in (("", None), (" situated", said)):
        for name, vector in HYBRIDS.items():
            ranked[f"bm25{words}"], ranked[f"bm25{words} + {name}"] = lexical(pages, situations, made[vector])
    yield from compared(pages.collection, ranked, data)


def compared(collection: Collection, ranked: dict[str, list[list[str]]], data: str) -> Iterator[Row]:
    relevant = [q.relevant for q in collection.questions]
    found = {name: scores(lists, relevant, needed_by="benchmarks/situate.py") for name, lists in ranked.items()}
    for name, values in found.items():
        for metric, each in values.items():
            yield Row("situate", data, name, metric, *interval(each), n=len(each))
    for name, values in found.items():
        base = "bm25 + dense" if " + " in name and "bm25" in name else "bm25" if "bm25" in name else "chunk only"
        for metric, each in values.items():
            if name != base:
                row = interval(each - found[base][metric])
                yield Row("situate", f"{data}, difference", f"{name} - {base}", metric, *row, n=len(each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with temporal/timeqa")
    parser.add_argument("--split", choices=("train", "dev", "test"), default="test")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = SentenceTransformerEncoder(offline=True)
    reader = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder) if args.cache else Kept())
    collection = read(args.data / "temporal/timeqa/human_annotated_train.json").part(args.split)
    pages = Pages.of(collection, reader)
    name = f"timeqa {args.split}: {len(pages.parts)} pages, {len(collection.chunks)} paragraphs"
    print(show(measure(pages, name), as_json=args.json))


if __name__ == "__main__":
    main()
