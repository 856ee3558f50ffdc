"""What to cut and what to return, in the whole default pipeline: vectors and BM25 joined by the default fuser.

    python benchmarks/chunks_in_hybrid.py --data ../shared/data [--only WORDS] [--sets NAMES] [--cache FOLDER] [--json]

Five corpora with gold character spans: the three of `spans/chunking_evaluation` (one index), the whole papers of
`spans/covid_papers`, and XQuAD's articles, their paragraphs put together again. Each way of cutting is searched by the
default retrievers and fuser, 50 candidates a list; recall, precision and IoU count the gold characters in the first N
tokens of context, the last chunk cut off where they end, so that no chunk gains by its length. "all candidates" is the
recall of whatever was found at all: what a perfect re-ranking with perfect borders would reach. "best order" is that of
a perfect ranking of the same chunks in 1,000 tokens: what cutting alone loses. "by dense" and "by bm25" are recall at
1,000 tokens of either list alone.

Peers get every size here; ours a few settings. The last tables leave one corpus out in turn: the best peer, and of ours
the best setting or one preset, are chosen by the mean recall at 1,000 tokens over the other corpora, and compared on
the one left out, paired by question, with 95 % bootstrap intervals. "- its best peer" gives the peer the choice on the
very corpus.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from chunkers import CachedEncoder, langchain, semchunk
from chunking import Data, read
from pooling import xquad

from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.span_metrics import Line, SpanScores, covered, score, within_budget
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.filters import Filter
from fovea.rag.terms import query_terms
from fovea.rag.testing.corpus import K1, SMALLEST_IDF, B, MemoryCorpus
from fovea.rag.types import Hit, Query
from fovea.segmenters.chain import segment

BUDGETS, MAIN = (500, 1000, 2000), "recall@1000 tokens"
MARKS = ["\n\n", "\n", ".", "?", "!", " ", ""]
LARGER = {"segment": [{"use": "recursive", "max_tokens": 100}]}
OURS: dict[str, dict[str, Any]] = {
    "preset plain": {"preset": "plain"},
    "passages, nothing around in BM25": {"preset": "passages", "situate": None},
    "passages, 100 tokens, nothing around in BM25": {"preset": "passages", "situate": None, **LARGER},
    "preset passages": {"preset": "passages"},
    "preset topics": {"preset": "topics"},
    "passages, reach 400": {"preset": "passages", "situate": {"use": "surroundings", "reach": 400}},
    "passages, reach 800": {"preset": "passages", "situate": {"use": "surroundings", "reach": 800}},
    "passages, 100 tokens": {"preset": "passages", **LARGER},
}
CHOOSABLE = [name for name in OURS if name != "preset plain"]
Recalls = dict[str, np.ndarray]
"""Recall at 1,000 tokens by corpus, `(questions,)`."""


class Posted(MemoryCorpus):
    """The same BM25 by whole lists of postings, for many questions."""

    @cached_property
    def _known(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}

    def _list(self, term: str) -> tuple[np.ndarray, np.ndarray]:
        if term not in self._known:
            found = self._postings.get(term, {})
            nos, f = np.fromiter(found, np.int64, len(found)), np.fromiter(found.values(), np.float64, len(found))
            lengths = np.asarray(self._lengths, np.float64)
            idf = max(np.log((len(lengths) - len(found) + 0.5) / (len(found) + 0.5)), SMALLEST_IDF)
            self._known[term] = nos, idf * f * (K1 + 1) / (f + K1 * (1 - B + B * lengths[nos] / lengths.mean()))
        return self._known[term]

    def match(self, text: str, k: int, where: Filter | None = None) -> list[Hit]:
        """As `MemoryCorpus.match`."""
        scores = np.zeros(len(self._chunks))
        for nos, weights in map(self._list, query_terms(text)):
            scores[nos] += weights
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(self._chunks[no], float(scores[no])) for no in best if scores[no] > 0]


def three_corpora(data: Path) -> Data:
    return read(data / "spans/chunking_evaluation", quick=False)


def papers(data: Path) -> Data:
    found = read(data / "spans/covid_papers", quick=False)
    return replace(found, corpora=["covid_papers"] * len(found.questions))


def articles(data: Path) -> Data:
    pairs = list(xquad(data))
    documents, questions = [d for d, _ in pairs], [q for _, found in pairs for q in found]
    line = Line({d.id: len(d.text) for d in documents})
    golds = [line.spans([(name, start, end)]) for _, name, start, end in questions]
    return Data("xquad", documents, [q[0] for q in questions], ["xquad"] * len(questions), golds, line)


SETS = {"three": three_corpora, "papers": papers, "xquad": articles}


def peers(encoder: CachedEncoder) -> Iterator[tuple[str, Any]]:
    for size in (100, 150, 200, 300, 400):
        yield f"langchain recursive {size}", langchain(encoder, size, separators=MARKS)
    yield "semchunk 200", semchunk(encoder)


def indexed_by_ours(data: Data, spec: PipelineSpec, encoder: Any) -> Posted:
    chunks, vectors, said = [], [], []
    for document in data.documents:
        found = segment(document, spec.segment, encoder)
        chunks += found
        vectors.append(spec.pool.vectors(document, found, encoder))
        said += spec.situate.texts(document, found) if spec.situate else [""] * len(found)
    return Posted(data.documents, chunks, encoder, vectors=np.concatenate(vectors), situations=said)


def indexed_by_peer(data: Data, split: Any, encoder: Any) -> Posted:
    return Posted(data.documents, [d.chunk(span) for d in data.documents for span in split(d)], encoder)


def measure(data: Data, corpus: Posted) -> dict[str, np.ndarray]:
    """Metrics by name, one value a question."""
    spec, listed = PipelineSpec(), list(corpus.chunks())
    places = {c.id: n for n, c in enumerate(listed)}
    spans = data.line.spans((c.document_id, c.start, c.end) for c in listed)
    sizes = np.array(corpus.encoder.tokenizer.count_many([c.text for c in listed]))
    corpus.prepare(data.questions)
    ranked, everything, perfect = [], [], []
    alone: dict[str, list[np.ndarray]] = {r.name: [] for r in spec.retrieve}
    for text, gold in zip(data.questions, data.golds):
        query = Query(text)
        lists = {r.name: r.search(query, spec.candidates, corpus) for r in spec.retrieve}
        hits = spec.fuser.fuse(lists, 2 * spec.candidates, query, corpus)
        ranked.append(np.array([places[h.chunk.id] for h in hits], np.int64))
        for name, found in lists.items():
            alone[name].append(np.array([places[h.chunk.id] for h in found], np.int64))
        everything.append(spans[ranked[-1]])
        perfect.append(np.argsort(-covered(spans, gold) / np.maximum(sizes, 1), kind="stable")[:100])

    def scored(rankings: list[np.ndarray], tokens: int) -> SpanScores:
        return score(data.golds, [within_budget(spans[r], sizes[r], tokens) for r in rankings])

    filled = {n: scored(ranked, n) for n in BUDGETS}
    return {
        **{f"recall@{n} tokens": found.recall for n, found in filled.items()},
        "IoU@1000": filled[1000].iou, "precision@1000": filled[1000].precision,
        "all candidates": score(data.golds, everything).recall, "best order": scored(perfect, 1000).recall,
        **{f"by {name}": scored(rankings, 1000).recall for name, rankings in alone.items()},
        "mean tokens": np.full(len(data.questions), sizes.mean()),
    }  # fmt: skip


def by_corpus(data: Data, values: np.ndarray) -> dict[str, np.ndarray]:
    of = np.array(data.corpora)
    return {name: values[of == name] for name in dict.fromkeys(data.corpora)}


def left_out(data: str, found: dict[str, Recalls], ours: Sequence[str], others: Sequence[str]) -> Iterator[Row]:
    """The best of ours against the best peer, each chosen on all corpora but one, on that one."""
    corpora, gains = list(next(iter(found.values()))), []
    for held in corpora:
        rest = [c for c in corpora if c != held]
        best, peer = (max(of, key=lambda m: np.mean([found[m][c].mean() for c in rest])) for of in (ours, others))
        strict = max(others, key=lambda m: found[m][held].mean())
        for name, other in (("- best peer elsewhere", peer), ("- its best peer", strict)):
            gain = found[best][held] - found[other][held]
            settings = {"ours": best, "peer": other}
            yield Row("chunks_in_hybrid", data, name, held, *interval(gain), len(gain), None, settings)
        gains.append(found[best][held] - found[peer][held])
    mean, spread = np.mean([g.mean() for g in gains]), np.sqrt(sum(g.var() / len(g) for g in gains)) / len(gains)
    ends = mean - 1.96 * spread, mean + 1.96 * spread
    yield Row("chunks_in_hybrid", data, "- best peer elsewhere", "mean", float(mean), *map(float, ends))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[""], help="rows whose name holds one of these")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fovea-chunking")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = CachedEncoder(SentenceTransformerEncoder(offline=True), args.cache)
    wanted = [name for name in OURS if any(word in name for word in args.only)]
    others = [name for name, _ in peers(encoder) if any(word in name for word in args.only)]
    found: dict[str, Recalls] = {name: {} for name in (*others, *wanted)}
    rows = []
    for data in (SETS[name](args.data) for name in args.sets):
        indexes = [(name, indexed_by_peer, split) for name, split in peers(encoder)]
        indexes += [(name, indexed_by_ours, PipelineSpec(**settings)) for name, settings in OURS.items()]
        for name, index, made in indexes:
            if name in found:
                values = measure(data, index(data, made, encoder))
                found[name] |= by_corpus(data, values[MAIN])
                for metric, each in values.items():
                    for corpus, some in by_corpus(data, each).items():
                        rows.append(Row("chunks_in_hybrid", corpus, name, metric, *interval(some), len(some)))
    if others and len(args.sets) > 1 and (ours := [name for name in wanted if name in CHOOSABLE]):
        rows += left_out("left out: the best of ours", found, ours, others)
        for name in ("preset passages", "preset topics"):
            rows += left_out(f"left out: {name}", found, [name], others) if name in ours else []
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
