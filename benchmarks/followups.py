"""Follow-up questions: is what answers them found with the conversation as with the full question?

    python benchmarks/followups.py --data ../shared/data [--split dev] [--cache FOLDER] [--json]

Of the questions of TimeQA and XQuAD, each of which is full as it stands, follow-ups are made by taking away what the
question before it, of the same document, has said. Nothing of `fovea.pipelines.conversation` is used to make them.

`time`     the two questions are the same but for their last words: "And" and what differs, with the preposition before
`name`     the question before is this one with the document's name changed for another document's: "What about NAME?"
`pronoun`  both share a run of capitalised words: it becomes he, she, it or they (whichever the document says most), or
           the possessive or object of that, if each stands where a pronoun can
`third`    `time` after a follow-up: three questions that are the same but for their last words, the second and third
           given by what differs
`same`     a question of the same document, as it is: it stands alone
`switch`   a question of another document, as it is: it stands alone

Between two questions stands what an extractive answer would say: the sentence of the passage that answers with most of
the question's words. Documents are divided into parts, so that what was tuned on `dev` has not seen `test`; paragraphs
are the chunks, those of both sets' documents of the part in one index. R@5 is over questions; "of full" is R@5 divided
by that of the full question, with a 95 % bootstrap interval over documents; "kept" is the share of questions that were
left as they are, byte for byte, and "exact" the share that came out as the full question does.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from fovea.pipelines.bench.shared_encoder import FileMemory
from fovea.pipelines.conversation.rewriting import standing_alone
from fovea.pipelines.conversation.rule import rewritten
from fovea.pipelines.conversation.settings import Conversation
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.rag import registry
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.generation import Generator
from fovea.rag.remember import Kept, RememberingEncoder
from fovea.rag.sentences import sentences
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.tokens import words
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Query, Turn
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.collection import Collection, Judged
from fovea.retrievers.collections.read import read
from fovea.retrievers.dense import DenseRetriever

SETS = {"timeqa": "temporal/timeqa/human_annotated_train.json", "xquad": "qa/xquad_en"}
ALONE = ("same", "switch")
FETCHED, KEPT, DRAWS = 50, 5, 2000
PREPOSITIONS = {
    "in",
    "on",
    "at",
    "from",
    "between",
    "before",
    "after",
    "during",
    "since",
    "until",
    "by",
    "to",
    "of",
    "for",
}
MONTHS = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
AUXILIARIES = "is|are|was|were|do|does|did|has|have|had|can|could|will|would|may|might"
PRONOUNS = {
    "he": ("he", "his", "him"),
    "she": ("she", "her", "her"),
    "it": ("it", "its", "it"),
    "they": ("they", "their", "them"),
}
"""As a subject, a genitive and anything else."""


@dataclass(frozen=True)
class FollowUp:
    """What is asked, what was said before, and the question in full."""

    kind: str
    document: str
    text: str
    said: tuple[Turn, ...]
    full: Judged


def follow_ups(part: Collection) -> Iterator[FollowUp]:
    """All that the part gives, in its order."""
    chunks = {chunk.id: chunk for chunk in part.chunks}
    texts, titles = {d.id: d.text for d in part.documents}, {d.id: d.title for d in part.documents}
    by_document: dict[str, list[Judged]] = {}
    for question in part.questions:
        by_document.setdefault(chunks[next(iter(question.relevant))].document_id, []).append(question)
    order = list(by_document)
    for n, (document, asked) in enumerate(by_document.items()):
        other = order[(n + 1) % len(order)]
        for before, full in pairwise(asked):
            said = _exchange(before, chunks)
            if more := _tail(before.query.text, full.query.text):
                yield FollowUp("time", document, f"And {more}?", said, full)
            shared = _shared(before.query.text, full.query.text)
            if shared and shared not in (text := _by_pronoun(full.query.text, shared, texts[document])):
                yield FollowUp("pronoun", document, text, said, full)
            yield FollowUp("same", document, full.query.text, said, full)
        for first, second, third in zip(asked, asked[1:], asked[2:]):
            tails = _tail(first.query.text, second.query.text), _tail(second.query.text, third.query.text)
            if all(tails):
                told = (*_exchange(first, chunks), Turn("user", f"And {tails[0]}?"), *_exchange(second, chunks)[1:])
                yield FollowUp("third", document, f"And {tails[1]}?", told, third)
        for full in asked:
            name = titles[document]
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", full.query.text) and (another := titles[other]):
                changed = full.query.text.replace(name, another)
                yield FollowUp("name", document, f"What about {name}?", (Turn("user", changed),), full)
        last = _exchange(asked[-1], chunks)
        yield FollowUp("switch", other, by_document[other][0].query.text, last, by_document[other][0])


def _exchange(question: Judged, chunks: dict[str, Chunk]) -> tuple[Turn, Turn]:
    text = chunks[next(iter(question.relevant))].text
    asked = set(words(question.query.text))
    said = [text[s.start : s.end] for s in sentences(text)]
    best = max(said, key=lambda s: len(asked & set(words(s))))
    return Turn("user", question.query.text), Turn("assistant", best)


def _tail(before: str, full: str) -> str:
    """The last words in which two questions differ, at most six, with the preposition before them; empty where they
    differ in more."""
    old, new = before.rstrip(" ?.").split(), full.rstrip(" ?.").split()
    same = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    if same < 4 or same in (len(new), len(old)):
        return ""
    while same and new[same - 1].lower() in PREPOSITIONS | MONTHS:
        same -= 1
    return " ".join(new[same:]) if len(new) - same <= 6 and len(old) - same <= 6 else ""


def _shared(before: str, full: str) -> str:
    """The longest run of capitalised words, not the first of the question, that both have."""
    runs = re.findall(r"(?<=\s)[A-Z][\w.-]*(?:\s[A-Z][\w.-]*)*", full)
    held = [run.rstrip(".") for run in runs if re.search(rf"(?<!\w){re.escape(run.rstrip('.'))}(?!\w)", before)]
    return max(held, key=len, default="")


def _by_pronoun(full: str, shared: str, text: str) -> str:
    """`full` with a pronoun for each `shared` that stands where one can: behind an auxiliary, as a genitive, or between
    a preposition and the end or another one."""
    told, name = words(text), rf"(?:the )?(?<!\w){re.escape(shared)}"
    subject, owner, other = PRONOUNS[max(PRONOUNS, key=lambda p: sum(map(told.count, PRONOUNS[p])))]
    made = re.sub(
        rf"(?<!\w[.'’])\b((?:{AUXILIARIES}|{'|'.join(PREPOSITIONS)}) ){name}(?:'s|’s|s'|') ", rf"\1{owner} ", full
    )
    made = re.sub(rf"\b((?:{AUXILIARIES}) ){name}(?= [a-z])", rf"\1{subject}", made)
    behind = rf"(?=[?,.]| (?:{'|'.join(PREPOSITIONS)})\b)"
    return re.sub(rf"\b((?:{'|'.join(PREPOSITIONS)}) ){name}{behind}", rf"\1{other}", made)


def hybrid(query: Query, corpus: MemoryCorpus) -> list[str]:
    """The default of a pipeline: dense and BM25, fused."""
    lists = {
        "dense": DenseRetriever().search(query, FETCHED, corpus),
        "bm25": BM25Retriever().search(query, FETCHED, corpus),
    }
    return [hit.chunk.id for hit in PipelineSpec().fuser.fuse(lists, FETCHED, query, corpus)[:KEPT]]


def bm25(query: Query, corpus: MemoryCorpus) -> list[str]:
    return [hit.chunk.id for hit in BM25Retriever().search(query, FETCHED, corpus)[:KEPT]]


Found = dict[tuple[str, str], list[str]]
SEARCHES: dict[str, Callable[[Query, MemoryCorpus], list[str]]] = {"bm25": bm25, "hybrid": hybrid}
WAYS: dict[str, Callable[[FollowUp], str]] = {
    "full question": lambda f: f.full.query.text,
    "rule": lambda f: rewritten(f.text, f.said),
    "last question + follow-up": lambda f: " ".join([*[t.content for t in f.said if t.role == "user"][-1:], f.text]),
    "follow-up alone": lambda f: f.text,
}


def recall(found: Sequence[str], full: Judged) -> float:
    return len(set(found) & full.relevant.keys()) / min(len(full.relevant), KEPT)


def ratio(values: np.ndarray, full: np.ndarray, documents: Sequence[str]) -> tuple[float, float, float]:
    """The ratio of the means, and its bootstrap interval over documents."""
    of = [[i for i, d in enumerate(documents) if d == one] for one in dict.fromkeys(documents)]
    sums = np.array([(values[rows].sum(), full[rows].sum()) for rows in of])
    drawn = sums[np.random.default_rng(0).integers(0, len(of), (DRAWS, len(of)))].sum(axis=1)
    low, high = np.nanquantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1e-9), [0.025, 0.975])
    return float(values.sum() / max(full.sum(), 1e-9)), float(low), float(high)


def measure(asked: Sequence[FollowUp], corpus: MemoryCorpus, data: str, found: Found) -> Iterator[Row]:
    """The rows of each kind; `found` keeps what was searched already."""
    corpus.prepare(list(dict.fromkeys(way(f) for f in asked for way in WAYS.values())))
    for search, find in SEARCHES.items():
        for kind in dict.fromkeys(f.kind for f in asked):
            some = [f for f in asked if f.kind == kind]
            full = np.zeros(0)
            for name, way in WAYS.items():
                texts = [way(f) for f in some]
                for text in texts:
                    if (search, text) not in found:
                        found[search, text] = find(Query(text), corpus)
                values = np.array([recall(found[search, text], f.full) for text, f in zip(texts, some)])
                full = values if name == "full question" else full
                exact = [float(text == f.full.query.text) for text, f in zip(texts, some)]
                told = "kept" if kind in (*ALONE, "all that stand alone") else "exact"
                where, of = f"{data}, {kind}, {search}", [f.document for f in some]
                yield Row("followups", where, name, "R@5", *interval(values), n=len(some))
                yield Row("followups", where, name, "of full", *ratio(values, full, of), n=len(some))
                yield Row("followups", where, name, told, *interval(exact, shares=True), n=len(some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with temporal/timeqa and qa/xquad_en")
    parser.add_argument("--split", choices=("train", "dev", "test"), default="test")
    parser.add_argument("--cache", type=Path, help="folder to keep vectors in")
    parser.add_argument("--show", choices=("changed", "missed"), help="print such questions, and measure nothing")
    parser.add_argument("--model", help="a local model that rewrites too, as `rewrite: model` does")
    parser.add_argument("--most", type=int, help="questions of each set and kind, spread over all")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.model:
        WAYS[f"model {args.model}"] = by(args.model)
    encoder = SentenceTransformerEncoder(offline=True)
    reader = RememberingEncoder.of(encoder, FileMemory(args.cache, encoder) if args.cache else Kept())
    parts = {name: read(args.data / path).part(args.split) for name, path in SETS.items()}
    if args.show:
        tell([f for part in parts.values() for f in follow_ups(part)], args.show)
        return
    documents = [document for part in parts.values() for document in part.documents]
    chunks = [chunk for part in parts.values() for chunk in part.chunks]
    corpus = MemoryCorpus(documents, chunks, reader, vectors=reader.encode([c.text for c in chunks]))
    asked = {name: some(list(follow_ups(part)), args.most) for name, part in parts.items()}
    asked["both"] = [replace(f, kind="all that go on") for some in asked.values() for f in some if f.kind not in ALONE]
    asked["both"] += [
        replace(f, kind="all that stand alone") for some in asked.values() for f in some if f.kind in ALONE
    ]
    found: Found = {}
    rows = [row for name, some in asked.items() for row in measure(some, corpus, f"{name} {args.split}", found)]
    print(show(rows, as_json=args.json))


def by(model: str) -> Callable[[FollowUp], str]:
    """As a pipeline whose generator is this model rewrites; the rule's words where the model's are refused."""
    generator: Generator = registry.find("generator", "transformers")(model=model)  # type: ignore[assignment]
    settings, made = Conversation(rewrite="model"), dict[tuple[str, tuple[Turn, ...]], str]()

    def way(f: FollowUp) -> str:
        if (asked := (f.text, f.said)) not in made:
            query = Query(f.text, history=f.said)
            made[asked] = standing_alone(query, settings, generator, Trace()).text
        return made[asked]

    return way


def some(asked: list[FollowUp], most: int | None) -> list[FollowUp]:
    """At most `most` of each kind, at even distances."""
    if most is None:
        return asked
    kinds = {kind: [f for f in asked if f.kind == kind] for kind in dict.fromkeys(f.kind for f in asked)}
    return [f for each in kinds.values() for f in each[:: max(1, -(-len(each) // most))]]


def tell(asked: Sequence[FollowUp], which: str) -> None:
    """What stands alone and was changed, or what was not and is not the full question."""
    for f in asked:
        made, alone = rewritten(f.text, f.said), f.kind in ALONE
        if alone == (which == "changed") and made != f.full.query.text:
            print(f"{f.kind}\n  said  {f.said[0].content}\n  {f.text}\n  made  {made}\n  full  {f.full.query.text}")


if __name__ == "__main__":
    main()
