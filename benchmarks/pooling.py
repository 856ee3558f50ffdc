"""Late pooling and retrieval, on other questions than those of benchmarks/chunking.py; settings were chosen here.

    python benchmarks/pooling.py --data ../shared/data [--articles 110] [--json]

Two sets: XQuAD's articles (paragraphs put together again; an answer's characters are the gold span) and Wikipedia pages
of TimeQA (dated questions; the annotated paragraph is the gold span). Chunks are `recursive` ones, all documents of a
set lie in one index. Rows: every chunk encoded by itself; sentences pooled, without context and with contexts near and
far. Differences are paired by question against separate encoding.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.span_metrics import Line, score, within_budget
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.pooler import Pooler
from fovea.rag.remember import RememberingEncoder
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.poolers.late import LatePooler
from fovea.segmenters.poolers.separate import SeparatePooler
from fovea.segmenters.recursive import RecursiveSegmenter

Question = tuple[str, str, int, int]
"""Its text, and the document, start and end of what answers it."""
CONTEXTS = ((), (100,), (200,), (300,), (100, 400), (200, 1000))


def together(name: str, paragraphs: list[str]) -> tuple[Document, list[int]]:
    """One document of paragraphs, and where each begins."""
    starts = np.cumsum([0, *(len(p) + 2 for p in paragraphs)])[:-1].tolist()
    return Document(name, "\n\n".join(paragraphs)), starts


def xquad(folder: Path) -> Iterator[tuple[Document, list[Question]]]:
    for number, article in enumerate(json.loads((folder / "qa/xquad_en/xquad.en.json").read_text("utf-8"))["data"]):
        paragraphs = article["paragraphs"]
        document, starts = together(f"xquad {number}", [p["context"] for p in paragraphs])
        asked = [(start, q) for start, p in zip(starts, paragraphs) for q in p["qas"]]
        found = [(q["question"], start + a["answer_start"], len(a["text"])) for start, q in asked for a in q["answers"]]
        yield document, [(text, document.id, at, at + size) for text, at, size in found]


def timeqa(folder: Path, articles: int) -> Iterator[tuple[Document, list[Question]]]:
    rows = json.loads((folder / "temporal/timeqa/human_annotated_train.json").read_text("utf-8"))
    for row in list({row["link"]: row for row in rows}.values())[:articles]:
        document, starts = together(row["link"], row["paras"])
        golds = [(text, found[0]["para"]) for text, found in row["questions"] if found and found[0].get("answer")]
        yield (
            document,
            [(text, document.id, starts[p], starts[p] + len(row["paras"][p])) for text, p in golds if p < len(starts)],
        )


def measure(
    data: str, pairs: list[tuple[Document, list[Question]]], size: int, reader: RememberingEncoder
) -> Iterator[Row]:
    documents, questions = [d for d, _ in pairs], [q for _, found in pairs for q in found]
    line = Line({d.id: len(d.text) for d in documents})
    golds = [line.spans([place]) for _, *place in questions]  # type: ignore[list-item]
    chunks = [segment(d, [RecursiveSegmenter(max_tokens=size)], reader) for d in documents]
    spans = line.spans((c.document_id, c.start, c.end) for found in chunks for c in found)
    sizes = np.array([reader.tokenizer.count(c.text) for found in chunks for c in found])
    asked, reference = reader.encode([q[0] for q in questions], "query"), None
    poolers: list[Pooler] = [SeparatePooler(), *(LatePooler(context=context) for context in CONTEXTS)]
    for pooler in poolers:
        vectors = np.concatenate([pooler.vectors(d, found, reader) for d, found in zip(documents, chunks)])
        ranked = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :300]
        values = {
            f"recall@{budget} tokens": score(
                golds, [within_budget(spans[row], sizes[row], budget) for row in ranked]
            ).recall
            for budget in (400, 1000)
        }
        values["recall@5"] = score(golds, [spans[row[:5]] for row in ranked]).recall
        reference = values["recall@1000 tokens"] if reference is None else reference
        values["recall@1000 tokens - separate"] = values["recall@1000 tokens"] - reference
        settings = {"max_tokens": size, **pooler.settings()}
        name = f"{pooler.name} {list(pooler.context)}" if isinstance(pooler, LatePooler) else pooler.name
        for metric, found in values.items():
            mean, low, high = interval(found)
            yield Row("pooling", f"{data}, {size} tokens", name, metric, mean, low, high, len(found), None, settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--articles", type=int, default=110, help="pages of TimeQA")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    reader = RememberingEncoder.of(SentenceTransformerEncoder(offline=True))
    sets = {"xquad": list(xquad(args.data)), "timeqa": list(timeqa(args.data, args.articles))}
    rows = [row for name, pairs in sets.items() for size in (100, 150) for row in measure(name, pairs, size, reader)]
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
