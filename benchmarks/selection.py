"""Which rule keeps most of the evidence for the same tokens?

    python benchmarks/selection.py --data ../shared/data [--reranker reranker] [--sets spans-200 hotpotqa] [--json]

The default hybrid fetches candidates, a re-ranker gives each a probability, and every rule
keeps what it keeps. Reported: mean K, mean tokens of the texts kept (the encoder's), and the share of the evidence in
them: characters of the answering spans, or answering passages. "to curve" is the difference to keeping a fixed number
of the best, the number interpolated so that mean tokens are equal, paired by question, with 95 % bootstrap intervals;
"to density" the same to keeping a fixed number of those of highest probability per token, a ranking that knows lengths.

Without `--reranker`, probabilities are a logistic calibration of the dense score and the BM25 share of the list's best,
learnt from the training articles of TimeQA. `--simulate SD` puts in their place a re-ranker that knows the answer,
whose logits are 4 and -4 with Gaussian noise of that deviation: sure at 1, at a loss at 4. It shows when a rule pays.

Which data decided what: `expected_recall` was built on TimeQA's training and development articles, XQuAD, the MS MARCO
sample and SciFact; the settings listed for it and for the other rules are round numbers, all printed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fusion import covered
from retrieval_sets import SETS, RetrievalSet, whole

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import registry
from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.retrieval import Refiner
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.expected_recall import ExpectedRecallSelection
from fovea.retrievers.gradient import GradientSelection
from fovea.retrievers.mass import MassSelection
from fovea.retrievers.relative import RelativeSelection
from fovea.retrievers.selection import Selection
from fovea.retrievers.vectors import vectors_of

RULES: dict[str, Selection] = {
    **{f"expected_recall {w}": ExpectedRecallSelection(worth=w) for w in (0.1, 0.05, 0.03, 0.02)},
    **{f"mass {t}": MassSelection(target=t) for t in (0.5, 0.7, 0.8, 0.9)},
    **{f"relative {s}": RelativeSelection(share=s) for s in (0.3, 0.2, 0.1, 0.05)},
    **{
        f"gradient {mode} {g} min {k}": GradientSelection(mode=mode, g=g, min_k=k)
        for mode, g in (("keep_ratio", 0.3), ("keep_ratio", 0.5), ("keep_ratio", 0.7), ("difference", 0.2))
        for k in (1, 3, 7)
    },
}
FIXED = (1, 2, 3, 5, 10, 20)


@dataclass(frozen=True)
class Asked:
    """One question: its hits by falling probability, the tokens of each and the share of the evidence in it."""

    query: Query
    hits: list[Hit]
    tokens: np.ndarray
    gain: np.ndarray


def main() -> None:
    sets = {"spans-200": SETS["spans-200"], "hotpotqa": SETS["hotpotqa"], "timeqa-test": partial(timeqa, part="test")}
    others = {name: SETS[name] for name in SETS if name not in sets} | {"timeqa-dev": partial(timeqa, part="dev")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with retrieval/, spans/, temporal/")
    parser.add_argument("--sets", nargs="+", choices=[*sets, *others], default=list(sets))
    parser.add_argument("--reranker", help="a refiner that gives probabilities, by name")
    parser.add_argument("--simulate", type=float, metavar="SD", help="a re-ranker that knows the answer, with noise")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger("fovea").setLevel(logging.ERROR)  # Rules warn of nearly every question.
    behind: Encoder = registry.find("encoder", "sentence_transformer")()  # type: ignore[assignment]
    encoder = RememberingEncoder.of(behind, FileMemory(args.cache, behind) if args.cache else Kept())
    reranker: Refiner | None = None
    if args.reranker:
        reranker = registry.find("refiner", args.reranker)()  # type: ignore[assignment]
    elif args.simulate is None:
        reranker = learnt(timeqa(args.data, encoder, part="train"), encoder, args.candidates)
    rows: list[Row] = []
    for name in args.sets:
        data = {**sets, **others}[name](args.data, encoder)
        rows += measure(data, encoder, reranker, args)
    print(show(rows, as_json=args.json))


def measure(data: RetrievalSet, encoder: Encoder, reranker: Refiner | None, args: argparse.Namespace) -> Iterator[Row]:
    corpus = MemoryCorpus(data.documents, data.chunks, encoder)
    corpus.prepare(data.questions)
    asked = list(ask(data, corpus, reranker, args.candidates, args.simulate))
    settings = {"candidates": args.candidates, "reranker": args.reranker or "logistic", "simulate": args.simulate}
    row = partial(Row, "selection", data.name, n=len(asked), settings=settings)
    curve, density = Curve.of(asked), Curve.of([by_density(a) for a in asked])
    for k in FIXED:
        yield row(method=f"first {k}", metric="K", value=k)
        yield row(method=f"first {k}", metric="tokens", value=float(curve.tokens[:, k].mean()))
        yield from means(partial(row, method=f"first {k}"), {"evidence": curve.gain[:, k]})
    for name, rule in RULES.items():
        kept = [mask(rule, a, corpus) for a in asked]
        tokens = np.array([a.tokens[m].sum() for a, m in zip(asked, kept)])
        gain = np.array([a.gain[m].sum() for a, m in zip(asked, kept)])
        of = partial(row, method=name)
        yield of(metric="K", value=float(np.mean([m.sum() for m in kept])))
        yield of(metric="tokens", value=float(tokens.mean()))
        against = {
            "evidence": gain,
            "to curve": gain - curve.at(tokens.mean()),
            "to density": gain - density.at(tokens.mean()),
        }
        yield from means(of, against)


def means(row: Any, values: dict[str, np.ndarray]) -> Iterator[Row]:
    for metric, each in values.items():
        mean, low, high = interval(np.round(each, 12))
        yield row(metric=metric, value=mean, low=low, high=high)


def ask(
    data: RetrievalSet, corpus: MemoryCorpus, reranker: Refiner | None, candidates: int, noise: float | None
) -> Iterator[Asked]:
    """Every question with its candidates, re-ranked."""
    parts: dict[str, Any] = {name: registry.find("retriever", name)() for name in ("dense", "bm25")}
    draw, count = np.random.default_rng(0), corpus.encoder.tokenizer.count
    for i, text in enumerate(data.questions):
        query = Query(text)
        lists = {name: part.search(query, candidates, corpus) for name, part in parts.items()}
        hits = PipelineSpec().fuser.fuse(lists, candidates, query, corpus)
        if reranker is not None:
            hits = reranker.refine(query, hits, corpus)
        else:
            logits = [(4.0 if h.chunk.id in data.gold[i] else -4.0) + draw.normal(0, noise) for h in hits]
            scored = [h.scored("simulated", 1 / (1 + float(np.exp(-x)))) for h, x in zip(hits, logits)]
            hits = sorted(scored, key=lambda h: -h.score)
        if data.spans is not None:
            gain = [covered([h], data.spans[i]) for h in hits]
        else:
            gain = [(h.chunk.id in data.gold[i]) / len(data.gold[i]) for h in hits]
        yield Asked(query, hits, np.array([count(h.chunk.text) for h in hits]), np.array(gain))


def by_density(asked: Asked) -> Asked:
    """The same question with its hits by probability per token."""
    order = np.argsort(-np.array([h.score for h in asked.hits]) / asked.tokens, kind="stable")
    return Asked(asked.query, [asked.hits[i] for i in order], asked.tokens[order], asked.gain[order])


def mask(rule: Selection, asked: Asked, corpus: Corpus) -> np.ndarray:
    """Which hits the rule keeps: bool `(hits,)`."""
    kept = {hit.chunk.id for hit in rule.refine(asked.query, asked.hits, corpus)}
    return np.array([hit.chunk.id in kept for hit in asked.hits])


@dataclass(frozen=True)
class Curve:
    """Keeping the first k of every question: tokens and share of the evidence, `(questions, k)`, from k = 0."""

    tokens: np.ndarray
    gain: np.ndarray

    @classmethod
    def of(cls, asked: Sequence[Asked]) -> Curve:
        most = max(len(a.hits) for a in asked)
        tokens, gain = np.zeros((2, len(asked), most + 1))
        for i, a in enumerate(asked):
            for table, each in ((tokens, a.tokens), (gain, a.gain)):
                table[i, 1:] = each.sum()
                table[i, 1 : len(each) + 1] = np.cumsum(each)
        return cls(tokens, gain)

    def at(self, tokens: float) -> np.ndarray:
        """The share of the evidence by question where k is such that mean tokens are these, `(questions,)`."""
        mean = self.tokens.mean(0)
        low = min(int(np.searchsorted(mean, tokens, side="right")) - 1, len(mean) - 2)
        part = (tokens - mean[low]) / (mean[low + 1] - mean[low])
        return (1 - part) * self.gain[:, low] + part * self.gain[:, low + 1]


class Logistic(Refiner):
    """`sigmoid(w . (dense score, BM25 share of the list's best, 1))`."""

    name: ClassVar[str] = "logistic"
    gives: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    weights: tuple[float, float, float]

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        logits = features(query, hits, corpus) @ np.array(self.weights)
        scored = [h.scored(self.name, float(p)) for h, p in zip(hits, 1 / (1 + np.exp(-logits)))]
        return sorted(scored, key=lambda h: -h.score)


def features(query: Query, hits: Sequence[Hit], corpus: Corpus) -> np.ndarray:
    """Float `(hits, 3)`."""
    dense = vectors_of(hits, corpus) @ corpus.embed(query.text)
    lexical = np.array([h.scores.get("bm25", 0.0) for h in hits])
    return np.stack([dense, lexical / (lexical.max() or 1.0), np.ones(len(hits))], axis=1)


def learnt(data: RetrievalSet, encoder: Encoder, candidates: int) -> Logistic:
    """Maximum likelihood by Newton's method, on the candidates of every question."""
    corpus = MemoryCorpus(data.documents, data.chunks, encoder)
    corpus.prepare(data.questions)
    nothing = Logistic(weights=(0.0, 0.0, 0.0))
    asked = list(ask(data, corpus, nothing, candidates, None))
    x = np.concatenate([features(a.query, a.hits, corpus) for a in asked])
    y = np.concatenate([a.gain > 0 for a in asked])
    weights = np.zeros(3)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(3)
        weights += np.linalg.solve(hessian, x.T @ (y - p))
    return Logistic(weights=tuple(weights.tolist()))


def timeqa(data: Path, encoder: Encoder, *, part: str) -> RetrievalSet:
    """The paragraphs of more than eight words of the articles of one part, and the questions that one answers."""
    rows = json.loads((data / "temporal/timeqa/human_annotated_train.json").read_text("utf-8"))
    rows = [row for row in rows if part_of(row["link"]) == part]
    texts = {
        f"{row['link']}#{i}": text for row in rows for i, text in enumerate(row["paras"]) if i and len(text.split()) > 8
    }
    found, ids = whole(f"timeqa {part}", texts)
    for row in rows:
        for question, answers in row["questions"]:
            gold = {ids[p] for a in answers if a.get("answer") and (p := f"{row['link']}#{a['para']}") in ids}
            if gold and question not in found.questions:
                found.questions.append(question)
                found.gold.append(gold)
    return found


def part_of(link: str) -> str:
    """A quarter of the articles to test, an eighth to develop on, the rest to train on."""
    return ("test", "test", "dev", *["train"] * 5)[sha256(link.encode()).digest()[0] % 8]


if __name__ == "__main__":
    main()
