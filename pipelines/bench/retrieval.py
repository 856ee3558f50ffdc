"""`fovea bench retrieval`: what finds the passages that answer, on the questions of a collection and on tasks made of
its texts.

A method runs as it does in a pipeline (`fovea.pipelines.search`), over an exact index in memory, and ten passages are
judged; methods that situate chunks alike share an index.
Values are means over questions with 95 % bootstrap intervals. Beside them stands how each method differs from the
first one, question by question: the mean difference with its interval, and the p of Fisher's randomisation test after
Holm's correction for the number of methods. Chunks are encoded once for all methods and the questions of a task once
for each index; `seconds` is what the rest took for one question, in plain Python and not in the store's index.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.retrieval_methods import Method
from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.pipelines.bench.situated import Corpora
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.pipelines.evaluation.ranking_metrics import NAMES, holm, randomisation_p, scores
from fovea.pipelines.search import retrieve
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError, FoveaError
from fovea.rag.progress import bar
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.retrievers.collection import Collection, Split
from fovea.retrievers.collections.fine_grained import keyword, part_of_passage

KEPT = 10
TASKS = ("queries", "keyword3", "keyword5", "pop16", "pop32")
"""Names that make sense; the numbers may be others."""
Scores = Mapping[str, np.ndarray]


def part(collection: Collection, split: Split | None) -> Collection:
    """What is measured: one part, or all of it; raises ConfigError for a part that is not there."""
    if split is None:
        return collection
    there = {*collection.parts.values(), *(q.split for q in collection.questions)}
    if there and split not in there:
        what = f"nothing of {collection.name} is for {split!r}"
        raise ConfigError(what, where="--split", allowed=[*sorted(there), "all"])
    return collection.part(split)


def task(name: str, collection: Collection, encoder: Encoder, seed: int, questions: int | None = None) -> Collection:
    """The collection as `--tasks` names it: its own questions, or made ones; at most `questions` of them.

    Raises ConfigError for an unknown task, and for a collection without questions.
    """
    if name == "queries":
        if not collection.questions:
            raise ConfigError(f"{collection.name} has no questions", where="--tasks", fix="--tasks keyword3,pop16")
        return replace(collection, questions=collection.questions[:questions])
    known = re.fullmatch(r"(keyword|pop)([1-9]\d{0,2})", name)
    if known is None:
        raise ConfigError(f"no task {name!r}", where="--tasks", got=name, allowed=TASKS)
    size, most = int(known[2]), questions or 600
    if known[1] == "keyword":
        return keyword(collection, size, seed, most)
    return part_of_passage(collection, size, encoder.tokenizer, seed, most)


def rows(
    collection: Collection, methods: Sequence[Method], encoder: SharedEncoder, *, missing: Callable[[str], None]
) -> Iterator[Row]:
    """All rows of one task. A method that cannot run is a row without a value, and `missing` is told why."""
    corpora = Corpora(collection, encoder)
    found: dict[str, Scores] = {}
    for method in methods:
        try:
            ranked, seconds = searched(method, collection, corpora.of(method.spec.situate))
        except FoveaError as error:
            missing(f"{method.name} is missing: {error}")
            yield Row("retrieval", collection.name, method.name, next(iter(NAMES)), None, settings=method.settings)
            continue
        relevant = [q.relevant for q in collection.questions]
        found[method.name] = scores(ranked, relevant, needed_by="fovea bench retrieval")
        for measure, each in found[method.name].items():
            mean, low, high = interval(each, shares=True)
            place = ("retrieval", collection.name, method.name, measure)
            yield Row(*place, mean, low, high, len(each), seconds, method.settings)
    yield from differences(collection.name, found)


def searched(method: Method, collection: Collection, corpus: MemoryCorpus) -> tuple[list[list[str]], float]:
    """The ids that a method finds for each question, best first, and its seconds for one; raises what it raises."""
    spec, ranked, began = method.spec, [], time.perf_counter()
    with bar(f"{collection.name}: {method.name}", len(collection.questions)) as progress:
        for question in collection.questions:
            hits = retrieve(spec, question.query, KEPT, corpus, Trace())
            ranked.append([hit.chunk.id for hit in hits])
            progress.advance()
    return ranked, (time.perf_counter() - began) / len(ranked)


def differences(data: str, found: Mapping[str, Scores]) -> Iterator[Row]:
    """Every method against the first: the difference by measure, then p by measure."""
    first, *others = found or [""]
    each = {m: {x: found[x][m] - found[first][m] for x in others} for m in NAMES}
    p = {m: dict(zip(others, holm([randomisation_p(each[m][x]) for x in others]))) for m in NAMES}
    for other in others:
        label = f"{other} - {first}"
        for measure in NAMES:
            mean, low, high = interval(each[measure][other])
            yield Row("retrieval", data, label, measure, mean, low, high, len(each[measure][other]))
        for measure in NAMES:
            yield Row("retrieval", data, label, f"p {measure}", p[measure][other], n=len(each[measure][other]))


def shared(collection: Collection, encoder: Encoder, cache: Path | None) -> SharedEncoder:
    """An encoder that encodes the chunks of a collection once, whatever tasks are made of it."""
    texts = [chunk.text for chunk in collection.chunks]
    return SharedEncoder.over(encoder, texts, label=collection.name, cache=cache)
