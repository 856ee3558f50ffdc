"""Does the reader's own attention find the sentence that answers better than the search that brought its passage?

    python benchmarks/attention_rerank.py --data ../shared/data --model smollm2 --rows rows.jsonl [--json]

Documents are cut by `recursive` into passages of 100 tokens; the default hybrid (dense, bm25, calibrated) finds
`--passages` of them, and each question is read with them once: what each head gives to each sentence is kept in
`--rows`, a line a question, so that a run that was stopped goes on (with `--infini`, what both forms of `infini_retri`
find in the shortest papers too). Of every set half of the documents are for choosing; all figures but those of
`--chosen-on` are of the other half.

passage R@k: one of the first k passages holds a sentence that answers; sentence R@k: one of the k best sentences is it
(half of the shorter of sentence and answer is in both). "hybrid over sentences" searches an index of single sentences.
Differences are paired by question; all intervals are 95 % bootstrap. CPU seconds are of one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attention_rerank_data import Asked, Part, Set, read

from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.probing import known
from fovea.pipelines.answering.sentence_evidence import sentence_evidence
from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.refiners.attention import AttentionRefiner, mixed
from fovea.pipelines.refiners.infini_retri import InfiniRetri
from fovea.pipelines.search import candidates
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.yaml_source import Source
from fovea.rag import registry
from fovea.rag.causal_lm import CausalLM, load
from fovea.rag.encoder import Encoder
from fovea.rag.errors import FoveaError
from fovea.rag.progress import bar
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.sentences import sentences
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Hit, Query, Span
from fovea.segmenters.chain import segment
from fovea.segmenters.recursive import RecursiveSegmenter

SETS = ("xquad", "covid_papers")
HEADS = 16
"""Heads whose evidence is kept, of the strongest; none deeper than those that are used."""
SPEC = check(Source("attention_rerank", {"name": "attention_rerank", "retrieve": ["dense", "bm25"]}))
Scores = dict[str, np.ndarray]
"""By metric, one value a question."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with qa/xquad_en and spans/covid_papers")
    parser.add_argument("--model", default="smollm2", help="a name of `fovea models`, or a folder")
    parser.add_argument("--rows", type=Path, required=True, help="file of what was read, made or gone on with")
    parser.add_argument("--questions", type=int, default=150, help="of each set, to report")
    parser.add_argument("--choosing", type=int, default=25, help="of each set, to choose settings on")
    parser.add_argument("--passages", type=int, default=6)
    parser.add_argument("--infini", type=int, default=0, help="questions that infini_retri reads a whole paper for")
    parser.add_argument("--cost", type=int, default=0, help="questions whose reading is timed beside a whole prefill")
    parser.add_argument("--chosen-on", action="store_true", help="the figures of the questions for choosing instead")
    parser.add_argument("--no-reading", action="store_true", help="report what is there")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    behind: Encoder = registry.find("encoder", "sentence_transformer")()  # type: ignore[assignment]
    encoder = RememberingEncoder.of(behind, FileMemory(args.cache, behind) if args.cache else Kept())
    libraries = [Library(read(args.data, name), encoder) for name in SETS]
    if not args.no_reading:
        go_on(args, libraries)
    part: Part = "chosen on" if args.chosen_on else "reported"
    kept = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()]
    rows = list(report(args.model, libraries, [one for one in kept if one["model"] == args.model], part))
    print(show(rows, as_json=args.json))


@dataclass(frozen=True)
class Library:
    """A set, and what is searched in it."""

    set: Set
    encoder: Encoder

    @cached_property
    def passages(self) -> MemoryCorpus:
        documents = self.set.documents
        cut = [c for d in documents for c in segment(d, [RecursiveSegmenter(max_tokens=100)], self.encoder)]
        return MemoryCorpus(documents, cut, self.encoder)

    @cached_property
    def sentences(self) -> MemoryCorpus:
        documents = self.set.documents
        return MemoryCorpus(documents, [d.chunk(s) for d in documents for s in sentences(d.text)], self.encoder)

    @cached_property
    def by_id(self) -> dict[str, Asked]:
        return {asked.id: asked for asked in self.set.asked}


def search(asked: Asked, corpus: MemoryCorpus, count: int) -> list[Hit]:
    return candidates(SPEC, Query(asked.text), 50, corpus, Trace())[:count]


