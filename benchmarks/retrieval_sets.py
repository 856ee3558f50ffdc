"""Retrieval data sets as documents, chunks, questions and what answers them. Read from a folder; nothing is copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from fovea.rag.encoder import Encoder
from fovea.rag.types import Chunk, Document, Span
from fovea.retrievers.collections.read import read
from fovea.segmenters.chain import segment
from fovea.segmenters.recursive import RecursiveSegmenter
from fovea.segmenters.sentence import SentenceSegmenter

TIMEQA_PAGES = 70
QMSUM_MEETINGS = 12


@dataclass
class RetrievalSet:
    """`gold` holds, for each question, the ids of the chunks that answer it; `spans` the characters, where known."""

    name: str
    documents: list[Document]
    chunks: list[Chunk]
    questions: list[str] = field(default_factory=list)
    gold: list[set[str]] = field(default_factory=list)
    spans: list[list[tuple[str, Span]]] | None = None

    def of(self, chosen: Sequence[int]) -> RetrievalSet:
        """The same with some of the questions."""
        spans = None if self.spans is None else [self.spans[i] for i in chosen]
        asked, gold = [self.questions[i] for i in chosen], [self.gold[i] for i in chosen]
        return replace(self, questions=asked, gold=gold, spans=spans)


Reader = Callable[[Path, Encoder], RetrievalSet]


def whole(name: str, texts: dict[str, str]) -> tuple[RetrievalSet, dict[str, str]]:
    """Every text as a document of one chunk, and the chunk's id by the text's name."""
    documents = [Document(key, text) for key, text in texts.items() if text.strip()]
    chunks = [d.chunk(Span(0, len(d.text))) for d in documents]
    return RetrievalSet(name, documents, chunks), {c.document_id: c.id for c in chunks}


def collection(data: Path, encoder: Encoder, *, path: str) -> RetrievalSet:
    """All questions of a collection that `fovea bench retrieval` reads too."""
    one = read(data / path)
    asked, gold = [q.query.text for q in one.questions], [set(q.relevant) for q in one.questions]
    return RetrievalSet(one.name, list(one.documents), list(one.chunks), asked, gold)


def timeqa(data: Path, encoder: Encoder, *, part: int) -> RetrievalSet:
    """TimeQA: which paragraph, of those of `TIMEQA_PAGES` pages, answers a question about a time."""
    rows = json.loads((data / "temporal/timeqa/human_annotated_train.json").read_text("utf-8"))
    pages = list({row["link"]: row for row in rows}.values())[part * TIMEQA_PAGES : (part + 1) * TIMEQA_PAGES]
    texts = {
        f"{row['link']}#{i}": text for row in pages for i, text in enumerate(row["paras"]) if len(text.split()) >= 10
    }
    found, ids = whole(f"timeqa pages {part * TIMEQA_PAGES + 1}-{(part + 1) * TIMEQA_PAGES}", texts)
    for row in pages:
        for question, answers in row["questions"]:
            places = {f"{row['link']}#{a.get('para')}" for a in answers if a.get("answer")}
            if places & ids.keys():
                found.questions.append(question)
                found.gold.append({ids[p] for p in places if p in ids})
    return found


def qasper(data: Path, encoder: Encoder) -> RetrievalSet:
    """Qasper: which evidence answers, among that of all questions and the papers' abstracts."""
    rows = json.loads((data / "qa/qasper/qasper_processed_dataset.json").read_text("utf-8"))
    texts = {text: text for row in rows for text in (row["evidence"], row["abstract"])}
    found, ids = whole("qasper evidence", texts)
    asked = {row["question"]: row for row in rows if row["evidence"] in ids}
    found.questions = list(asked)
    found.gold = [{ids[row["evidence"]]} for row in asked.values()]
    return found


