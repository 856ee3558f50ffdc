"""Does the extractive reader quote the sentence that answers, and does citing tell true statements from false ones?

    python benchmarks/reader.py --data ../shared/data/qa/xquad_en [--half second] [--only absent counting] [--json]

`--data` holds a file in SQuAD's format: paragraphs, questions, and where in its paragraph each answer stands. A
paragraph is a document of one chunk; all methods read the same `k` dense hits. The reader and the thresholds of citing
were designed on the first half of the articles; reported is the second.

quoting: the share of questions for which a quoted span holds the answer's own characters; beside the reader, the first
sentence of the best hit, and the sentence of highest cosine and of highest BM25 among those of the hits.
no answer: the share of questions that get one, and the share refused when the question's whole article is taken away.
absent: of the questions with a name inside, how many are answered, and refused once the name is nobody's; of those with
a year ("in 1975"), the same once it is a year of which no paragraph speaks.
counting: the sentence that answers, with another number of its paragraph: cited; the statement of the right one: not.
citing: a statement is made of each question with its answer in place of the question word ("true"), with another answer
of the same paragraph ("swapped"), and with one that only another paragraph of the article has ("made up").
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.passages import Passage, read
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.generators.extractive import ExtractiveGenerator
from fovea.rag.encoder import Encoder, Role, Tokenizer
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.sentences import sentences
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.tokens import words
from fovea.rag.types import Answer, Document, Hit, Query, Span

ASKS = re.compile(r"\b(how (?:many|much|long|old|far|often)|what|which|who|whom|whose|where|when|why|how)\b", re.I)

DIGITS = re.compile(r"\d[\d,.]*(?<![,.])")


@dataclass(frozen=True)
class Asked:
    """A question, the paragraph that answers it, where, and the article."""

    text: str
    answer: str
    document: str
    span: Span
    article: int

    def statement(self, answer: str) -> str:
        """The question as a statement: the answer in place of the question word, or after it."""
        bare = self.text.rstrip("? ")
        said, n = ASKS.subn(lambda _: answer, bare, count=1)
        return f"{said}." if n else f"{bare}: {answer}."


class Remembering(Encoder):
    """An encoder that encodes no text twice: the methods share sentences. Not used where seconds are measured."""

    name: ClassVar[str] = "remembering"
    inner: Encoder

    @cached_property
    def known(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def window(self) -> int | None:
        return self.inner.window

    @property
    def tokenizer(self) -> Tokenizer:
        return self.inner.tokenizer

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        if new := [t for t in dict.fromkeys(texts) if (role, t) not in self.known]:
            self.known.update({(role, t): v for t, v in zip(new, self.inner.encode(new, role))})
        return np.array([self.known[role, t] for t in texts], np.float32).reshape(len(texts), self.dim)


def load(folder: Path) -> tuple[dict[str, str], list[Asked]]:
    files = sorted(folder.glob("*.json"))
    if len(files) != 1:
        raise SystemExit(f"{folder} must hold one JSON file in SQuAD's format, found {len(files)}")
    texts: dict[str, str] = {}
    asked = []
    for a, article in enumerate(json.loads(files[0].read_text("utf-8"))["data"]):
        for p, paragraph in enumerate(article["paragraphs"]):
            name = f"{a}/{p}"
            texts[name] = paragraph["context"]
            for q in paragraph["qas"]:
                answer, start = q["answers"][0]["text"], q["answers"][0]["answer_start"]
                asked.append(Asked(q["question"], answer, name, Span(start, start + len(answer)), a))
    return texts, asked


class Library:
    """The paragraphs, dense hits over them, and BM25 over all their sentences."""

    def __init__(self, texts: dict[str, str], encoder: Encoder, k: int) -> None:
        self.k, self.corpus = k, MemoryCorpus.of(texts, encoder)
        whole = [Hit(c, 1.0) for c in self.corpus.chunks()]
        spans = [p.document.chunk(p.span) for p in read(whole, self.corpus)]
        documents = [Document(name, text, source=name) for name, text in texts.items()]
        self.sentences = MemoryCorpus(documents, spans, encoder)

    def hits(self, asked: Asked, *, without_article: bool = False) -> list[Hit]:
        found = self.corpus.nearest(self.corpus.embed(asked.text), len(list(self.corpus.chunks())))
        away = f"{asked.article}/"
        return [h for h in found if not (without_article and h.chunk.document_id.startswith(away))][: self.k]

    def first(self, asked: Asked, hits: list[Hit], n: int) -> list[Passage]:
        return read(hits, self.corpus)[:n]

    def cosine(self, asked: Asked, hits: list[Hit], n: int) -> list[Passage]:
        passages = read(hits, self.corpus)
        scores = self.corpus.encoder.encode([p.text for p in passages]) @ self.corpus.embed(asked.text)
        return [passages[i] for i in np.argsort(-scores, kind="stable")[:n]]

    def bm25(self, asked: Asked, hits: list[Hit], n: int) -> list[Passage]:
        passages = {(p.document.id, p.span): p for p in read(hits, self.corpus)}
        found = self.sentences.match(asked.text, len(self.sentences._chunks))
        keys = ((h.chunk.document_id, Span(h.chunk.start, h.chunk.end)) for h in found)
        return [passages[key] for key in keys if key in passages][:n]


def reader(n: int, **settings: float) -> Callable[[Library, Asked, list[Hit]], list[Passage]]:
    made = ExtractiveGenerator(max_sentences=n, **settings)
    return lambda library, asked, hits: made.choose(asked.text, hits, library.corpus)


def holds(quoted: Sequence[tuple[str, int, int]], asked: Asked) -> bool:
    return any(d == asked.document and s <= asked.span.start and asked.span.end <= e for d, s, e in quoted)


def places(passages: Sequence[Passage]) -> list[tuple[str, int, int]]:
    return [(p.document.id, p.span.start, p.span.end) for p in passages]


def quoting(library: Library, asked: Sequence[Asked], data: str) -> Iterator[Row]:
    methods = {
        "extractive (default)": ExtractiveGenerator().max_sentences,
        "extractive, 1 sentence": 1,
        "extractive, 3 sentences": 3,
        **{f"{name}, {n} sentence{'s' * (n > 1)}": n for n in (1, 3) for name in ("cosine", "bm25", "first")},
    }
    hits = [library.hits(a) for a in asked]
    for method, n in methods.items():
        kind = method.split(",")[0]
        if kind == "extractive (default)":
            choose = reader(n)
        elif kind == "extractive":
            choose = reader(n, floor=0.0, share=0.0)
        else:
            choose = getattr(Library, kind)
        took = [
            choose(library, a, h) if kind.startswith("extractive") else choose(library, a, h, n)
            for a, h in zip(asked, hits)
        ]
        settings = {"k": library.k, "max_sentences": n}
        for metric, values in (
            ("holds the answer", [holds(places(t), a) for t, a in zip(took, asked)]),
            ("sentences", [len(t) for t in took]),
            ("characters", [sum(len(p.text) for p in t) for t in took]),
        ):
            mean, low, high = interval(np.array(values, float))
            yield Row("reader", data, method, metric, mean, low, high, len(values), settings=settings)
    reach = [holds([(h.chunk.document_id, h.chunk.start, h.chunk.end) for h in hs], a) for hs, a in zip(hits, asked)]
    mean, low, high = interval(np.array(reach, float))
    yield Row("reader", data, "the hits hold it", "holds the answer", mean, low, high, len(reach))


def refusing(library: Library, asked: Sequence[Asked], data: str) -> Iterator[Row]:
    made = ExtractiveGenerator()
    for metric, without in (("answers", False), ("refuses without the article", True)):
        found = [bool(made.choose(a.text, library.hits(a, without_article=without), library.corpus)) for a in asked]
        mean, low, high = interval(np.array(found if not without else [not f for f in found], float))
        yield Row("reader", data, "extractive (default)", metric, mean, low, high, len(found))


ABSENT = "Zorvandel"
"""Takes the place of a name; no data of ours has it."""


def named(asked: Sequence[Asked]) -> Iterator[tuple[Asked, str]]:
    """Questions with a name of one or more capitalised words inside, and the same with the name of nobody."""
    for a in asked:
        if found := re.search(r"(?<=[a-z] )[A-Z][a-z]+(?: [A-Z][a-z]+)*", a.text):
            yield a, a.text[: found.start()] + ABSENT + a.text[found.end() :]


def dated(asked: Sequence[Asked], texts: dict[str, str]) -> Iterator[tuple[Asked, str]]:
    """Questions of what was in a year, and the same with a year that no text holds."""
    whole = " ".join(texts.values())
    other = next(str(year) for year in range(1907, 1000, -1) if f"{year}"[:3] not in whole)
    for a in asked:
        if found := re.search(r"(?<=\bin )[12]\d{3}\b", a.text):
            yield a, a.text[: found.start()] + other + a.text[found.end() :]


def absent(library: Library, asked: Sequence[Asked], texts: dict[str, str], data: str) -> Iterator[Row]:
    """Questions of a name or year: answered, answered by the sentence that holds the answer, refused for another."""
    yield from swapped(library, list(named(asked)), "name", "nobody", data)
    yield from swapped(library, list(dated(asked, texts)), "year", "no text", data)


def swapped(library: Library, pairs: list[tuple[Asked, str]], thing: str, whose: str, data: str) -> Iterator[Row]:
    made = ExtractiveGenerator()
    own = [made.choose(a.text, library.hits(a), library.corpus) for a, _ in pairs]
    nobody = [replace(a, text=text) for a, text in pairs]
    others = [made.choose(a.text, library.hits(a), library.corpus) for a in nobody]
    for metric, values in (
        (f"answers, a {thing} in the question", [bool(o) for o in own]),
        (f"holds the answer, a {thing} in the question", [holds(places(o), a) for o, (a, _) in zip(own, pairs)]),
        (f"refuses the {thing} of {whose}", [not s for s in others]),
    ):
        mean, low, high = interval(np.array(values, float))
        yield Row("reader", data, "extractive (default)", metric, mean, low, high, len(values))


def counting(library: Library, asked: Sequence[Asked], texts: dict[str, str], data: str) -> Iterator[Row]:
    """The sentence that answers, and the same with one of its numbers exchanged for another of its paragraph."""
    right, wrong = [], []
    for a in asked:
        text = texts[a.document]
        spans = [s for s in sentences(text) if s.start <= a.span.start and a.span.end <= s.end]
        own = DIGITS.search(a.answer)
        if not own or not spans:
            continue
        hits, at = library.hits(a), a.span.start + own.start() - spans[0].start
        said = text[spans[0].start : spans[0].end]
        for other in dict.fromkeys(n for n in DIGITS.findall(text) if n != own[0]):
            planted = said[:at] + other + said[at + len(own[0]) :]
            if other not in said[at : at + 40] and planted not in text:
                wrong.append(any(s.citations for s in cite(planted, hits, library.corpus, question=a.text).sentences))
                break
        stated = cite(a.statement(a.answer), hits, library.corpus, question=a.text)
        right.append(not all(s.supported for s in stated.sentences))
    for metric, values in (("another number: cited", wrong), ("right number: left uncited", right)):
        mean, low, high = interval(np.array(values, float))
        yield Row("reader", data, "cite", metric, mean, low, high, len(values), settings={"k": library.k})


def others(asked: Asked, everything: Sequence[Asked], texts: dict[str, str], *, swapped: bool) -> str | None:
    """A wrong answer of the same sort (with or without digits): of this paragraph, or found in another only."""

    def fits(other: Asked) -> bool:
        here = other.document == asked.document
        a, b = asked.answer.lower(), other.answer.lower()
        sort = any(c.isdigit() for c in a) == any(c.isdigit() for c in b)
        apart = a not in b and b not in a and b not in asked.text.lower() and bool(words(b))
        elsewhere = other.article == asked.article and b not in texts[asked.document].lower()
        return sort and apart and (here if swapped else elsewhere)

    return next((other.answer for other in everything if fits(other)), None)


def citing(library: Library, asked: Sequence[Asked], everything: Sequence[Asked], texts: dict[str, str],
           data: str) -> Iterator[Row]:  # fmt: skip
    hits = [library.hits(a) for a in asked]

    def cited(a: Asked, h: list[Hit], answer: str) -> Answer:
        return cite(a.statement(answer), h, library.corpus, question=a.text)

    def supported(answer: Answer) -> bool:
        return all(s.supported for s in answer.sentences)

    true = [cited(a, h, a.answer) for a, h in zip(asked, hits)]
    quotes = [[(c.document_id, c.start, c.end) for c in answer.citations] for answer in true]
    columns: dict[str, list[bool]] = {
        "true: supported": [supported(answer) for answer in true],
        "true: supported by the answer's sentence": [
            supported(answer) and holds(q, a) for answer, q, a in zip(true, quotes, asked)
        ],
    }
    for name, swapped in (("made up", False), ("swapped", True)):
        wrong = [(a, h, others(a, everything, texts, swapped=swapped)) for a, h in zip(asked, hits)]
        columns[f"{name}: supported"] = [supported(cited(a, h, answer)) for a, h, answer in wrong if answer]
    for metric, values in columns.items():
        mean, low, high = interval(np.array(values, float))
        yield Row("reader", data, "cite", metric, mean, low, high, len(values), settings={"k": library.k})


def seconds(library: Library, encoder: Encoder, asked: Sequence[Asked], data: str) -> Iterator[Row]:
    """Wall seconds from hits to a cited answer, nothing remembered."""
    made, taken = ExtractiveGenerator(), []
    memory, library.corpus.encoder = library.corpus.encoder, encoder
    for a in asked[:40]:
        hits = library.hits(a)
        began = time.perf_counter()
        made.finish("".join(made.stream(Query(a.text), hits, library.corpus)), Query(a.text), hits, library.corpus)
        taken.append(time.perf_counter() - began)
    library.corpus.encoder = memory
    for metric, share in (("p50 s", 0.5), ("p95 s", 0.95)):
        yield Row("reader", data, "extractive (default)", metric, float(np.quantile(taken, share)), n=len(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--half", choices=["first", "second", "both"], default="second")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=["quoting", "refusing", "absent", "citing", "counting", "time"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    texts, everything = load(args.data)
    middle = (max(a.article for a in everything) + 1) / 2
    kept = {"first": lambda n: n < middle, "second": lambda n: n >= middle, "both": lambda _: True}[args.half]
    asked = [a for a in everything if kept(a.article)]
    encoder = SentenceTransformerEncoder()
    library = Library(texts, Remembering(inner=encoder), args.k)
    data = f"{args.data.name}, {args.half} half"
    parts = {
        "quoting": lambda: quoting(library, asked, data),
        "refusing": lambda: refusing(library, asked, data),
        "absent": lambda: absent(library, asked, texts, data),
        "citing": lambda: citing(library, asked, everything, texts, f"{data}, statements"),
        "counting": lambda: counting(library, asked, texts, f"{data}, numbers"),
        "time": lambda: seconds(library, encoder, asked, f"{data}, time"),
    }
    rows = [row for name, part in parts.items() if name in (args.only or parts) for row in part()]
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
