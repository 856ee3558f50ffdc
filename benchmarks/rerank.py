"""What is the small re-ranker worth over the default hybrid, where does it keep quiet, and what does it cost?

    python benchmarks/rerank.py --data ../shared/data --cache FOLDER [--sets xquad limit ...] [--out FOLDER] [--json]

The default hybrid (dense, bm25, adaptive) gives 20 candidates, `reranker` orders them: nDCG@10, gains 0 or 1. "left
out" has weights trained on the development sets of all *other* families (`FAMILIES` of fusion.py), so no set is
measured with weights that have seen it or its kind; "shipped" has the weights that ship. Differences to the hybrid are
paired, with 95 % bootstrap intervals, that of the mean over sets by drawing questions inside each set; p by
randomisation, by Holm over the sets of a part. "quiet": the share of questions whose first passage stays first.
Milliseconds are processor time a question for passages not read before, on vectors and word lists at hand.

Which data decided what: the evidence, and the numbers of the recipe, were chosen on `DEVELOPMENT` of fusion.py, of the
sets that have no split on the questions of one half by hash; all else is reported apart. At most `--questions` of a
part are asked, evenly over it. `--out` trains on all of development, a quarter of its questions deciding when to stop,
and writes weights and card: those that ship.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fusion import DEVELOPMENT, FAMILIES, HALVED, over_sets
from retrieval_sets import SETS, RetrievalSet

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation import ranking_metrics
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag import registry
from fovea.rag.component import fingerprint
from fovea.rag.filters import Filter
from fovea.rag.remember import RememberingEncoder
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.training import card
from fovea.rag.training.loop import fit
from fovea.rag.training.train import complete
from fovea.rag.types import Hit, Query
from fovea.retrievers import evidence
from fovea.retrievers.collection import Collection, Judged, Split
from fovea.retrievers.reranker import Reranker, in_deviations
from fovea.retrievers.training.reranker import Lists, RerankerRecipe, RerankerTask, hybrid, lists, ndcg

CANDIDATES, TIMED = 20, 12
WITHOUT = ("scifact", "spans-200", "spans-400", "spans-finance", "spans-wikitexts", "spans-state", "qmsum")
"""Not asked unless named."""
UNLEARNT = ("msmarco", "locomo")
"""Their licences allow no commercial use: what ships has not learned from them. The evidence was chosen on them too."""
SHIPPED, LEFT_OUT = "shipped", "left out"


class Shared(MemoryCorpus):
    """Stages of one question share its lexical search, as they do over a library."""

    def match(self, text: str, k: int, where: Filter | None = None) -> list[Hit]:
        """The first of a hundred."""
        if getattr(self, "_last", ("", []))[0] != text:
            self._last = text, super().match(text, 100)
        return self._last[1][:k]


class Part(NamedTuple):
    """Questions of a set for one purpose."""

    name: str
    split: Split
    lists: Lists
    seconds: dict[int, float]
    """Of processor time a question, by number of passages."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with retrieval/, spans/, qa/, temporal/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[name for name in SETS if name not in WITHOUT])
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep vectors in")
    parser.add_argument("--questions", type=int, default=200, help="of a part of a set, at most")
    parser.add_argument("--out", type=Path, help="train on all of development, and write weights and card")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = registry.find("encoder", "sentence_transformer")()
    kept = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder))  # type: ignore[arg-type]
    parts = [p for name in args.sets for p in parts_of(SETS[name](args.data, kept), name, kept, args.questions)]
    if args.out:
        ship(parts, encoder, args.out)
    print(show(rows(parts, str(args.out or "reranker")), as_json=args.json))


