"""Our judged metrics beside those of RAGAS, both asking one model: does the same judgement give the same number?

    pip install -e . ragas==0.4.3      # in an environment of its own
    python benchmarks/ragas_agreement.py --data xquad.en.json [--limit 60] [--json]

The model is a rule (a statement is supported if the evidence holds four fifths of its words), which reads the prompts
of both. So what is compared is everything but the model: how statements are counted, what is done with several
passages, with refusals and with nothing to measure. For each question of SQuAD's form there are four answers: a
sentence of the reference, the same spoilt and followed by another, that other alone, and a refusal.

RAGAS 0.4.3 imports a class for Vertex AI that langchain-community has dropped since; a name in its place lets it load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models.chat_models import SimpleChatModel

from fovea.pipelines.answering.refusals import NO_ANSWER, is_refusal
from fovea.pipelines.evaluation.case import Case, Texts
from fovea.pipelines.evaluation.gold import Question
from fovea.pipelines.evaluation.judging import Judging
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.evaluation.missing import Missing
from fovea.pipelines.evaluation.questions import read_questions
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.replies import Replies
from fovea.rag.sentences import sentences
from fovea.rag.stems import stems
from fovea.rag.types import Answer, Document, Hit, Span

METRICS = (
    "faithfulness", "answer_correctness", "answer_relevancy", "answer_similarity", "context_precision", "context_recall"
)  # fmt: skip
HELD = 0.8


def held(statement: str, evidence: str) -> int:
    said = stems(statement)
    return int(bool(said) and len(said & stems(evidence)) >= HELD * len(said))


def split(text: str) -> list[str]:
    return [] if is_refusal(text) else [text[s.start : s.end] for s in sentences(text)]


def asked(answer: str) -> str:
    return f"What of {' '.join(answer.split()[:4])}?"


class Rule(SimpleChatModel):
    """Replies in JSON to our prompts and to those of RAGAS."""

    @property
    def _llm_type(self) -> str:
        return "rule"

    def _call(self, messages: list[Any], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        if len(messages) > 1:
            return json.dumps(self.ours(json.loads(messages[1].content), messages[0].content))
        prompt = messages[0].content
        told = json.loads(prompt[prompt.rindex("input: ") + 7 : prompt.rindex("Output:")])
        return json.dumps(self.theirs(told))

    def ours(self, told: dict[str, Any], instruction: str) -> dict[str, Any]:
        if "statements" in told:
            return {"verdicts": [held(s, "\n".join(told["passages"])) for s in told["statements"]]}
        if "passage" in told:
            return {"verdicts": [int(any(held(r, told["passage"]) for r in told["references"]))]}
        if "reference" in told:
            answer, right = told["answer"], told["reference"]
            return {
                "answer": [held(a, " ".join(right)) for a in answer],
                "reference": [held(r, " ".join(answer)) for r in right],
            }
        if "question" in told:
            return {"statements": split(told["answer"])}
        refused = int(is_refusal(told["answer"]))
        return {"questions": [asked(told["answer"])] * 3, "noncommittal": [refused] * 3}

    def theirs(self, told: dict[str, Any]) -> dict[str, Any]:
        why = "by the rule"
        if "statements" in told:
            rows = [{"statement": s, "reason": why, "verdict": held(s, told["context"])} for s in told["statements"]]
            return {"statements": rows}
        if "ground_truth" in told:
            answer, right = told["answer"], told["ground_truth"]
            told_of = {s: {"statement": s, "reason": why} for s in [*answer, *right]}
            return {
                "TP": [told_of[s] for s in answer if held(s, " ".join(right))],
                "FP": [told_of[s] for s in answer if not held(s, " ".join(right))],
                "FN": [told_of[s] for s in right if not held(s, " ".join(answer))],
            }
        if "response" in told:
            return {"question": asked(told["response"]), "noncommittal": int(is_refusal(told["response"]))}
        if "context" in told and "answer" in told and "question" in told:
            verdicts = {s: held(s, told["context"]) for s in split(told["answer"])}
            rows = [{"statement": s, "reason": why, "attributed": verdict} for s, verdict in verdicts.items()]
            return {"reason": why, "verdict": held(told["answer"], told["context"]), "classifications": rows}
        return {"statements": split(told["answer"])}


class Hashed(Embeddings):
    """Our hashing encoder as LangChain's."""

    encoder = HashEncoder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def cases(path: Path, limit: int) -> list[tuple[str, str, str, list[str]]]:
    """Question, reference, answer and passages."""
    found, rng = read_questions(path), random.Random(0)
    texts = {d.id: d.text.split("\n\n") for d in found.documents}
    every = [p for paragraphs in texts.values() for p in paragraphs]
    made = []
    for question in rng.sample(found.questions, limit):
        [gold], document = question.spans, question.spans[0].document
        paragraph = next(p for p in texts[document] if question.answers[0] in p)
        sentence = next((s for s in split(paragraph) if gold.text in s), paragraph)
        passages = rng.sample([paragraph, *rng.sample(every, 2)], 3)
        reference = f"{sentence} {rng.choice(split(rng.choice([paragraph, rng.choice(every)])))}"
        other = rng.choice(split(rng.choice(every)))
        wrong = sentence.replace(gold.text, "nobody knows whom or what exactly")
        for answer in (sentence, f"{wrong} {other}", other, NO_ANSWER):
            made.append((question.text, reference, answer, passages))
    return made