def go_on(args: argparse.Namespace, libraries: Sequence[Library]) -> None:
    """Read what is not in the file yet, the questions for choosing first, the sets in turn."""
    there = args.rows.read_text("utf-8").splitlines() if args.rows.exists() else []
    done = {(one["model"], one.get("form", ""), one["set"], one["id"]) for one in map(json.loads, there)}
    todo: list[tuple[Library, Asked, str]] = []
    for part, count in (("chosen on", args.choosing), ("reported", args.questions)):
        some = [[(library, asked, "") for asked in library.set.some(part, count)] for library in libraries]  # type: ignore[arg-type]
        todo += [each[n] for n in range(count) for each in some if n < len(each)]
    papers = libraries[-1]
    lengths = {d.id: len(d.text) for d in papers.set.documents}
    short = sorted((a for a in papers.set.asked if a.part == "reported"), key=lambda a: lengths[a.document])
    todo += [(papers, asked, form) for asked in short[: args.infini] for form in ("probed", "last_layer")]
    todo += [(papers, asked, "cost") for asked in papers.set.some("reported", args.cost)]
    left = [(one, asked, form) for one, asked, form in todo if (args.model, form, one.set.name, asked.id) not in done]
    lm = load(args.model)
    with args.rows.open("a", encoding="utf-8") as file, bar("questions", len(left)) as progress:
        for library, asked, form in left:
            if form == "cost":
                made = cost(lm, args, library, asked)
            else:
                made = whole_paper(args.model, library, asked, form) if form else one(lm, args, library, asked)
            place = {"model": args.model, "set": library.set.name, "id": asked.id, "part": asked.part}
            file.write(json.dumps({**place, **made}) + "\n")
            file.flush()
            progress.advance()


def one(lm: CausalLM, args: argparse.Namespace, library: Library, asked: Asked) -> dict[str, Any]:
    """What each head gives to each sentence of the hits."""
    table = known(lm, args.model)
    deepest = max(layer for layer, _ in AttentionRefiner(model=args.model).pointing)
    heads = [head for head in table.strongest("question", HEADS) if head[0] <= deepest]
    hits = search(asked, library.passages, args.passages)
    began = time.process_time()
    layout = Layout.of(lm, Query(asked.text), hits, corpus=library.passages)
    told, given = sentence_evidence(lm, heads, layout)
    took = time.process_time() - began
    places = [[h.chunk.document_id, h.chunk.start, h.chunk.end, h.score, h.scores] for h in hits]
    return {"hits": places, "told": told, "heads": heads, "weights": given.round(7).tolist(), "seconds": took,
            "tokens": len(layout.ids)}  # fmt: skip


def cost(lm: CausalLM, args: argparse.Namespace, library: Library, asked: Asked) -> dict[str, Any]:
    """CPU seconds of the refiner, and of a prefill of the same prompt."""
    hits, refiner = search(asked, library.passages, args.passages), AttentionRefiner(model=args.model)
    began = time.process_time()
    refiner.evidence(Query(asked.text), hits, library.passages)
    read = time.process_time()
    ids = Layout.of(lm, Query(asked.text), hits, corpus=library.passages).ids
    with torch.inference_mode():
        lm.model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    return {"form": "cost", "read": read - began, "prefill": time.process_time() - read}


def whole_paper(model: str, library: Library, asked: Asked, form: str) -> dict[str, Any]:
    """At which place `infini_retri` has a sentence that answers, None where it kept none."""
    document = library.passages.document(asked.document)
    hits = [Hit(document.chunk(Span(0, 1)), 1.0)]
    refiner = InfiniRetri(model=model, heads=form)  # type: ignore[arg-type]
    began = time.process_time()
    found = refiner.refine(Query(asked.text), hits, library.passages)
    flags = [asked.answered_by(h.chunk.document_id, h.chunk.start, h.chunk.end) for h in found]
    return {"form": form, "rank": rank(flags), "seconds": time.process_time() - began, "length": len(document.text)}


def report(model: str, libraries: Sequence[Library], kept: Sequence[dict[str, Any]], part: Part) -> Iterator[Row]:
    pooled: dict[str, list[Scores]] = {}
    for library in libraries:
        mine = [row for row in kept if row["set"] == library.set.name and row["part"] == part and "hits" in row]
        if mine:
            found = dict(measured(model, library, mine))
            for method, scores in found.items():
                pooled.setdefault(method, []).append(scores)
            yield from rows(f"{library.set.name}, {part}", model, found)
    both = {method: {m: np.concatenate([one[m] for one in each]) for m in each[0]} for method, each in pooled.items()}
    if len(libraries) > 1 and both:
        yield from rows(f"both, {part}", model, both)
    if mine := [row for row in kept if row.get("form") == "cost"]:
        share = np.array([row["read"] / row["prefill"] for row in mine])
        yield from rows("cost", model, {"attention": {"share of a prefill's CPU seconds": share}})
    for form in ("probed", "last_layer"):
        if mine := [row for row in kept if row.get("form") == form]:
            scores = {f"R@{k}": np.array([at(row["rank"], k) for row in mine]) for k in (1, 3)}
            scores["CPU seconds"] = np.array([row["seconds"] for row in mine])
            yield from rows("whole papers", model, {f"infini_retri {form}": scores})


