"""Is a judge to be believed, and do the feedback stages pay? Run it before you rely on either.

    python benchmarks/feedback.py --data ../shared/data [--reranker reranker] [--sets timeqa-dev xquad] [--json]

"judge auc": how well the judge's grade of an answer made from the first k passages tells whether those held what
answers: 1 is perfect, 0.5 a coin. "to curve": the share of the evidence in the passages that the stage answers from,
less that of a fixed number of the best of as many tokens, in mean, with 95 % bootstrap intervals. Answers are those of
the extractive generator. Without `--reranker`, probabilities are those of `selection.py`. A sample of the questions is
drawn with a fixed seed, since self-feedback reads every answer.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fusion import covered
from retrieval_sets import SETS, RetrievalSet
from selection import Asked, Curve, ask, learnt, means, timeqa

from fovea.pipelines.answering.rounds import Asked as Question
from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.feedback.corrective import Corrective
from fovea.pipelines.feedback.self_feedback import SelfFeedback
from fovea.pipelines.judges.support import SupportJudge
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import registry
from fovea.rag.encoder import Encoder
from fovea.rag.feedback import Feedback
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.retrieval import Refiner
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Answer, Chunk, Hit

STAGES: dict[str, tuple[Feedback | None, int]] = {
    "self_feedback, from 1": (SelfFeedback(judge=SupportJudge()), 1),
    "self_feedback, from 3": (SelfFeedback(judge=SupportJudge()), 3),
    "corrective, k 5": (Corrective(), 5),
    "corrective without strips, k 5": (Corrective(strip=None), 5),
}


def main() -> None:
    sets = {**SETS, "timeqa-dev": partial(timeqa, part="dev"), "timeqa-test": partial(timeqa, part="test")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=sets, default=["timeqa-dev", "xquad", "msmarco", "spans-200"])
    parser.add_argument("--reranker", help="a refiner that gives probabilities, by name")
    parser.add_argument("--sample", type=int, default=100, help="questions of each set")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger("fovea").setLevel(logging.ERROR)
    behind: Encoder = registry.find("encoder", "sentence_transformer")()  # type: ignore[assignment]
    encoder = RememberingEncoder.of(behind, FileMemory(args.cache, behind) if args.cache else Kept())
    if args.reranker:
        reranker: Refiner = registry.find("refiner", args.reranker)()  # type: ignore[assignment]
    else:
        reranker = learnt(timeqa(args.data, encoder, part="train"), encoder, 50)
    rows: list[Row] = []
    for name in args.sets:
        data = sampled(sets[name](args.data, encoder), args.sample)
        rows += measure(data, encoder, reranker, args.reranker or "logistic")
    print(show(rows, as_json=args.json))


def measure(data: RetrievalSet, encoder: Encoder, reranker: Refiner, named: str) -> Iterator[Row]:
    corpus = MemoryCorpus(data.documents, data.chunks, encoder)
    corpus.prepare(data.questions)
    asked = list(ask(data, corpus, reranker, 50, None))
    curve = Curve.of(asked)
    for name, (stage, k) in STAGES.items():
        if data.spans is None and isinstance(stage, Corrective) and stage.strip is not None:
            continue  # Which sentences of a passage answer is not known.
        spec = PipelineSpec(encoder=encoder, refine=[reranker], feedback=stage, k=k)
        of = partial(Row, "feedback", data.name, name, n=len(asked), settings={"k": k, "reranker": named})
        yield from of_stage(of, spec, data, corpus, asked, curve)


def of_stage(
    of: Any, spec: PipelineSpec, data: RetrievalSet, corpus: MemoryCorpus, asked: list[Asked], curve: Curve
) -> Iterator[Row]:
    tokens, gain, grades, held, did = [], [], [], [], Counter[str]()
    count, k = corpus.encoder.tokenizer.count, spec.kept
    for i, one in enumerate(asked):
        question = Question(spec, one.query, k, corpus, trace := Trace())
        if isinstance(spec.feedback, SelfFeedback):
            *_, answer = question.drafted()
            assert isinstance(answer, Answer)
            hits = list(answer.hits)
            rounds = next(s for s in trace.stages if s.name == "feedback self_feedback").notes["rounds"]
            grades.append(rounds[0]["grade"])
            held.append(one.gain[:k].sum() > 1 - 1e-9)
            did[f"{len(rounds)} rounds"] += 1
        else:
            hits = question.passages()
            did[next(s for s in trace.stages if s.name == "feedback corrective").notes["action"]] += 1
        tokens.append(sum(count(h.chunk.text) for h in hits))
        gain.append(evidence(data, i, [h.chunk for h in hits]))
    yield of(metric="tokens", value=float(np.mean(tokens)))
    yield from means(of, {"evidence": np.array(gain), "to curve": np.array(gain) - curve.at(float(np.mean(tokens)))})
    if grades:
        yield of(metric="judge auc", value=auc(np.array(grades), np.array(held)))
    for what, times in sorted(did.items()):
        yield of(metric=what, value=times / len(asked))


def evidence(data: RetrievalSet, i: int, chunks: list[Chunk]) -> float:
    """The share of the answering characters in the chunks, or of the answering passages."""
    if data.spans is not None:
        return covered([Hit(c, 0.0) for c in chunks], data.spans[i])
    return len({c.id for c in chunks} & data.gold[i]) / len(data.gold[i])


def auc(scores: np.ndarray, held: np.ndarray) -> float | None:
    """How often an answer with the evidence is graded over one without; ties count half. None if all are alike."""
    good, bad = scores[held], scores[~held]
    if not len(good) or not len(bad):
        return None
    return float(((good[:, None] > bad) + (good[:, None] == bad) / 2).mean())


def sampled(data: RetrievalSet, size: int) -> RetrievalSet:
    """`size` of the questions, drawn with a fixed seed."""
    chosen = np.random.default_rng(0).permutation(len(data.questions))[:size]
    data.questions, data.gold = [data.questions[i] for i in chosen], [data.gold[i] for i in chosen]
    data.spans = data.spans and [data.spans[i] for i in chosen]
    return data


if __name__ == "__main__":
    main()