def parts_of(data: RetrievalSet, name: str, encoder: Any, most: int) -> Iterator[Part]:
    asked: dict[Split, list[Judged]] = {"train": [], "dev": [], "test": []}
    for text, gold in zip(data.questions, data.gold):
        drawn = int(sha256(text.encode()).hexdigest(), 16)
        development = name in DEVELOPMENT and name not in UNLEARNT and (name not in HALVED or drawn % 2 == 0)
        split: Split = ("dev" if drawn // 2 % 4 == 0 else "train") if development else "test"
        if gold:
            asked[split].append(Judged(text, Query(text), dict.fromkeys(gold, 1), split))
    corpus = Shared(data.documents, data.chunks, encoder)
    for split, questions in asked.items():
        if chosen := questions[:: -(-len(questions) // most) or 1]:
            corpus.prepare([q.query.text for q in chosen])
            one = Collection(name, data.documents, data.chunks, chosen)
            yield Part(name, split, lists(one, corpus, CANDIDATES), timed(chosen, corpus))


def timed(questions: list[Judged], corpus: Shared) -> dict[int, float]:
    taken: dict[int, list[float]] = {20: [], 50: []}
    reranker = {top_n: Reranker.model_construct(weights="", top_n=top_n) for top_n in taken}
    for question in questions[:TIMED]:
        hits = hybrid(question.query, corpus)
        for top_n in reranker:
            evidence._read.cache_clear()
            began = time.process_time()
            evidence.evidence(question.query, hits[:top_n], in_deviations(hits[:top_n], corpus), corpus)
            taken[top_n].append(time.process_time() - began)
    return {top_n: statistics.median(each) for top_n, each in taken.items()}


def trained(parts: list[Part], without: str = "") -> RerankerTask:
    chosen = {s: [p.lists for p in parts if p.split == s and family(p.name) != without] for s in ("train", "dev")}
    return RerankerTask(RerankerRecipe(), chosen["train"], chosen["dev"], seed=0)


def family(name: str) -> str:
    return FAMILIES.get(name, name)


def ship(parts: list[Part], encoder: Any, out: Path) -> None:
    task = trained(parts)
    data = fingerprint([f"{p.name} {p.split} {len(p.lists.rows)}" for p in parts])
    result = complete(task, task.recipe, encoder, out, seed=0, data=data, restart=True)
    counts = [{"set": p.name, "split": p.split, "questions": f"{len(p.lists.rows):,}"} for p in parts]
    command = shlex.join(["python", "benchmarks/rerank.py", *sys.argv[1:]])
    card.write(
        out / "README.md",
        result,
        card.Data({}, counts),
        command=command,
        heading="What they are worth: docs/retrievers.md.",
    )


def rows(parts: list[Part], weights: str) -> Iterator[Row]:
    found = {SHIPPED: [Reranker(weights=weights).trained.arrays] * len(parts)}
    if len({family(p.name) for p in parts if p.split == "train"}) > 1:
        by_family = {name: without(parts, name) for name in dict.fromkeys(family(p.name) for p in parts)}
        found[LEFT_OUT] = [by_family[family(p.name)] for p in parts]
    for part in parts:
        yield Row("rerank", title(part), "hybrid", "nDCG@10", *interval(before(part)), len(part.lists.rows))
        for passages, seconds in part.seconds.items():
            yield Row("rerank", title(part), f"{passages} passages", "ms a question", 1000 * seconds)
    for method, arrays in found.items():
        for apart in (False, True):
            chosen = [(p, a) for p, a in zip(parts, arrays) if (p.split == "test") == apart]
            if chosen:
                yield from differences(f"{'apart' if apart else 'development'}: {method}", chosen)


def without(parts: list[Part], name: str) -> dict[str, np.ndarray]:
    task = trained(parts, name)
    with TemporaryDirectory() as folder:
        fit(task, task.recipe, Path(folder), seed=0)
    return task.arrays()


def differences(data: str, chosen: list[tuple[Part, Any]]) -> Iterator[Row]:
    orders = [ranked(arrays, part.lists) for part, arrays in chosen]
    moved = [ndcg(order, part.lists).numpy() - before(part) for order, (part, _) in zip(orders, chosen)]
    p = ranking_metrics.holm([ranking_metrics.randomisation_p(each) for each in moved])
    for (part, _), order, each, corrected in zip(chosen, orders, moved, p):
        quiet = float((order.argmax(1) == 0).float().mean())
        yield Row("rerank", data, title(part), "- hybrid", *interval(each), len(each))
        yield Row("rerank", data, title(part), "- hybrid: p (Holm)", corrected)
        yield Row("rerank", data, title(part), "quiet", quiet)
    yield Row("rerank", data, "mean over sets", "- hybrid", *over_sets(moved), len(moved))


def ranked(a: dict[str, np.ndarray], found: Lists) -> torch.Tensor:
    return found.scores + torch.from_numpy(found.rows.numpy() / a["scale"] @ a["weight"])


def before(part: Part) -> np.ndarray:
    return ndcg(part.lists.scores, part.lists).numpy()


def title(part: Part) -> str:
    return part.name if part.split == "test" else f"{part.name} ({part.split})"


if __name__ == "__main__":
    main()
