"""Does a model's own attention find the evidence of what it said, where words and meaning do not? On its real answers.

    python -m benchmarks.attention_citing --data ../shared/data/qa/xquad_en --answers FILE
        [--model smollm2] [--said own] [--half second] [--questions 60] [--k 2] [--weights 0.3] [--timed 4] [--json]

`--data` holds a file in SQuAD's format. The model is asked every question of paragraphs drawn at random from one half
of the articles, with `k` passages: the paragraph that answers among those behind it in its article, in an order drawn
once a paragraph. What it said, and where its probed heads looked when prompt and answer were read once more
(`pipelines/answering/looks.py`), is kept in `--answers`, a line of JSON each, and not asked again. With `--said known`
nothing is generated: what is read and cited is the known answer, and a full stop.

An answer is right if it contains the answer that is known, in whatever case and spacing. Methods:

- words: citing by words, numbers and likeness (`cite`);
- attention alone: each sentence cites the sentence of the passages that got most of its attention, unchecked;
- both, weight w: `cite` with `looks`, which tries the sentences that got most, and puts those that pass in order by
  support + w * share of the attention.

"right: holds" is the share of right answers of which a cited span holds the known answer's own characters, "beyond
words" the paired difference; "wrong: cited" the share of the other answers that get any citation; "sentences cited" of
all sentences; "characters" the mean length of what an answer cites, where it cites. Weights were chosen on the first
half of the articles; reported is the second. `--timed` answers are made and looked at once more, nothing remembered.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.cited_numbers import beside
from benchmarks.reader import Asked, Remembering, holds, load
from fovea.attention_retrieval.probes import weights
from fovea.pipelines.answering import citing
from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.looks import looks
from fovea.pipelines.answering.probing import known
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.rag.causal_lm import load as load_lm
from fovea.rag.corpus import Corpus
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.look import Look
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Citation, Document, Hit, Query

LIMIT = 48
"""Tokens of an answer."""


@dataclass(frozen=True)
class Case:
    """A question, what the model said, and where it looked while it said each sentence."""

    asked: Asked
    hits: Sequence[Hit]
    said: str
    looks: Sequence[Look]

    @property
    def right(self) -> bool:
        return plain(self.asked.answer) in plain(self.said)


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


def passages(document: str, texts: dict[str, str], corpus: Corpus, k: int) -> list[Hit]:
    hits = beside(document, texts, corpus, k)
    random.Random(document).shuffle(hits)
    return hits


def drawn(everything: Sequence[Asked], half: str) -> list[Asked]:
    """All questions of a half, those of a paragraph together, paragraphs in an order drawn at random."""
    middle = (max(a.article for a in everything) + 1) / 2
    mine = [a for a in everything if (a.article < middle) == (half == "first")]
    order = list(dict.fromkeys(a.document for a in mine))
    random.Random(0).shuffle(order)
    return sorted(mine, key=lambda a: order.index(a.document))


def cases(asked: Sequence[Asked], model: str, own: bool, corpus: Corpus, kept: Path,
          hits: Callable[[str], list[Hit]]) -> Iterator[Case]:  # fmt: skip
    """From the file `kept` where the model has been asked; else asked, and written there."""
    told = {r["key"]: r for r in map(json.loads, kept.read_text("utf-8").splitlines())} if kept.exists() else {}
    for a in asked:
        found = hits(a.document)
        key = json.dumps([Path(model).name, LIMIT if own else "known", a.text, [h.chunk.text for h in found]])
        if key not in told:
            told[key] = {"key": key, **asking(model, a, found, corpus, "" if own else f"{a.answer}.")}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told[key], ensure_ascii=False) + "\n")
        yield Case(a, found, told[key]["answer"], [look(corpus, **each) for each in told[key]["looks"]])


def asking(model: str, asked: Asked, hits: Sequence[Hit], corpus: Corpus, said: str) -> dict[str, Any]:
    """The answer, the model's own where `said` is empty, and where each sentence of it looked."""
    lm = load_lm(model)
    layout = Layout.of(lm, Query(asked.text), hits, corpus=corpus)
    if not said:
        read = weights._read(lm, layout.ids[: layout.neutral(lm).start])
        said = "".join(lm.stream(layout.ids, LIMIT, cache=read)).strip()
    found = looks(lm, known(lm, model), layout, cite(said, hits, corpus, question=asked.text), corpus)[1:]
    places = [
        {"said": each.said, "start": each.start, "end": each.end, "passages": each.passages,
         "places": [[c.document_id, c.start, c.end, c.score] for c in each.sentences]}
        for each in found
    ]  # fmt: skip
    return {"answer": said, "looks": places}


