"""What it costs to change the question's vector before the search, beside encoding the question and beside the search.

    python benchmarks/enhancement_cost.py [--chunks 100000] [--queries 300] [--index auto] [--cpu] [--json]
        [--encoder hash] [--only dense lexical_feedback ...]

Two tables over one library, filled from a seed: words are drawn by Zipf's law (rank r with weight 1 / (r + 2.7)) from
those of the example library, most frequent first, and from pairs of them joined; vectors are clustered random unit
vectors of the encoder's size. A question is ten words in a row of some chunk.

    enhancement: the change alone, the question's vector being known, in milliseconds and as a share of the time the
                 encoder takes for the same question. `words searched` stands for a pipeline that asks BM25 anyway, as
                 the default does: the lexical search is shared
    retrieve:    a question from its text to the passages (`fovea.pipelines.search`), encoding included, against plain
    dense

Every question is asked once of each method, all methods in turn and in an order that turns with the question, so that
whatever else the machine does falls on all alike. `--cpu` takes the processor's time in place of the wall's, for a
machine that others use too; it is the same where nothing waits and one thread works.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.search import retrieve
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import registry
from fovea.rag.corpus import VectorIndex
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.trace import Trace
from fovea.rag.types import Document, Query, Span
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.event_aware import EventAwareRetriever
from fovea.retrievers.lexical_feedback import LexicalFeedbackRetriever
from fovea.retrievers.lexsembridge import LexSemBridgeRetriever
from fovea.retrievers.library.library import Library, SourceRow, vector_key
from fovea.retrievers.query_map import QueryMapRetriever
from fovea.retrievers.query_side import QuerySideRetriever
from fovea.retrievers.sitemb import SitEmbRetriever
from fovea.retrievers.stores.embedded import EmbeddedStore

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "library"
GROUP, CENTRES, VOCABULARY = 1000, 512, 60_000
WORDS, ASKED, WARM_UP = 100, 10, 5
"""Words of a chunk and of a question; questions asked before the clock runs."""
AS_OF = datetime(1990, 6, 1)
SITUATED = {"situate": "sitemb", "retrieve": "sitemb"}

CHANGES: dict[str, QuerySideRetriever] = {
    "lexsembridge (SLR)": LexSemBridgeRetriever(),
    "query_map": QueryMapRetriever(),
    "sitemb": SitEmbRetriever(),
    "event_aware, no time named": EventAwareRetriever(),
    "lexical_feedback, words searched": LexicalFeedbackRetriever(),
    "lexical_feedback": LexicalFeedbackRetriever(),
    "lexical_feedback, rare: .1": LexicalFeedbackRetriever(rare=0.1),
}
METHODS: dict[str, dict[str, Any]] = {
    "dense": {"retrieve": "dense"},
    "lexsembridge (SLR)": {"retrieve": "lexsembridge"},
    "query_map": {"retrieve": "query_map"},
    "sitemb": SITUATED,
    "event_aware, no time named": {"retrieve": "event_aware"},
    "event_aware, as_of": {"retrieve": "event_aware"},
    "lexical_feedback": {"retrieve": "lexical_feedback"},
    "lexical_feedback, rare: .1": {"retrieve": {"use": "lexical_feedback", "rare": 0.1}},
    "bm25": {"retrieve": "bm25"},
    "dense + bm25": {"retrieve": ["dense", "bm25"]},
    "lexical_feedback + bm25": {"retrieve": ["lexical_feedback", "bm25"]},
}
BASES = dict.fromkeys(("lexical_feedback + bm25", "event_aware, no time named", "event_aware, as_of"), "dense + bm25")
"""What a method is compared with, where that is not plain dense."""


@dataclass
class Bench:
    """An open library and the questions asked of it."""

    path: Path
    encoder: Encoder
    index: VectorIndex
    questions: Sequence[str]
    settings: dict[str, Any]
    stack: ExitStack
    clock: Callable[[], float]

    def timed(self, action: Callable[[], Any]) -> float:
        """Seconds."""
        began = self.clock()
        action()
        return self.clock() - began

    def corpus(self) -> LibraryCorpus:
        """The library with memories of its own, so that no method profits from what another has looked up."""
        library = self.stack.enter_context(Library.open(self.path, encoder=self.encoder, read_only=True))
        return LibraryCorpus(library, self.index, self.encoder)

    def rows(self, table: str, method: str, seconds: np.ndarray, base: np.ndarray) -> Iterator[Row]:
        """Median and p95 in milliseconds, and what they are of the base's."""
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            value, other = float(np.quantile(seconds, share)), float(np.quantile(base, share))
            place = ("enhancement_cost", f"{self.settings['chunks']:,} chunks: {table}", method)
            yield Row(*place, f"{name} ms", 1000 * value, n=len(seconds), settings=self.settings)
            yield Row(*place, f"{name} to base", value / other, n=len(seconds), settings=self.settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--index", default="auto", help="index of the embedded store")
    parser.add_argument("--encoder", help="another than MiniLM, by name; those that were trained with it need --only")
    parser.add_argument("--only", nargs="+", help="of the methods, these; the first table is left out")
    parser.add_argument("--cpu", action="store_true", help="processor time instead of wall time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger("fovea").setLevel(logging.ERROR)  # Passages without a date are meant.
    encoder: Encoder = SentenceTransformerEncoder(offline=True)
    if args.encoder:
        encoder = registry.find("encoder", args.encoder)()  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        clock = time.process_time if args.cpu else time.perf_counter
        path, settings = Path(folder), {"chunks": args.chunks, "index": args.index, "clock": clock.__name__}
        questions = fill(path, encoder, args.chunks, args.queries + WARM_UP)
        library = stack.enter_context(Library.open(path, encoder=encoder))
        index = EmbeddedStore(path=path, index=args.index).open(library)
        stack.callback(index.close)
        index.sync()
        bench = Bench(path, encoder, index, questions, settings, stack, clock)
        rows = searches(bench, args.only) if args.only else [*changes(bench), *searches(bench, METHODS)]
        print(show([*rows], as_json=args.json))


def changes(bench: Bench) -> Iterator[Row]:
    """The change of the vector alone, and the encoder."""
    actions: dict[str, Callable[[str], float]] = {
        "encoder": lambda text: bench.timed(lambda: bench.encoder.encode([text], "query"))
    }
    for name, retriever in CHANGES.items():
        actions[name] = change(retriever, bench, searched=name.endswith("words searched"))
    found = in_turn(actions, bench.questions)
    for name, seconds in found.items():
        yield from bench.rows("enhancement", name, seconds, found["encoder"])


def change(retriever: QuerySideRetriever, bench: Bench, *, searched: bool) -> Callable[[str], float]:
    corpus = bench.corpus()

    def run(text: str) -> float:
        query = Query(text)
        corpus.embed(text)
        if searched:
            corpus.match(text, 50)
        return bench.timed(lambda: retriever.vector(query, corpus))

    return run


def searches(bench: Bench, names: Iterable[str]) -> Iterator[Row]:
    """From a question to the passages."""
    actions = {name: search(name, METHODS[name], bench) for name in names}
    found = in_turn(actions, bench.questions)
    for name, seconds in found.items():
        base = BASES.get(name, "dense")
        yield from bench.rows(f"retrieve, to {base}", name, seconds, found[base])


def search(name: str, stages: Mapping[str, Any], bench: Bench) -> Callable[[str], float]:
    spec, corpus = PipelineSpec(encoder=bench.encoder, **stages), bench.corpus()
    as_of = AS_OF if name.endswith("as_of") else None
    return lambda text: bench.timed(lambda: retrieve(spec, Query(text, as_of), spec.kept, corpus, Trace()))


def in_turn(actions: Mapping[str, Callable[[str], float]], questions: Sequence[str]) -> dict[str, np.ndarray]:
    """Seconds of each action for each question but the first few."""
    names, found = list(actions), {name: [] for name in actions}  # type: ignore[var-annotated]
    for i, question in enumerate(questions):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            found[name].append(actions[name](question))
    return {name: np.array(seconds[WARM_UP:]) for name, seconds in found.items()}


def fill(path: Path, encoder: Encoder, chunks: int, queries: int) -> list[str]:
    """Write the library; returns questions about chunks of it."""
    rng = np.random.default_rng(0)
    known, centres = vocabulary(rng), rng.standard_normal((CENTRES, encoder.dim))
    weights = 1 / (np.arange(len(known)) + 2.7)
    asked_at, asked = set(rng.choice(chunks, queries, replace=False).tolist()), []
    with Library.open(path, encoder=encoder) as library:
        for at in range(0, chunks, GROUP):
            drawn = known[rng.choice(len(known), (min(GROUP, chunks - at), WORDS), p=weights / weights.sum())]
            asked += [" ".join(words[20 : 20 + ASKED]) for i, words in enumerate(drawn, at) if i in asked_at]
            lines = [" ".join(words) + ".\n" for words in drawn]
            ends = np.cumsum([len(line) for line in lines]).tolist()
            document = Document(f"part{at}", "".join(lines), source=f"part{at}")
            cut = [document.chunk(Span(end - len(line), end)) for end, line in zip(ends, lines)]
            vectors = centres[rng.integers(0, CENTRES, len(cut))] + 0.8 * rng.standard_normal((len(cut), encoder.dim))
            vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
            library.add_vectors([vector_key(c.text, encoder.fingerprint) for c in cut], vectors)
            library.replace(SourceRow(document.source, digest=str(at), recipe="bench"), [(document, cut)])
    return asked


def vocabulary(rng: np.random.Generator) -> np.ndarray:
    """Words of the example library, most frequent first, then pairs of them joined."""
    texts = [p.read_text("utf-8", "replace") for p in sorted(EXAMPLES.rglob("*.txt")) + sorted(EXAMPLES.rglob("*.md"))]
    counts = Counter(word for text in texts for word in text.lower().split() if word.isalnum())
    real = [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    pairs = rng.integers(100, len(real), (2 * VOCABULARY, 2))
    joined = [real[a] + real[b] for a, b in pairs.tolist()]
    return np.array(list(dict.fromkeys(real + joined))[:VOCABULARY])


if __name__ == "__main__":
    main()