def ours(rows: list[tuple[str, str, str, list[str]]], folder: Path) -> dict[str, list[float | None]]:
    judging, texts = Judging.of(Rule()), Texts(HashEncoder())
    judging._replies = Replies(folder / "replies.sqlite")
    found: dict[str, list[float | None]] = {name: [] for name in METRICS}
    for question, reference, answer, passages in rows:
        hits = [Hit(Document(str(n), p).chunk(Span(0, len(p))), 1.0) for n, p in enumerate(passages)]
        case = Case(Question("q", question, answers=(reference,)), hits, texts, Answer(answer), judging=judging)
        for name in METRICS:
            try:
                found[name].append(metric(name).score(case))
            except Missing:
                found[name].append(None)
    return found


async def theirs(rows: list[tuple[str, str, str, list[str]]]) -> dict[str, list[float | None]]:
    for module, name in (("chat_models", "ChatVertexAI"), ("llms", "VertexAI")):
        stub = sys.modules.setdefault(f"langchain_community.{module}.vertexai", ModuleType("vertexai"))
        stub.__dict__.setdefault(name, type(name, (), {}))
    from ragas import metrics
    from ragas.dataset_schema import SingleTurnSample
    from ragas.embeddings import LangchainEmbeddingsWrapper
    from ragas.llms import LangchainLLMWrapper
    from ragas.run_config import RunConfig

    llm, embeddings = LangchainLLMWrapper(Rule()), LangchainEmbeddingsWrapper(Hashed())
    used = {
        "faithfulness": metrics.Faithfulness(), "answer_correctness": metrics.AnswerCorrectness(),
        "answer_relevancy": metrics.ResponseRelevancy(), "answer_similarity": metrics.SemanticSimilarity(),
        "context_precision": metrics.LLMContextPrecisionWithReference(), "context_recall": metrics.LLMContextRecall(),
    }  # fmt: skip
    for one in used.values():
        one.llm, one.embeddings = llm, embeddings
        one.init(RunConfig())
    found: dict[str, list[float | None]] = {name: [] for name in METRICS}
    for question, reference, answer, passages in rows:
        sample = SingleTurnSample(
            user_input=question, response=answer, reference=reference, retrieved_contexts=passages
        )
        for name, one in used.items():
            value = float(await one.single_turn_ascore(sample))
            found[name].append(None if math.isnan(value) else value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, data = cases(args.data, args.limit), args.data.stem
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        mine, spent = ours(rows, Path(folder)), time.perf_counter() - began
    began = time.perf_counter()
    peer, peers = asyncio.run(theirs(rows)), time.perf_counter() - began
    found = []
    for name in METRICS:
        both = [(a, b) for a, b in zip(mine[name], peer[name]) if a is not None and b is not None]
        measured = {
            "mean, fovea": sum(a for a, _ in both) / len(both), "mean, ragas": sum(b for _, b in both) / len(both),
            "largest difference": max(abs(a - b) for a, b in both),
            "one alone": float(sum((a is None) != (b is None) for a, b in zip(mine[name], peer[name]))),
            "neither": float(sum(a is None and b is None for a, b in zip(mine[name], peer[name]))),
        }  # fmt: skip
        found += [Row("ragas_agreement", data, name, what, value, n=len(both)) for what, value in measured.items()]
    found += [
        Row("ragas_agreement", data, who, "seconds", s, n=len(rows)) for who, s in (("fovea", spent), ("ragas", peers))
    ]
    print(show(found, as_json=args.json))


if __name__ == "__main__":
    main()