def look(corpus: Corpus, said: str, start: int, end: int, passages: float, places: list[Any]) -> Look:
    quotes = (Citation(d, a, b, corpus.document(d).text[a:b], d, None, share) for d, a, b, share in places)
    return Look(said, start, end, passages, tuple(quotes), ())


METRICS = ("right: holds", "wrong: cited", "sentences cited", "characters")


def cited(case: Case, corpus: Corpus, weight: float | None) -> list[list[Citation]]:
    """What each sentence of the answer cites; without a weight by words alone."""
    with patch.object(citing, "LOOKED", weight or 0.0):
        looked = None if weight is None else lambda _: case.looks
        answer = cite(case.said, case.hits, corpus, question=case.asked.text, looks=looked)
    return [list(s.citations) for s in answer.sentences]


def methods(weights: Sequence[float]) -> dict[str, Callable[[Case, Corpus], list[list[Citation]]]]:
    return {
        "words": partial(cited, weight=None),
        "attention alone": lambda case, _: [list(each.sentences[:1]) for each in case.looks],
        **{f"both, weight {w:g}": partial(cited, weight=w) for w in weights},
    }


def measured(found: Sequence[Case], corpus: Corpus, weights: Sequence[float], data: str,
             settings: dict[str, Any]) -> Iterator[Row]:  # fmt: skip
    by_words: list[float] = []
    for method, cite_by in methods(weights).items():
        values: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for case in found:
            sentences = cite_by(case, corpus)
            places = {(c.document_id, c.start, c.end) for each in sentences for c in each}
            if case.right:
                values["right: holds"].append(holds(list(places), case.asked))
            else:
                values["wrong: cited"].append(bool(places))
            values["sentences cited"] += map(bool, sentences)
            values["characters"] += [sum(end - start for _, start, end in places)] * bool(places)
        by_words = by_words or values["right: holds"]
        values["beyond words"] = [a - b for a, b in zip(values["right: holds"], by_words, strict=True)]
        for metric, each in values.items():
            mean = interval(np.array(each, float), shares=metric in METRICS[:3]) if each else (None, None, None)
            yield Row("attention_citing", data, method, metric, *mean, n=len(each), settings=settings)


def timed(found: Sequence[Case], model: str, data: str, settings: dict[str, Any]) -> Iterator[Row]:
    """Processor seconds of an answer, of citing it by words, and of a look at it."""
    made, taken = TransformersGenerator(model=model, max_new_tokens=LIMIT), []
    for case in found:
        query, corpus = Query(case.asked.text), MemoryCorpus.of({h.chunk.document_id: h.chunk.text for h in case.hits},
                                                                SentenceTransformerEncoder())  # fmt: skip
        marks = [time.process_time()]
        said = "".join(made.stream(query, case.hits, corpus))
        marks.append(time.process_time())
        answer = made.finish(said, query, case.hits, corpus)
        marks.append(time.process_time())
        made.looks(query, answer, corpus)
        taken.append(np.diff([*marks, time.process_time()]))
    for method, seconds in zip(("the answer", "words", "the look"), np.median(taken, axis=0) if taken else ()):
        yield Row("attention_citing", data, method, "process s", float(seconds), n=len(taken), settings=settings)


def reading_once() -> Any:
    """Several questions of the same passages: what stands before a question is read for the first of them."""
    read = weights._read
    once = lru_cache(maxsize=1)(lambda lm, ids: read(lm, ids))
    return patch.object(weights, "_read", lambda lm, ids: deepcopy(once(lm, tuple(ids))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="where what the model said is kept")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--said", choices=["own", "known"], default="own")
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--k", type=int, default=2)
    parser.add_argument("--weights", type=float, nargs="+", default=[citing.LOOKED])
    parser.add_argument("--timed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    texts, everything = load(args.data)
    documents = [Document(name, text, source=name) for name, text in texts.items()]
    corpus = MemoryCorpus(documents, [], Remembering(inner=SentenceTransformerEncoder()))
    asked, found = drawn(everything, args.half)[: args.questions], []
    hits = partial(passages, texts=texts, corpus=corpus, k=args.k)
    with reading_once():
        for each in cases(asked, args.model, args.said == "own", corpus, args.answers, hits):
            found.append(each)
            right = sum(case.right for case in found)
            print(f"\r{len(found)} of {len(asked)}, {right} right", end="", file=sys.stderr, flush=True)
    settings = {"k": args.k, "questions": len(asked), "said": args.said, "model": Path(args.model).name}
    data = f"{args.data.name}, {args.half} half, {args.k} passages, {Path(args.model).name}, {args.said} answers"
    rows = [
        *measured(found, corpus, args.weights, data, settings),
        *timed(found[: args.timed], args.model, data, settings),
    ]
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
