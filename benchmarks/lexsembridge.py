"""LexSemBridge as the paper has it: does the modulation help, with the encoder frozen and with it fine-tuned?

    python benchmarks/lexsembridge_finetune.py --data TIMEQA --out FOLDER
    fovea train retriever lexsembridge --data TIMEQA --set variant=llr --out TRAINED/llr
    fovea train retriever lexsembridge --data TIMEQA --set variant=clr --set learning_rate=2e-5 --out TRAINED/clr
    python benchmarks/lexsembridge.py --data ../shared/data --tuned FOLDER --trained TRAINED [--cache FOLDER]
        [--sets timeqa] [--json]

TimeQA's test articles and SciFact's corpus, on which nothing was trained: three salient words of a passage, sixteen
tokens of one (600 of each), and the sets' own questions. Rows are the base encoder, BM25, each variant on the frozen
base (the weights of SLR ship), the fine-tuned encoder by itself, fine-tuned with the modulation and searched with and
without it (the published code evaluates without), and what each becomes beside BM25. Differences are paired by
question, with 95 % bootstrap intervals, to the base; those of the fine-tuned rows also to the run without the
modulation (same steps and seed).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.retrieval import searched, shared, task
from fovea.pipelines.bench.retrieval_methods import Method, chosen
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.ranking_metrics import scores
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import FoveaError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.retrievers.collection import Collection
from fovea.retrievers.collections.read import read

SETS = {"timeqa": "temporal/timeqa/human_annotated_train.json", "scifact": "retrieval/scifact"}
TASKS = ("keyword3", "pop16", "queries")
MEASURES = ("R@1", "R@10", "MRR@10")
CONVEX = "fuse: {{use: convex, weights: {{{}: 0.6, bm25: 0.4}}}}"


def joined(name: str, one: str, settings: str = "") -> str:
    """A method of the retriever `one` joined with BM25 as the spec of the task has it."""
    return f"{{name: {name}, retrieve: [{{use: {one}{settings}}}, bm25], {CONVEX.format(one)}}}"


OTHERS = ("llr", "clr")
PLAIN = ", ".join(["{name: tuned, retrieve: [dense]}", joined("tuned + bm25 convex", "dense")])
PAIR = ("tuned", "tuned with slr", "tuned with slr, then without")


def frozen(trained: Path | None) -> str:
    """The methods of the base encoder, with the variants whose weights ship or lie in the folder `trained`."""
    weights = {"slr": "lexsembridge_slr", **({v: str(trained / v) for v in OTHERS} if trained else {})}
    return ", ".join(
        [
            "dense",
            "bm25",
            *(f"{{name: {v}, retrieve: [{{use: lexsembridge, weights: {w}}}]}}" for v, w in weights.items()),
            joined("dense + bm25 convex", "dense"),
            *(joined(f"{v} + bm25 convex", "lexsembridge", f", weights: {w}") for v, w in weights.items()),
            "{name: dense + bm25 rrf, retrieve: [dense, bm25], fuse: rrf}",
            "{name: dense + bm25, retrieve: [dense, bm25]}",
            "{name: slr + bm25, retrieve: [lexsembridge, bm25]}",
        ]
    )


def with_slr(weights: Path) -> str:
    """The methods of the encoder that was tuned together with a modulation."""
    use = f"{{use: lexsembridge, weights: {weights}}}"
    one = f"{{name: '{PAIR[1]}', retrieve: [{use}]}}, {{name: '{PAIR[2]}', retrieve: [dense]}}"
    return f"{one}, {joined('tuned with slr + bm25 convex', 'lexsembridge', f', weights: {weights}')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with temporal/ and retrieval/")
    parser.add_argument("--tuned", type=Path, help="what benchmarks/lexsembridge_finetune.py wrote")
    parser.add_argument("--trained", type=Path, help="folder with the weights of llr and clr, as they were trained")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--seed", type=int, default=0, help="of the passages that are asked for (0)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    base = SentenceTransformerEncoder()
    groups: list[tuple[Encoder, list[Method]]] = [(base, chosen(frozen(args.trained)))]
    if args.tuned:
        groups.append((tuned(args.tuned / "plain"), chosen(PLAIN)))
        groups.append((tuned(args.tuned / "slr"), chosen(with_slr(args.tuned / "slr"))))
    found: list[Row] = []
    for name in args.sets:
        whole = read(args.data / SETS[name])
        part = whole.part("test") if whole.parts else whole
        readers = [(shared(part, encoder, args.cache), methods) for encoder, methods in groups]
        for one in TASKS:
            asked = task(one, part, base, args.seed)
            found += rows(asked, measured(asked, readers))
    print(show(found, as_json=args.json))


def tuned(folder: Path) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(model=str(folder / "model"), offline=True)


def measured(collection: Collection, readers: list) -> dict[str, Mapping[str, np.ndarray]]:
    """By method and measure, a value a question."""
    found = {}
    for encoder, methods in readers:
        corpus = MemoryCorpus(collection.documents, collection.chunks, encoder)
        corpus.prepare([q.query.text for q in collection.questions])
        for method in methods:
            try:
                ranked, _ = searched(method, collection, corpus)
            except FoveaError as error:
                print(f"{method.name} is missing: {error}", file=sys.stderr)
                continue
            relevant = [q.relevant for q in collection.questions]
            found[method.name] = scores(ranked, relevant, needed_by="benchmarks/lexsembridge.py")
    return found


def rows(collection: Collection, found: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[Row]:
    settings = {"chunks": len(collection.chunks)}
    for method, values in found.items():
        for measure in MEASURES:
            yield row(collection.name, method, measure, values[measure], settings)
    for method in list(found)[1:]:
        yield from differences(collection.name, found, method, "dense", settings)
    for method in PAIR[1:]:
        if method in found:
            yield from differences(collection.name, found, method, PAIR[0], settings)
    if PAIR[2] in found:
        yield from differences(collection.name, found, PAIR[1], PAIR[2], settings)


def differences(data: str, found: Mapping, method: str, other: str, settings: dict) -> Iterator[Row]:
    for measure in MEASURES:
        each = found[method][measure] - found[other][measure]
        yield row(data, f"({method}) - ({other})", measure, each, settings)


def row(data: str, method: str, measure: str, each: np.ndarray, settings: dict) -> Row:
    return Row("lexsembridge", data, method, measure, *interval(each), n=len(each), settings=settings)


if __name__ == "__main__":
    main()
