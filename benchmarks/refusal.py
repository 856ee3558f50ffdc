"""Does the extractive reader say that the documents do not say, where they do not, and only there?

    python benchmarks/refusal.py --data ../shared/data --cache FOLDER [--questions 80] [--json]

Three questions are made of each one drawn, by hash, from those that name something: "answerable", as it is; "removed",
where what came back is without the documents that answer and without chunks nearly like theirs (cosine .9); "absent",
where the name it gives is another set's, which stands nowhere in the corpus. A curve by the reader's `floor`: precision
and recall of refusing, over both unanswerable kinds and each alone, and the share of answerable questions answered,
with 95 % bootstrap intervals. The floor was chosen on `xquad`; the other sets are reported.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from retrieval_sets import SETS, RetrievalSet

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.generators.extractive import ExtractiveGenerator
from fovea.rag import registry
from fovea.rag.remember import RememberingEncoder
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Hit, Query
from fovea.retrievers.adaptive import AdaptiveFuser

REPORTED = {"xquad": "chosen on", "covid": "apart", "hotpotqa": "apart"}
FLOORS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
KINDS = ("answerable", "removed", "absent")
FETCHED, KEPT, ALIKE = 50, 5, 0.9
NAME = re.compile(r"(?<=\w )[A-Z][\w'-]*[a-z](?: [A-Z][\w'-]*[a-z])*")


class Scored(NamedTuple):
    """The best sentence's score of each question, by kind; minus infinity where it is refused whatever the floor."""

    best: dict[str, np.ndarray]

    def refused(self, kind: str, floor: float) -> np.ndarray:
        return self.best[kind] < floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep vectors in")
    parser.add_argument("--sets", nargs="+", choices=REPORTED, default=list(REPORTED))
    parser.add_argument("--questions", type=int, default=80, help="of each set")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = registry.find("encoder", "sentence_transformer")()
    kept = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder))  # type: ignore[arg-type]
    sets = {name: SETS[name](args.data, kept) for name in REPORTED}
    names = {name: list(dict.fromkeys(n for q in one.questions for n in NAME.findall(q))) for name, one in sets.items()}
    found: list[Row] = []
    for name in args.sets:
        others = [n for other, some in names.items() if other != name for n in some]
        scored = measure(sets[name], others, args.questions, kept)
        found += rows(f"{sets[name].name} ({REPORTED[name]})", scored)
    print(show(found, as_json=args.json))


def measure(data: RetrievalSet, others: list[str], count: int, encoder: RememberingEncoder) -> Scored:
    corpus = MemoryCorpus(data.documents, data.chunks, encoder)
    text = "\n".join(d.text for d in data.documents).lower()
    absent = sorted((n for n in others if n.lower() not in text), key=_drawn)
    named = [i for i in sorted(range(len(data.questions)), key=lambda i: _drawn(data.questions[i])) if _name(data, i)]
    best: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for place, i in enumerate(named[:count]):
        question, gold = data.questions[i], data.gold[i]
        swapped = question.replace(_name(data, i), absent[place % len(absent)])
        best["answerable"].append(_best(question, _found(question, corpus)[:KEPT], corpus))
        best["removed"].append(_best(question, _without(_found(question, corpus), gold, corpus)[:KEPT], corpus))
        best["absent"].append(_best(swapped, _found(swapped, corpus)[:KEPT], corpus))
    return Scored({kind: np.array(values) for kind, values in best.items()})


def _name(data: RetrievalSet, i: int) -> str:
    return max(NAME.findall(data.questions[i]), key=len, default="") if data.gold[i] else ""


def _drawn(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _found(question: str, corpus: MemoryCorpus) -> list[Hit]:
    query = Query(question)
    lists = {n: registry.find("retriever", n)().search(query, FETCHED, corpus) for n in ("dense", "bm25")}  # type: ignore[attr-defined]
    return AdaptiveFuser().fuse(lists, FETCHED, query, corpus)


def _without(hits: list[Hit], gold: set[str], corpus: MemoryCorpus) -> list[Hit]:
    answering = [chunk for chunk in corpus.chunks() if chunk.id in gold]
    documents = {chunk.document_id for chunk in answering}
    alike = (corpus.vectors([hit.chunk for hit in hits]) @ corpus.vectors(answering).T).max(1) >= ALIKE
    return [hit for hit, near in zip(hits, alike) if not near and hit.chunk.document_id not in documents]


def _best(question: str, hits: list[Hit], corpus: MemoryCorpus) -> float:
    """The best sentence's score; minus infinity where the reader refuses before it looks at scores."""
    trace = Trace()
    with trace.stage("generate") as stage:
        ExtractiveGenerator(floor=1e-9).quote(question, hits, corpus)
    return float(stage.notes.get("best", -np.inf))  # type: ignore[arg-type]


def rows(data: str, scored: Scored) -> Iterator[Row]:
    answered = scored.best["answerable"]
    for floor in FLOORS:
        method = f"floor {floor}" + (" (default)" if floor == ExtractiveGenerator().floor else "")
        wrongly = scored.refused("answerable", floor)
        unanswerable = np.concatenate([scored.refused("removed", floor), scored.refused("absent", floor)])
        refused = unanswerable.sum() / 2 + wrongly.sum()
        precision = float(unanswerable.sum() / 2 / refused) if refused else None
        yield Row("refusal", data, method, "answered, of answerable", *interval(~wrongly, shares=True), len(answered))
        yield Row("refusal", data, method, "precision of refusing", precision)
        for kind in KINDS[1:]:
            each = scored.refused(kind, floor)
            yield Row("refusal", data, method, f"refused, {kind}", *interval(each, shares=True), len(each))


if __name__ == "__main__":
    main()
