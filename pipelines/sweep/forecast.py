"""Forecast: what a study would run, what its trials share, and about how long it takes; nothing is run but a sample.

A grid of up to 500 is counted exactly. Of other searches as many configurations are drawn by chance as there will be
trials, and of more than 500 trials 500.
Encoding is timed on a few passages of the documents; it is what a first run of retrieval mostly takes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fovea.pipelines.loaders.select import Selection, loader_for
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.data import StudyData
from fovea.pipelines.sweep.domain import MOST
from fovea.pipelines.sweep.libraries import Documents, Libraries
from fovea.pipelines.sweep.space import Resolved
from fovea.pipelines.sweep.stages import Stages
from fovea.pipelines.sweep.study import Study
from fovea.pipelines.sweep.suggest import TRIALS
from fovea.rag.component import fingerprint
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError
from fovea.rag.generation import Generator
from fovea.rag.printable import counted

LOOKED = 500
"""Configurations that are looked at; of more, as many are drawn by chance."""
SAMPLE, LENGTH = 32, 800
"""Passages that are encoded to time it, and their characters."""


@dataclass(frozen=True)
class Counts:
    """How many different ones the trials have of each."""

    trials: int
    invalid: int
    libraries: int
    built: int
    """Libraries that are in the cache."""
    indexes: int
    lists: int
    refined: int
    answers: int
    written: int
    """Answers that a model writes."""
    kept: float
    """Passages in front of a model, in the mean."""


def forecast(study: Study, cache: Path) -> str:
    """The forecast in lines. Raises ConfigError for questions or documents that cannot be had."""
    data = StudyData(study, cache)
    found, n = counts(study, data, cache), len(data.questions.questions)
    encoder = study.pipeline(study.baseline).encoder
    tokens, speed = _tokens(data.documents, encoder)
    new, asked = found.libraries - found.built, counted(n, "questions")
    lines = [
        *_many(study, n),
        f"{study.spec.study}: {counted(found.trials, 'trials')} ({study.spec.search.use}) of {asked} each",
        *([f"  {found.invalid:,} of them are no pipelines, and will be counted as failed"] if found.invalid else []),
        "shared by all trials, and computed once:",
        f"  segmentations with their vectors  {found.libraries:,}" + _had(found.built),
        f"  indexes                           {found.indexes:,}",
        f"  retrieved lists                   {found.lists:,} x {asked}",
        f"  refined lists                     {found.refined:,} x {n:,}",
        *([f"  answers                           {found.answers:,} x {n:,}"] if found.answers else []),
        f"tokens to encode: about {tokens * new:,.0f} ({tokens:,.0f} in the documents, each segmentation once)",
    ]
    if found.written:
        size = found.kept * _chunk_tokens(study) + 100
        lines.append(f"tokens a model reads: about {found.written * n * size:,.0f}, in {found.written * n:,} prompts")
    lines.append(f"time to encode: about {_clock(tokens * new / speed)} at {speed:,.0f} tokens a second, one process")
    return "\n".join(lines)


def counts(study: Study, data: StudyData, cache: Path) -> Counts:
    """What the configurations of a study come to."""
    libraries = Libraries(cache, data.documents, Stages(cache))
    specs: dict[str, PipelineSpec] = {}
    invalid = 0
    for resolved in _configurations(study):
        try:
            spec = study.pipeline(resolved)
            specs[data.name(spec)] = spec
        except ConfigError:
            invalid += 1
    made = [(spec, libraries.corpus_key(spec)) for spec in specs.values()]
    keys = {corpus.partition("-")[0] for _, corpus in made}
    lists = {(corpus, r.fingerprint, s.candidates) for s, corpus in made for r in s.retrieve}
    refined = {key for s, corpus in made for key in _chains(corpus, s)}
    answers = {(_upstream(corpus, s), s.generate.fingerprint): s for s, corpus in made} if _answers(study) else {}
    written = [s for s in answers.values() if _is_model(s.generate)]
    return Counts(
        len(specs) + invalid, invalid, len(keys),
        sum((cache / "libraries" / key / "done.json").exists() for key in keys),
        len({corpus for _, corpus in made}), len(lists), len(refined), len(answers), len(written),
        sum(s.kept for s in written) / max(1, len(written)),
    )  # fmt: skip


def _configurations(study: Study) -> Iterator[Resolved]:
    grid = study.spec.search.use == "grid"
    if grid and study.space.most <= LOOKED:
        yield from study.grid[: study.spec.search.trials]
        return
    rng, trials = random.Random(study.spec.search.seed), min(LOOKED, _trials(study))
    drawn = (study.draw(rng) for _ in range(100 * trials))
    yield from islice(filter(study.allows, drawn), trials)


def _trials(study: Study) -> int:
    """How many trials there are at most."""
    limit = study.spec.search.trials
    if study.spec.search.use == "grid":
        return min(study.space.most, limit or study.space.most)
    return limit or TRIALS


def _many(study: Study, questions: int) -> Iterator[str]:
    if (trials := _trials(study)) > LOOKED:
        asked = counted(questions, "questions")
        yield f"up to {trials:,} trials of {asked} each; what follows is of {LOOKED} drawn by chance:"
    if trials > MOST:
        yield f"a grid of more than {MOST:,} is not run; set search: {{use: tpe, trials: 100}}"


def _upstream(corpus: str, spec: PipelineSpec) -> str:
    """What decides the passages before an answer."""
    stages = [*spec.retrieve, spec.fuser, *spec.refine, *([spec.feedback] if spec.feedback else [])]
    return fingerprint([corpus, spec.candidates, spec.kept, *(s.fingerprint for s in stages)])


def _chains(corpus: str, spec: PipelineSpec) -> Iterator[str]:
    """One name for every refiner with all that comes before it."""
    before = [corpus, spec.candidates, spec.fuser.fingerprint, *(r.fingerprint for r in spec.retrieve)]
    for refiner in spec.refine:
        before.append(refiner.fingerprint)
        yield fingerprint(before)


def _answers(study: Study) -> bool:
    from fovea.pipelines.evaluation.metrics.metric import metric

    return any("answer" in metric(name).needs for name in study.metrics)


def _is_model(generator: Generator) -> bool:
    return "model" in type(generator).model_fields


def _tokens(documents: Documents, encoder: Encoder) -> tuple[float, float]:
    """Tokens of all documents, from the ratio in a sample, and tokens encoded in a second."""
    characters, texts = 0, []
    for text in _texts(documents):
        characters += len(text)
        texts += [text[at : at + LENGTH] for at in range(0, len(text), max(LENGTH, len(text) // 4))]
    sample = [t for t in texts[:: max(1, len(texts) // SAMPLE)] if t.strip()][:SAMPLE] or ["nothing"]
    read = sum(encoder.tokenizer.count(text) for text in sample)
    encoder.encode(sample[:2])
    began = time.perf_counter()
    encoder.encode(sample)
    return characters * read / max(1, sum(map(len, sample))), read / max(1e-9, time.perf_counter() - began)


def _texts(documents: Documents) -> Iterator[str]:
    yield from (document.text for document in documents.given)
    loaders = Pipeline(base=documents.base).loaders
    for path in Selection([documents.base / p for p in documents.paths], loaders).files():
        yield from (document.text for document in loader_for(path, loaders).load(path))


def _chunk_tokens(study: Study) -> float:
    limits = [getattr(s, "max_tokens", None) for s in study.pipeline(study.baseline).segment]
    return float(next((limit for limit in reversed(limits) if limit), 200))


def _had(built: int) -> str:
    return f" ({built:,} in the cache)" if built else ""


def _clock(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