def spans(
    data: Path,
    encoder: Encoder,
    *,
    tokens: int,
    corpus: str | None = None,
    path: str = "chunking_evaluation",
    cut: type[SentenceSegmenter | RecursiveSegmenter] = SentenceSegmenter,
) -> RetrievalSet:
    """The questions with character spans, over chunks of `tokens`; a chunk that touches a span answers."""
    home = data / "spans" / path
    paths = sorted((home / "corpora").glob(f"{corpus or '*'}.md"))
    documents = [Document(p.stem, p.read_text("utf-8")) for p in paths]
    segmenter = cut(max_tokens=tokens)
    chunks = [c for d in documents for c in segment(d, [segmenter], encoder)]
    name = f"spans {corpus or 'pooled'}" if path == "chunking_evaluation" else path
    found = RetrievalSet(f"{name}, {tokens} tokens", documents, chunks, spans=[])
    for row in json_lines(home / "questions.jsonl"):
        if row["corpus"] in {d.id for d in documents}:
            wanted = [(row["corpus"], Span(r["start"], r["end"])) for r in row["references"]]
            found.questions.append(row["question"])
            found.spans.append(wanted)  # type: ignore[union-attr]
            found.gold.append({c.id for c in chunks for name, s in wanted if overlap(c, name, s)})
    return found


def qmsum(data: Path, encoder: Encoder) -> RetrievalSet:
    """QMSum: which part of `QMSUM_MEETINGS` meetings, a turn a line, a question is about."""
    found = RetrievalSet(f"qmsum, {QMSUM_MEETINGS} meetings", [], [])
    for path in sorted((data / "segmentation/qmsum/val").glob("*.json"))[:QMSUM_MEETINGS]:
        meeting = json.loads(path.read_text("utf-8"))
        lines = [f"{turn['speaker']}: {turn['content']}\n" for turn in meeting["meeting_transcripts"]]
        starts = [0, *accumulate(map(len, lines))]
        document = Document(path.stem, "".join(lines))
        chunks = segment(document, [SentenceSegmenter(max_tokens=200)], encoder)
        found.documents.append(document)
        found.chunks += chunks
        for row in meeting["specific_query_list"]:
            about = [Span(starts[int(a)], starts[int(b) + 1]) for a, b in row["relevant_text_span"]]
            found.questions.append(row["query"])
            found.gold.append({c.id for c in chunks for s in about if overlap(c, path.stem, s)})
    return found


def overlap(chunk: Chunk, name: str, span: Span) -> range:
    """The characters of `span` that the chunk holds."""
    if chunk.document_id != name:
        return range(0)
    return range(max(chunk.start, span.start), min(chunk.end, span.end))


def json_lines(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


SETS: dict[str, Reader] = {
    "scifact": partial(collection, path="retrieval/scifact"),
    "xquad": partial(collection, path="qa/xquad_en"),
    "timeqa": partial(timeqa, part=0),
    "msmarco": partial(collection, path="retrieval/msmarco_sample"),
    "hotpotqa": partial(collection, path="retrieval/hotpotqa_100"),
    "spans-200": partial(spans, tokens=200),
    "spans-400": partial(spans, tokens=400),
    "spans-finance": partial(spans, tokens=200, corpus="finance"),
    "spans-wikitexts": partial(spans, tokens=200, corpus="wikitexts"),
    "spans-state": partial(spans, tokens=200, corpus="state_of_the_union"),
    "timeqa-2": partial(timeqa, part=1),
    "qasper": qasper,
    "cranfield": partial(collection, path="retrieval/cranfield"),
    "limit": partial(collection, path="retrieval/limit_small"),
    "musique": partial(collection, path="retrieval/musique_100"),
    "covid": partial(spans, tokens=100, path="covid_papers", cut=RecursiveSegmenter),
    "timeqa-3": partial(timeqa, part=2),
    "locomo": partial(collection, path="temporal/locomo3"),
    "qmsum": qmsum,
}
"""By name, in the order in which they are reported."""
