"""How often does citing let a wrong number pass, and leave a right sentence uncited? On answers of a real model.

    python -m benchmarks.cited_numbers --data ../shared/data/qa/xquad_en --model smollm2 --answers FILE
        [--half second] [--questions 60] [--k 2] [--show] [--json]

`--data` holds a file in SQuAD's format. Asked are questions whose answer holds a number and at most `WORDS` words,
evenly spaced over the half; the model reads the paragraph that answers and the `k - 1` behind it in its article. What a
model answered is kept in `--answers`, a line of JSON each, and not asked again. Citing was designed on the first half
of the articles; reported is the second.

Each sentence of an answer that holds a number which the question does not is judged by rule, not by citing's own:

- right: it holds each number of the answer that is known; the sentence of the document where that stands (the gold
  sentence) holds all of its numbers; and each counts the same there: a telling word among the two behind the number in
  the answer stands within `NEAR` words of the number in the gold sentence, or in the question, or there is none.
- wrong: a number stands in no passage; or one has another thing than in the gold sentence, which knows that thing by
  another number; or it answers the question (half of its telling words, or it is of fewer than four) without the known
  number; or it says "at least" where the gold sentence says "at most", or the reverse.
- the rest (a sentence of a passage word for word, a true aside, a paraphrase of what is counted) is not judged.

Printed are "wrong: cited" and "right: left uncited" with numbers compared alone, with what they count, with their
bounds too, and with their places too, which is citing as it is. `--show` lists the judged sentences, so that the rule
can be checked by eye.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.reader import Asked, Remembering, load
from fovea.pipelines.answering import claims
from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.quantities import numbers
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.rag.corpus import Corpus
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.sentences import sentences
from fovea.rag.stems import stems
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Document, Hit, Query, Span

WORDS, NEAR = 8, 4
TOKEN = re.compile(r"\d[\d.,]*(?<![.,])|[$€£¥%°]|[^\W\d_]+(?:['’][^\W\d_]+)?")
FLOORS = re.compile(r"\b(?:at least|no (?:less|fewer) than|not (?:less|fewer) than|minimum|more than|over)\b", re.I)
CEILINGS = re.compile(r"\b(?:at most|no more than|not more than|up to|maximum|less than|fewer than|under)\b", re.I)
METHODS = {
    "numbers alone": ["miscounted", "misbounded", "misplaced"],
    "what they count": ["misbounded", "misplaced"],
    "bounds": ["misplaced"],
    "places": [],
}
"""What each method leaves out of citing; the last leaves out nothing."""


@dataclass(frozen=True)
class Judged:
    """A sentence of an answer, what the rule says of it, and whether each method cites it."""

    text: str
    verdict: str
    cited: dict[str, bool]


def answers(asked: Sequence[Asked], hits: Sequence[list[Hit]], made: TransformersGenerator, kept: Path | None,
            corpus: Corpus) -> Iterator[str]:  # fmt: skip
    """What the model says to each question; from the file `kept` where it has been asked already."""
    known: dict[str, str] = {}
    if kept and kept.exists():
        known = {r["key"]: r["answer"] for r in map(json.loads, kept.read_text("utf-8").splitlines())}
    for a, found in zip(asked, hits):
        key = json.dumps([Path(made.model).name, made.max_new_tokens, a.text, [h.chunk.text for h in found]])
        if key not in known:
            known[key] = "".join(made.stream(Query(a.text), found, corpus))
            if kept:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, "answer": known[key]}, ensure_ascii=False) + "\n")
        yield known[key]


def judge(said: str, asked: Asked, gold: str, passages: str) -> str | None:
    """`right`, `wrong` or `other`; None for a sentence without a number of its own."""
    own = numbers(said) - numbers(asked.text)
    known = numbers(asked.answer)
    if not own:
        return None
    if own - numbers(passages):
        return "wrong"
    things = [_thing(said, gold, asked.text, number) for number in own]
    if "another" in things or _opposed(said, gold):
        return "wrong"
    if known <= numbers(said):
        return "right" if own <= numbers(gold) and "unknown" not in things else "other"
    question = stems(asked.text)
    if " ".join(said.split()) in " ".join(passages.split()):
        return "other"
    answering = 2 * len(stems(said) & question) >= len(question) or len(stems(said)) < 4
    return "wrong" if answering and not known & own else "other"


def _thing(said: str, gold: str, question: str, number: str) -> str:
    """Whether `number` counts the `same` in both, `another` thing, or what the gold sentence does not know."""
    wanted = {w for n in _places(said, number) for w in _telling(_words(said)[n + 1 : n + 3])}
    words = _words(gold)
    near = {w for n in _places(gold, number) for w in _telling(words[max(0, n - NEAR) : n + NEAR + 1])}
    if not wanted or wanted & (near | stems(question)):
        return "same"
    numbered = {w for n, word in enumerate(words) if numbers(word) for w in _telling(words[n + 1 : n + 3])}
    return "another" if wanted & numbered else "unknown"


def _words(text: str) -> list[str]:
    return [m[0] for m in TOKEN.finditer(text)]


def _places(text: str, number: str) -> list[int]:
    return [n for n, word in enumerate(_words(text)) if number in numbers(word)]


def _telling(words: Sequence[str]) -> set[str]:
    return {w for word in words if not numbers(word) for w in (stems(word) or ({word} & set("$€£¥%°")))}


def _opposed(said: str, gold: str) -> bool:
    low, high = bool(FLOORS.search(said)), bool(CEILINGS.search(said))
    gold_low, gold_high = bool(FLOORS.search(gold)), bool(CEILINGS.search(gold))
    return (low and not high and gold_high and not gold_low) or (high and not low and gold_low and not gold_high)


def judged(asked: Sequence[Asked], hits: Sequence[list[Hit]], said: Sequence[str], corpus: Corpus,
           texts: dict[str, str]) -> Iterator[tuple[Asked, Judged]]:  # fmt: skip
    for a, found, text in zip(asked, hits, said):
        gold, passages = gold_sentence(a, texts), "\n".join(h.chunk.text for h in found)
        cited: dict[str, dict[str, bool]] = {}
        for method, without in METHODS.items():
            with never(without):
                for s in cite(text, found, corpus, question=a.text).sentences:
                    cited.setdefault(s.text, {})[method] = bool(s.citations)
        for sentence, by in cited.items():
            if verdict := judge(sentence, a, gold, passages):
                yield a, Judged(sentence, verdict, by)


class never:
    """Functions of `claims` that say no, as if they were not there."""

    def __init__(self, names: Sequence[str]) -> None:
        self.patches = [patch.object(claims, name, lambda *_: False) for name in names]

    def __enter__(self) -> None:
        for p in self.patches:
            p.start()

    def __exit__(self, *_: Any) -> None:
        for p in self.patches:
            p.stop()


def gold_sentence(asked: Asked, texts: dict[str, str]) -> str:
    text = texts[asked.document]
    held = [s for s in sentences(text) if s.start < asked.span.end and asked.span.start < s.end]
    return text[held[0].start : held[-1].end] if held else asked.answer


def numeric(asked: Sequence[Asked]) -> list[Asked]:
    return [a for a in asked if numbers(a.answer) and len(a.answer.split()) <= WORDS]


def beside(document: str, texts: dict[str, str], corpus: Corpus, k: int) -> list[Hit]:
    """The paragraph and those behind it in its article, from the beginning again behind the last."""
    article = [name for name in texts if name.split("/")[0] == document.split("/")[0]]
    at = article.index(document)
    return [
        Hit(corpus.document(d).chunk(Span(0, len(texts[d]))), 1.0 - n / k)
        for n, d in enumerate(dict.fromkeys((article[at:] + article[:at])[:k]))
    ]


def rows(found: Sequence[Judged], data: str, model: str, settings: dict[str, Any]) -> Iterator[Row]:
    rates: dict[str, tuple[str, Callable[[bool], bool]]] = {
        "wrong: cited": ("wrong", bool),
        "right: left uncited": ("right", lambda cited: not cited),
    }
    for method in METHODS:
        for metric, (verdict, counts) in rates.items():
            values = [counts(j.cited[method]) for j in found if j.verdict == verdict]
            mean, low, high = interval(np.array(values, float)) if values else (None, None, None)
            yield Row(
                "cited_numbers", data, f"{model}, {method}", metric, mean, low, high, len(values), settings=settings
            )
    for verdict in ("right", "wrong", "other"):
        n = sum(j.verdict == verdict for j in found)
        yield Row(
            "cited_numbers", data, f"{model}, sentences judged", verdict, float(n), n=len(found), settings=settings
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["smollm2"])
    parser.add_argument("--answers", type=Path, help="where what the models said is kept")
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--questions", type=int, nargs="+", default=[60], help="how many, one number a model")
    parser.add_argument("--k", type=int, default=2)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    texts, everything = load(args.data)
    middle = (max(a.article for a in everything) + 1) / 2
    documents = [Document(name, text, source=name) for name, text in texts.items()]
    corpus = MemoryCorpus(documents, [], Remembering(inner=SentenceTransformerEncoder()))
    candidates = [a for a in numeric(everything) if (a.article < middle) == (args.half == "first")]
    printed: list[Row] = []
    for model, n in zip(args.model, args.questions, strict=True):
        n = min(n, len(candidates))
        asked = [candidates[i * len(candidates) // n] for i in range(n)]
        hits = [beside(a.document, texts, corpus, args.k) for a in asked]
        made = TransformersGenerator(model=model, max_new_tokens=48)
        found = list(judged(asked, hits, list(answers(asked, hits, made, args.answers, corpus)), corpus, texts))
        if args.show:
            for a, j in found:
                marks = " ".join(f"{int(c)}" for c in j.cited.values())
                print(f"{j.verdict:6} {marks}  {j.text!r}\n    {a.text} | {a.answer} | {gold_sentence(a, texts)!r}")
        settings = {"k": args.k, "questions": n, "max_new_tokens": made.max_new_tokens}
        printed += rows([j for _, j in found], f"{args.data.name}, {args.half} half", Path(model).name, settings)
    print(show(printed, as_json=args.json))


if __name__ == "__main__":
    main()
