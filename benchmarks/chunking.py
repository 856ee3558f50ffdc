"""What a way of cutting does to retrieval: ours beside LangChain's, chonkie's and semchunk's, in the same run.

    python benchmarks/chunking.py --data ../shared/data/spans/chunking_evaluation [--quick] [--only WORDS] [--json]

The data is a folder with `corpora/NAME.md` and `questions.jsonl` of {question, corpus, references: [{start, end}]}.
All chunks of all corpora lie in one index, are encoded by all-MiniLM-L6-v2 and ranked by exact inner product. Recall,
precision and IoU count characters of the five best chunks against the gold spans
(`pipelines/evaluation/span_metrics.py`); recall at N tokens fills a context of N tokens with the best chunks and cuts
the last one off, so that no method gains by longer chunks. Differences are paired by question against LangChain's
recursive splitter of 200 tokens, over all questions and corpus by corpus.

A row "+ late" makes the vectors of its chunks out of the one reading that its segmenter needed
(`fovea.segmenters.poolers`); the others encode every chunk once more. "tokens encoded per token" counts both,
segmenting and chunk vectors.

Sizes are tokens of the encoder's tokenizer for every row, and every splitter counts with it. Peers' chunks are placed
where they truly lie: by exact text, or where a splitter rewrites white space, by the characters that are none. Ours run
with their defaults. No number was fitted to these questions, but one rule of `recursive` (a long line that ends with a
sentence is a paragraph) was added after a first run on the two smaller corpora, so its row there is not blind.

CPU seconds are of cutting alone, by new objects, the median of three where nothing is encoded; encoding that a splitter
does itself is in them as it was measured when it was first done, since vectors are kept in the cache folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from chunkers import REFERENCE, CachedEncoder, Split, methods

from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.evaluation.span_metrics import Line, Spans, precision_omega, score, within_budget
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.types import Document, Span

K, BUDGETS, DEPTH = 5, (400, 1000, 2000), 1000


@dataclass(frozen=True)
class Data:
    """Documents, questions and their gold spans on one line of characters."""

    name: str
    documents: list[Document]
    questions: list[str]
    corpora: list[str]
    """The corpus of each question."""
    golds: list[Spans]
    line: Line


def read(folder: Path, quick: bool) -> Data:
    """The data folder; `quick` leaves out its largest corpus."""
    paths = sorted((folder / "corpora").glob("*.md"), key=lambda p: p.stat().st_size)[: -1 if quick else None]
    documents = [Document(p.stem, p.read_bytes().decode(), p.name, media_type="text/markdown") for p in paths]
    line = Line({d.id: len(d.text) for d in documents})
    texts = {d.id: d.text for d in documents}
    questions, corpora, golds = [], [], []
    for row in map(json.loads, (folder / "questions.jsonl").read_text("utf-8").splitlines()):
        if row["corpus"] not in texts:
            continue
        for gold in row["references"]:
            assert texts[row["corpus"]][gold["start"] : gold["end"]] == gold["text"], "a gold span is not its text"
        questions.append(row["question"])
        corpora.append(row["corpus"])
        golds.append(line.spans((row["corpus"], g["start"], g["end"]) for g in row["references"]))
    name = f"{folder.name}{' without its largest corpus' if quick else ''}"
    return Data(name, documents, questions, corpora, golds, line)


@dataclass(frozen=True)
class Cutting:
    """What a splitter made, and what that took."""

    spans: list[tuple[Document, Span]]
    vectors: np.ndarray | None
    seconds: float
    tokens: int


def cut(make: Callable[[], Split], data: Data, encoder: CachedEncoder) -> Cutting:
    times = []
    while len(times) < 3:
        split = make()
        encoder.reset()
        began = time.process_time()
        made = [split(d) for d in data.documents]
        times.append(time.process_time() - began - encoder.outside + encoder.seconds)
        if encoder.tokens:
            break
    found = [(d, span) for d, (spans, _) in zip(data.documents, made) for span in spans]
    pooled = [vectors for _, vectors in made if vectors is not None]
    return Cutting(found, np.concatenate(pooled) if pooled else None, median(times), encoder.tokens)


def measure(name: str, cutting: Cutting, data: Data, encoder: CachedEncoder) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics by name, as numbers or arrays of one a question; and the recall at 1,000 tokens."""
    texts = [d.text[s.start : s.end] for d, s in cutting.spans]
    chunks = data.line.spans((d.id, s.start, s.end) for d, s in cutting.spans)
    sizes = np.array(encoder.tokenizer.count_many(texts))
    vectors = encoder.encode(texts) if cutting.vectors is None else cutting.vectors
    again = sizes.sum() if cutting.vectors is None else 0
    scores = encoder.encode(data.questions, "query") @ vectors.T
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    best = score(data.golds, [chunks[row[:K]] for row in ranked])
    filled = {
        budget: score(data.golds, [within_budget(chunks[row], sizes[row], budget) for row in ranked]).recall
        for budget in BUDGETS
    }
    whole = sum(encoder.tokenizer.count_many([d.text for d in data.documents]))
    found = {
        f"recall@{K}": best.recall, f"precision@{K}": best.precision, f"IoU@{K}": best.iou,
        "precision omega": precision_omega(data.golds, chunks),
        **{f"recall@{budget} tokens": values for budget, values in filled.items()},
        "chunks": len(texts), "mean tokens": sizes.mean(), "p95 tokens": np.percentile(sizes, 95),
        "max tokens": sizes.max(), "tokens encoded per token": (again + cutting.tokens) / whole,
        "CPU s": cutting.seconds,
    }  # fmt: skip
    return found, filled[1000]


