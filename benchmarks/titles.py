"""What title and headings are worth to the default hybrid, and what a title alone is worth.

    python benchmarks/titles.py --data ../shared/data --cache FOLDER [--json]

    papers    `spans/covid_papers`, chunks of 100 tokens: a paper has a title, and headings that no one marked
    abstracts Qasper: abstract and evidence of a paper under its title
    pages     TimeQA's pages, of the development part and of the test part: title and headings
    pages, titles alone: the same with their headings unmarked

Vectors, BM25 and the default fuser, 50 candidates each; nothing said, and `situate: headings`. Differences are paired
by question, with 95 % bootstrap intervals. Questions of papers and abstracts are halved by hash: that fusion counts the
words of situations, and that a title alone is said, was decided on "choose" and on TimeQA's development part.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from retrieval_sets import RetrievalSet, spans

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import scores
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.remember import RememberingEncoder
from fovea.rag.situator import Situator
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Document, Query, Span
from fovea.retrievers.collections.read import read
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.segmenters.recursive import RecursiveSegmenter

KEPT, MEASURES = 10, ("nDCG@10", "R@5", "MRR@10")
ROWS: dict[str, Situator | None] = {"nothing": None, "headings": HeadingSituator()}


def papers(data: Path, reader: RememberingEncoder) -> RetrievalSet:
    found = spans(data, reader, tokens=100, path="covid_papers", cut=RecursiveSegmenter)
    return replace(found, documents=[replace(d, title=d.text.lstrip().split("\n", 1)[0]) for d in found.documents])


def abstracts(data: Path) -> RetrievalSet:
    rows = json.loads((data / "qa/qasper/qasper_processed_dataset.json").read_text("utf-8"))
    by_title: dict[str, list[str]] = {}
    for row in rows:
        texts = by_title.setdefault(row["title"], [row["abstract"]])
        texts += [row["evidence"]] if row["evidence"] not in texts else []
    asked = [(row["question"], row["title"], row["evidence"]) for row in rows if row["evidence"].strip()]
    return titled("qasper", by_title, list(dict.fromkeys(asked)))


def titled(name: str, by_title: dict[str, list[str]], asked: Sequence[tuple[str, str, str]]) -> RetrievalSet:
    """Documents of texts under a title, each text a chunk; a question by its words, and the text that answers it."""
    documents, ids = [], {}
    for title, texts in by_title.items():
        documents.append(document := Document(title, "\n\n".join(texts), title=title))
        at = 0
        for text in texts:
            ids[title, text] = document.chunk(Span(at, at + len(text)))
            at += len(text) + 2
    gold = [{ids[title, text].id} for _, title, text in asked]
    return RetrievalSet(name, documents, list(ids.values()), [question for question, *_ in asked], gold)


def pages(data: Path, split: str, marked: bool) -> RetrievalSet:
    part = read(data / "temporal/timeqa/human_annotated_train.json").part(split)  # type: ignore[arg-type]
    documents = part.documents if marked else [replace(d, media_type="text/plain") for d in part.documents]
    name = f"timeqa {split}{'' if marked else ', titles alone'}"
    asked, gold = [q.query.text for q in part.questions], [set(q.relevant) for q in part.questions]
    return RetrievalSet(name, list(documents), list(part.chunks), asked, gold)


def sets(data: Path, reader: RememberingEncoder) -> Iterator[tuple[str, RetrievalSet]]:
    for one in (papers(data, reader), abstracts(data)):
        first = [int(sha256(question.encode()).hexdigest(), 16) % 2 == 0 for question in one.questions]
        for use, wanted in (("choose", True), ("report", False)):
            yield use, one.of([i for i, is_first in enumerate(first) if is_first == wanted and one.gold[i]])
    for split, use in (("dev", "choose"), ("test", "report")):
        yield from ((use, pages(data, split, marked)) for marked in (True, False))


def measured(one: RetrievalSet, situator: Situator | None, reader: RememberingEncoder) -> dict[str, np.ndarray]:
    """By metric, one value a question."""
    spec, made, said = PipelineSpec(), [], []
    for document in one.documents:
        chunks = [c for c in one.chunks if c.document_id == document.id]
        own = reader.encode([c.text for c in chunks]) if chunks else np.zeros((0, reader.dim), np.float32)
        made.append(situator.vectors(document, chunks, own, reader) if situator else own)
        said += situator.texts(document, chunks) if situator and situator.lexical else [""] * len(chunks)
    corpus = MemoryCorpus(one.documents, one.chunks, reader, vectors=np.concatenate(made), situations=said)
    corpus.prepare(one.questions)
    ranked = []
    for question in map(Query, one.questions):
        lists = {r.name: r.search(question, spec.candidates, corpus) for r in spec.retrieve}
        ranked.append([hit.chunk.id for hit in spec.fuser.fuse(lists, KEPT, question, corpus)])
    found = scores(ranked, [dict.fromkeys(gold, 1) for gold in one.gold], needed_by="benchmarks/titles.py")
    return {metric: np.asarray(found[metric]) for metric in MEASURES}


def rows(one: RetrievalSet, use: str, reader: RememberingEncoder) -> Iterator[Row]:
    values = {name: measured(one, situator, reader) for name, situator in ROWS.items()}
    for name, found in values.items():
        for metric, each in found.items():
            yield Row("titles", f"{one.name} ({use})", name, metric, *interval(each), len(each))
            if name != "nothing":
                moved = interval(each - values["nothing"][metric])
                yield Row("titles", f"{one.name} ({use})", name, f"{metric} - nothing", *moved, len(each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = SentenceTransformerEncoder(offline=True)
    reader = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder))
    print(show([row for use, one in sets(args.data, reader) for row in rows(one, use, reader)], as_json=args.json))


if __name__ == "__main__":
    main()