def measured(model: str, library: Library, mine: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Scores]]:
    asked = [library.by_id[row["id"]] for row in mine]
    hits = [
        [Hit(library.passages.document(d).chunk(Span(s, e)), x, y) for d, s, e, x, y in row["hits"]] for row in mine
    ]
    flags = [
        [
            a.answered_by(hs[n].chunk.document_id, hs[n].chunk.start + s, hs[n].chunk.start + e)
            for n, s, e in row["told"]
        ]
        for a, hs, row in zip(asked, hits, mine)
    ]
    holds = [
        {h.chunk.id for n, h in enumerate(hs) if any(f for f, (of, _, _) in zip(fs, row["told"]) if of == n)}
        for hs, fs, row in zip(hits, flags, mine)
    ]

    def passages(lists: Sequence[Sequence[Hit]]) -> Scores:
        ranks = [rank([hit.chunk.id in good for hit in found]) for found, good in zip(lists, holds)]
        return {f"passage R@{k}": np.array([at(r, k) for r in ranks]) for k in (1, 3)}

    yield "hybrid", passages(hits)
    for weight in dict.fromkeys((AttentionRefiner(model=model).weight, 1.0)):
        name = "hybrid + attention" + ("" if weight < 1 else ", weight 1")
        yield name, passages([reordered(model, hs, row, weight) for hs, row in zip(hits, mine)])
    for name in ("reranker", "cross_encoder"):
        try:
            found, took = refined(name, asked, hits, library.passages)
        except FoveaError as error:
            print(f"{name} is missing: {error}", file=sys.stderr)
            yield f"hybrid + {name}", {}
            continue
        yield f"hybrid + {name}", {**passages(found), "CPU seconds": took}
    best = [np.argsort(-shares(row, model), kind="stable") for row in mine]
    ranks = [rank([fs[n] for n in order]) for fs, order in zip(flags, best)]
    seconds = {"CPU seconds": np.array([row["seconds"] for row in mine])}
    yield (
        "sentences by attention",
        {**{f"sentence R@{k}": np.array([at(r, k) for r in ranks]) for k in (1, 3)}, **seconds},
    )
    found = [search(a, library.sentences, 3) for a in asked]
    right = [
        [a.answered_by(h.chunk.document_id, h.chunk.start, h.chunk.end) for h in hs] for a, hs in zip(asked, found)
    ]
    yield "hybrid over sentences", {f"sentence R@{k}": np.array([at(rank(r), k) for r in right]) for k in (1, 3)}


def shares(row: dict[str, Any], model: str) -> np.ndarray:
    """Each sentence's, by the heads that the refiner looks through."""
    used = [row["heads"].index(list(head)) for head in AttentionRefiner(model=model).pointing]
    given = np.array(row["weights"]).reshape(len(row["heads"]), -1)[used]
    return (given / np.maximum(given.sum(axis=1, keepdims=True), 1e-9)).mean(axis=0)


def reordered(model: str, hits: Sequence[Hit], row: dict[str, Any], weight: float) -> list[Hit]:
    """As the refiner does it, from what was kept."""
    best = [0.0] * len(hits)
    for (n, _, _), share in zip(row["told"], shares(row, model)):
        best[n] = max(best[n], float(share))
    scores = mixed([hit.score for hit in hits], best, weight)
    return [hits[n] for n in sorted(range(len(hits)), key=lambda n: -scores[n])]


def refined(
    name: str, asked: Sequence[Asked], hits: Sequence[Sequence[Hit]], corpus: MemoryCorpus
) -> tuple[list[list[Hit]], np.ndarray]:
    refiner: Any = registry.find("refiner", name)()
    found, took = [], []
    for one, given in zip(asked, hits):
        began = time.process_time()
        found.append(refiner.refine(Query(one.text), given, corpus))
        took.append(time.process_time() - began)
    return found, np.array(took)


def rank(flags: Sequence[bool]) -> int | None:
    return next((n for n, flag in enumerate(flags) if flag), None)


def at(place: int | None, k: int) -> float:
    return float(place is not None and place < k)


def rows(data: str, model: str, found: dict[str, Scores]) -> Iterator[Row]:
    row: Callable[..., Row] = lambda *values: Row("attention_rerank", data, *values, settings={"model": model})  # noqa: E731
    for method, scores in found.items():
        if not scores:
            yield row(method, "passage R@1", None)
        for metric, each in scores.items():
            mean, low, high = interval(each, shares="@" in metric)
            yield row(method, metric, mean, low, high, len(each))
    pairs = [("hybrid + attention", other) for other in ("hybrid", "hybrid + reranker", "hybrid + cross_encoder")]
    for method, other in [*pairs, ("sentences by attention", "hybrid over sentences")]:
        for metric in found.get(method, {}):
            if metric != "CPU seconds" and metric in found.get(other, {}):
                mean, low, high = interval(found[method][metric] - found[other][metric])
                yield row(f"{method} - {other}", metric, mean, low, high, len(found[method][metric]))


if __name__ == "__main__":
    main()
