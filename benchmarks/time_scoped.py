"""What a sense of time is worth: questions that name a time, and the same ones without it, asked as of a moment within.

    python benchmarks/time_scoped.py --data ../shared/data [--split test] [--cache FOLDER] [--json]

Wikipedia pages of TimeQA; chunks are paragraphs, all pages of the part lie in one index. "situated": half the vector of
title and headings is added to a chunk's (situator `headings`), and its words are found by BM25 too. Every list has 50
hits, the first ten are judged by ir-measures; differences are paired by question, with 95 % bootstrap intervals.

`dated`    all questions of the part, nearly all of which name a time
shuffled   control: each question is held against the time of another one
decay      control: the newer, the better, whatever was asked
`drifting` questions that name a time, without it (`fovea.retrievers.time.undated`), asked as of moments drawn evenly
           from it, three each: dense; with T of the moment of asking (`time_scope`, as_of); and the event-aware
           retriever with the events of the corpus. Intervals are over questions, each the mean of its moments.
           "meaning alone" is `event_aware` with `lexical: 0`, without BM25
timeless   questions of XQuAD that name no time, asked as of 2021 over paragraphs full of dates: time must do no harm

The event head is trained on the train parts and stopped by the dev parts (`retrievers/weights/event_aware.md`). XQuAD's
train part was given to it after a head trained without it had lost 0.080 MRR on the timeless questions of the test
part; nothing else was chosen with figures of a test part in sight.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import scores
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.collections.read import read
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.event_aware import EventAwareRetriever
from fovea.retrievers.reranker import Reranker
from fovea.retrievers.scales import deviation
from fovea.retrievers.situators.headings import HeadingSituator
from fovea.retrievers.time.days import moment
from fovea.retrievers.time.fit import closed, fit, recency
from fovea.retrievers.time.parser import SPOKEN, time_parser
from fovea.retrievers.time.passages import passage_times
from fovea.retrievers.time.undated import undated
from fovea.retrievers.time_scope import TimeScopeRefiner

FETCHED, KEPT, MOMENTS = 50, 10, 3
MEASURES = ("R@1", "R@5", "MRR@10")
HALF_LIFE = 1826.0
LAST = datetime(2021, 1, 1)
"""The moment of asking where the question says none: after all that the passages tell of."""
Search = Callable[[Query, MemoryCorpus], list[Hit]]
Methods = dict[str, tuple[str, Search, tuple[str, ...]]]
"""By name: which corpus, how to search it, and what it is compared with."""


def corpora(part: Collection, reader: RememberingEncoder) -> dict[str, MemoryCorpus]:
    """The index of chunks alone, and that of chunks with their place."""
    plain, situator = reader.encode([c.text for c in part.chunks]), HeadingSituator()
    chunks: dict[str, list[Chunk]] = {}
    rows: dict[str, list[int]] = {}
    for row, chunk in enumerate(part.chunks):
        chunks.setdefault(chunk.document_id, []).append(chunk)
        rows.setdefault(chunk.document_id, []).append(row)
    made, said = plain.copy(), [""] * len(part.chunks)
    for document in part.documents:
        if there := rows.get(document.id):
            made[there] = situator.vectors(document, chunks[document.id], plain[there], reader)
            for row, text in zip(there, situator.texts(document, chunks[document.id])):
                said[row] = text
    return {
        "plain": MemoryCorpus(part.documents, part.chunks, reader, vectors=plain),
        "situated": MemoryCorpus(part.documents, part.chunks, reader, vectors=made, situations=said),
    }


def prepare(both: dict[str, MemoryCorpus], questions: Sequence[Judged]) -> None:
    for corpus in both.values():
        corpus.prepare(list(dict.fromkeys(q.query.text for q in questions)))


def dense(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    return DenseRetriever().search(query, FETCHED, corpus)


EVENTS = EventAwareRetriever(corpus_events=True)
MEANING = EventAwareRetriever(corpus_events=True, lexical=0)
SCOPE, AS_OF, READER = TimeScopeRefiner(), TimeScopeRefiner(as_of=True), Reranker()


def aware(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    return EVENTS.search(query, FETCHED, corpus)


def meaning(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    return MEANING.search(query, FETCHED, corpus)


def without_events(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    return EventAwareRetriever().search(query, FETCHED, corpus)


def hybrid(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    lists = {"dense": dense(query, corpus), "bm25": BM25Retriever().search(query, FETCHED, corpus)}
    return PipelineSpec().fuser.fuse(lists, FETCHED, query, corpus)


def scoped(search: Search, refiner: TimeScopeRefiner = SCOPE) -> Search:
    return lambda query, corpus: refiner.refine(query, search(query, corpus), corpus)


def read_again(search: Search) -> Search:
    return lambda query, corpus: READER.refine(query, search(query, corpus), corpus)


def raised(search: Search, gain: Callable[[Query, Hit], float], weight: float = 3.0) -> Search:
    """The hits of a search with other gains than those of `time_scope`, in the same unit."""

    def found(query: Query, corpus: MemoryCorpus) -> list[Hit]:
        hits = search(query, corpus)
        unit = weight * deviation(hits, corpus)
        return sorted((Hit(h.chunk, h.score + unit * gain(query, h)) for h in hits), key=lambda hit: -hit.score)

    return found


def shuffled(questions: Sequence[Judged]) -> Callable[[Query, Hit], float]:
    """T of another question's time: the questions' times, in an order that has nothing to do with them."""
    asked = [time_parser(SPOKEN).read(q.query.text, q.query.as_of).intervals for q in questions]
    other = np.random.default_rng(0).permutation(len(asked))
    by_text = {q.query.text: asked[other[i]] for i, q in enumerate(questions)}
    times = passage_times(SPOKEN)
    return lambda query, hit: fit(by_text[query.text], times.of(hit.chunk).stated) if by_text[query.text] else 0.0


def decay(query: Query, hit: Hit) -> float:
    return recency(passage_times(SPOKEN).of(hit.chunk).newest, moment(LAST), HALF_LIFE)


def dated(part: Collection) -> Methods:
    mixed = shuffled(part.questions)
    return {
        "dense": ("plain", dense, ()),
        "dense + T": ("plain", scoped(dense), ("dense",)),
        "event_aware": ("plain", aware, ("dense + T",)),
        "event_aware, meaning alone": ("plain", meaning, ("dense + T",)),
        "dense, situated": ("situated", dense, ("dense",)),
        "dense, situated + T": ("situated", scoped(dense), ("dense, situated",)),
        "event_aware, situated": ("situated", aware, ("hybrid, situated + T",)),
        "event_aware, meaning alone, situated": ("situated", meaning, ("dense, situated + T",)),
        "hybrid, situated": ("situated", hybrid, ("dense, situated",)),
        "hybrid, situated + T": ("situated", scoped(hybrid), ("hybrid, situated",)),
        "hybrid, situated + shuffled T": ("situated", raised(hybrid, mixed), ("hybrid, situated",)),
        "hybrid, situated + decay": ("situated", raised(hybrid, decay), ("hybrid, situated",)),
        "event_aware, situated + T": ("situated", scoped(aware), ("event_aware, situated",)),
        "hybrid, situated, reranker": ("situated", read_again(hybrid), ("hybrid, situated",)),
        "hybrid, situated, reranker, + T": ("situated", scoped(read_again(hybrid)), ("hybrid, situated + T",)),
        "hybrid, situated + T, reranker": ("situated", read_again(scoped(hybrid)), ("hybrid, situated + T",)),
    }


DRIFTING: Methods = {
    "dense": ("situated", dense, ()),
    "dense + T without date": ("situated", scoped(dense), ("dense",)),
    "dense + T of as_of": ("situated", scoped(dense, AS_OF), ("dense",)),
    "hybrid": ("situated", hybrid, ("dense",)),
    "hybrid + T of as_of": ("situated", scoped(hybrid, AS_OF), ("dense + T of as_of",)),
    "event_aware without events": ("situated", without_events, ("dense + T of as_of",)),
    "event_aware": ("situated", aware, ("hybrid", "hybrid + T of as_of")),
    "event_aware, meaning alone": ("situated", meaning, ("dense + T of as_of",)),
}
TIMELESS: Methods = {
    "dense": ("situated", dense, ()),
    "dense + T of as_of": ("situated", scoped(dense, AS_OF), ("dense",)),
    "hybrid": ("situated", hybrid, ("dense",)),
    "event_aware without events": ("situated", without_events, ("hybrid",)),
    "event_aware": ("situated", aware, ("hybrid",)),
    "event_aware, meaning alone": ("situated", meaning, ("dense",)),
}


def drifting(questions: Sequence[Judged]) -> list[Judged]:
    """`MOMENTS` questions of each that names a time, one after another: without it, and as of a moment within it."""
    draw, found = np.random.default_rng(0), []
    for question in questions:
        if intervals := time_parser(SPOKEN).read(question.query.text, question.query.as_of).intervals:
            first, last = closed(intervals[-1])
            bare = undated(question.query.text) or question.query.text
            for at in draw.uniform(first, last + 1, MOMENTS):
                query = Query(bare, as_of=datetime.fromordinal(max(1, int(at))))
                found.append(replace(question, query=query))
    return found


def timeless(questions: Sequence[Judged]) -> list[Judged]:
    """Questions that name no time and do not ask for the newest, asked as of `LAST`."""
    bare = [q for q in questions if time_parser(SPOKEN).read(q.query.text, LAST) == ((), False)]
    return [replace(q, query=Query(q.query.text, as_of=LAST)) for q in bare]


def measure(
    questions: Sequence[Judged], methods: Methods, both: dict[str, MemoryCorpus], data: str, times: int = 1
) -> Iterator[Row]:
    """The methods' rows, and those of the paired differences; `times` questions in a row are one."""
    relevant, found = [q.relevant for q in questions], {}
    for name, (where, search, _) in methods.items():
        ranked = [[hit.chunk.id for hit in search(q.query, both[where])[:KEPT]] for q in questions]
        values = scores(ranked, relevant, needed_by="benchmarks/time_scoped.py")
        found[name] = {metric: values[metric].reshape(-1, times).mean(axis=1) for metric in MEASURES}
        for metric, each in found[name].items():
            yield Row("time", data, name, metric, *interval(each), n=len(each))
    pairs = [(name, base) for name, (_, _, bases) in methods.items() for base in bases]
    for name, base in pairs:
        for metric in MEASURES:
            row = interval(found[name][metric] - found[base][metric])
            yield Row("time", f"{data}, difference", f"{name} - {base}", metric, *row, n=len(relevant) // times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with temporal/timeqa and qa/xquad_en")
    parser.add_argument("--split", choices=("train", "dev", "test"), default="test")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = SentenceTransformerEncoder(offline=True)
    reader = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder) if args.cache else Kept())
    part = read(args.data / "temporal/timeqa/human_annotated_train.json").part(args.split)
    both, drifted = corpora(part, reader), drifting(part.questions)
    prepare(both, [*part.questions, *drifted])
    name = f"timeqa {args.split}, {len(part.chunks)} paragraphs"
    rows = [*measure(part.questions, dated(part), both, f"{name}, dated")]
    rows += measure(drifted, DRIFTING, both, f"{name}, drifting", MOMENTS)
    other = read(args.data / "qa/xquad_en").part("test")
    both, bare = corpora(other, reader), timeless(other.questions)
    prepare(both, bare)
    rows += measure(bare, TIMELESS, both, f"xquad test, {len(other.chunks)} paragraphs, timeless")
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
