"""Questions that name a time, over dialogues with dates and over pages that tell of years: what time is worth.

    python benchmarks/dated.py --data ../shared/data [--cache FOLDER] [--json]

`locomo3` dialogues with the day in each turn's title, `locomo3_metadata` the same with it in metadata alone: the
questions that name a time, divided by a hash of their text. Kernel, weights and depth of `time_scope` and `event_aware`
were chosen on "choose" and on TimeQA's dev part; what is to be believed is "report" and TimeQA's test part. The other
questions of `locomo3` are there to be left alone, and so are those of XQuAD.

hybrid        dense and BM25, 50 candidates each, by the default fuser: the default pipeline
calibrated    the same by `calibrated`
+ T           the refiner `time_scope` behind it
event_aware   alone: it searches by vectors and words itself
both          `time_scope` behind `event_aware`

nDCG@10, MRR@10 and R@5 by ir-measures; differences to the hybrid are paired by question, with 95 % bootstrap intervals
and, in `settings`, p of Fisher's randomisation test, Holm-corrected over all differences of one part.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import holm, randomisation_p, scores
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.retrieval import Fuser
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.collections.read import read
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.event_aware import EventAwareRetriever
from fovea.retrievers.time.parser import SPOKEN
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time_scope import TimeScopeRefiner

FETCHED, KEPT = 50, 10
MEASURES = ("nDCG@10", "MRR@10", "R@5")
Search = Callable[[Query, MemoryCorpus], list[Hit]]
DEFAULT = PipelineSpec().fuser
SCOPE, AWARE = TimeScopeRefiner(), EventAwareRetriever()


def hybrid(query: Query, corpus: MemoryCorpus, fuser: Fuser = DEFAULT) -> list[Hit]:
    lists = {one.name: one.search(query, FETCHED, corpus) for one in (DenseRetriever(), BM25Retriever())}
    return fuser.fuse(lists, FETCHED, query, corpus)


def calibrated(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    return hybrid(query, corpus, CalibratedFuser())


def aware(query: Query, corpus: MemoryCorpus) -> list[Hit]:
    return AWARE.search(query, FETCHED, corpus)


def scoped(search: Search) -> Search:
    return lambda query, corpus: SCOPE.refine(query, search(query, corpus), corpus)


METHODS: dict[str, Search] = {
    "dense": lambda query, corpus: DenseRetriever().search(query, FETCHED, corpus),
    "dense + T": scoped(lambda query, corpus: DenseRetriever().search(query, FETCHED, corpus)),
    "hybrid": hybrid,
    "calibrated": calibrated,
    "calibrated + T": scoped(calibrated),
    "hybrid + T": scoped(hybrid),
    "event_aware": aware,
    "both": scoped(aware),
}
AGAINST = ("hybrid + T", "calibrated", "calibrated + T", "event_aware", "both")


@dataclass(frozen=True)
class Part:
    """Questions of one collection, by what they are for."""

    name: str
    collection: Collection
    questions: Sequence[Judged]
    use: str


def chosen(question: Judged) -> bool:
    """Whether a question is of the half that settings were chosen on."""
    return int(sha256(question.query.text.encode()).hexdigest(), 16) % 2 == 0


def dated(question: Judged) -> bool:
    """Whether a question names a date; one that names "last week" alone, with no day to count from, does not."""
    return bool(scanner(SPOKEN).intervals(question.query.text))


def parts(data: Path) -> Iterator[Part]:
    for name in ("locomo3", "locomo3_metadata"):
        found = read(data / "temporal" / name)
        of_time = [q for q in found.questions if dated(q)]
        yield Part(f"{name}, choose", found, [q for q in of_time if chosen(q)], "choose")
        yield Part(f"{name}, report", found, [q for q in of_time if not chosen(q)], "report")
        if others := [q for q in found.questions if not dated(q)]:
            yield Part(f"{name}, no date named", found, others, "left alone")
    pages = read(data / "temporal/timeqa/human_annotated_train.json")
    for split, use in (("dev", "choose"), ("test", "report")):
        part = pages.part(split)  # type: ignore[arg-type]
        yield Part(f"timeqa {split}", part, part.questions, use)
    other = read(data / "qa/xquad_en").part("test")
    yield Part("xquad test, no date named", other, [q for q in other.questions if not dated(q)], "left alone")


def measure(part: Part, reader: RememberingEncoder) -> tuple[list[Row], dict[str, dict[str, np.ndarray]]]:
    """Rows of all methods, and their values by question."""
    vectors = reader.encode([chunk.text for chunk in part.collection.chunks])
    corpus = MemoryCorpus(part.collection.documents, part.collection.chunks, reader, vectors=vectors)
    corpus.prepare([q.query.text for q in part.questions])
    rows, values = [], {}
    for name, search in METHODS.items():
        ranked = [[hit.chunk.id for hit in search(q.query, corpus)[:KEPT]] for q in part.questions]
        found = scores(ranked, [q.relevant for q in part.questions], needed_by="benchmarks/dated.py")
        values[name] = {m: np.asarray(found[m]) for m in MEASURES}
        rows += [Row("dated", part.name, name, m, *interval(v), n=len(v)) for m, v in values[name].items()]
    return rows, values


def differences(measured: Iterable[tuple[Part, dict[str, dict[str, np.ndarray]]]]) -> Iterator[Row]:
    """Paired differences to the hybrid, one family of tests by what the questions are for."""
    found = [
        (part, name, m, values[name][m] - values["hybrid"][m])
        for part, values in measured
        for name in AGAINST
        for m in MEASURES
    ]
    for use in dict.fromkeys(part.use for part, *_ in found):
        family = [one for one in found if one[0].use == use]
        p = [randomisation_p(moved) for *_, moved in family]
        for (part, name, m, moved), alone, corrected in zip(family, p, holm(p)):
            settings = {"p": alone, "p_holm": corrected}
            data = f"{part.name}, difference to the hybrid"
            yield Row("dated", data, name, m, *interval(moved), n=len(moved), settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with temporal/ and qa/xquad_en")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = SentenceTransformerEncoder(offline=True)
    reader = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder) if args.cache else Kept())
    rows, measured = [], []
    for part in parts(args.data):
        found, values = measure(part, reader)
        rows += found
        measured.append((part, values))
    print(show([*rows, *differences(measured)], as_json=args.json))


if __name__ == "__main__":
    main()