def rows(data: Data, encoder: CachedEncoder, only: Sequence[str] = ()) -> Iterator[Row]:
    measured: dict[str, tuple[dict[str, Any], dict[str, Any], np.ndarray]] = {}
    missing = []
    for name, settings, make in methods(encoder):
        if name != REFERENCE and not any(word in name for word in only or [""]):
            continue
        if make is None:
            missing.append(name)
        else:
            measured[name] = settings, *measure(name, cut(make, data, encoder), data, encoder)
    reference = measured[REFERENCE][2] if REFERENCE in measured else None
    for name, (settings, found, at_1000) in sorted(measured.items(), key=lambda item: -item[1][2].mean()):
        if reference is not None:
            found["recall@1000 tokens - reference"] = at_1000 - reference
            for corpus in sorted(set(data.corpora)):
                of = np.array([c == corpus for c in data.corpora])
                found[f"{corpus}"] = at_1000[of]
                found[f"{corpus} - reference"] = (at_1000 - reference)[of]
        if (separate := measured.get(name.removesuffix(" + late"))) and name.endswith(" + late"):
            found["recall@1000 tokens - separate vectors"] = at_1000 - separate[2]
        for metric, value in found.items():
            yield row(data, name, settings, metric, value, found["CPU s"])
    for name in missing:
        yield Row("chunking", data.name, name, f"recall@{K}", None)


def row(data: Data, name: str, settings: dict[str, Any], metric: str, value: Any, seconds: float) -> Row:
    low, high, n = None, None, len(data.questions)
    if isinstance(value, np.ndarray):
        n, (value, low, high) = len(value), interval(value)
    return Row("chunking", data.name, name, metric, float(value), low, high, n, seconds, settings)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="without the largest corpus")
    parser.add_argument("--only", nargs="*", default=(), help="rows whose name holds one of these, and the reference")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fovea-chunking")
    args = parser.parse_args(None if arguments is None else list(arguments))
    encoder = CachedEncoder(SentenceTransformerEncoder(offline=True), args.cache)
    encoder.tokenizer.count("warm up")
    print(show(rows(read(args.data, args.quick), encoder, args.only), as_json=args.json))


if __name__ == "__main__":
    main()
