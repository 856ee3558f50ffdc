"""Does a local model's attention point at the sentence that answers? By all heads, one layer, and probed heads.

    python benchmarks/looked_at.py --data ../shared/data/qa/xquad_en [--model smollm2] [--n 60] [--half second] [--json]

`--data` holds a file in SQuAD's format. A prompt is this project's own: the paragraph that answers among three others
of its article, in an order drawn by the seed, then the question; behind it stands the right answer, teacher-forced, so
that nothing is generated. Every sentence of these paragraphs is scored by the attention to its tokens, and its rank
among them counts: R@1, R@3.

rows: all tokens of the question; the prompt's last token, with which the answer begins; the tokens of the answer.
heads: the mean of all, of the last layer, or of those that `fovea heads MODEL` found on synthetic needles.
beyond neutral: less what the rows of a question of nothing ("N/A") give the same tokens.
BM25 and the default encoder's cosine rank the same sentences by the question, or by question and answer: the answer's
words stand in the sentence, which helps whoever is told it. The probed heads with cosine added, each as a share of its
largest, are a row too. The heads were chosen on needles, all else on the first half of the articles; reported is the
second.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.reader import Asked, load
from fovea.attention_retrieval.heads.table import HeadTable
from fovea.attention_retrieval.probes.weights import compared_weights
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.probing import HEADS, NEAR, known
from fovea.pipelines.evaluation.measurements import Row, interval, show
from fovea.rag.causal_lm import CausalLM
from fovea.rag.causal_lm import load as load_lm
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.sentences import sentences
from fovea.rag.types import Chunk, Hit, Query

ROWS = ("question", "answer", "last token")


@dataclass(frozen=True)
class Case:
    """What the methods see of a question: `asked`, and `beyond` neutral, (layers, heads, rows, sentences)."""

    asked: np.ndarray
    beyond: np.ndarray
    bm25: dict[str, np.ndarray]
    cosine: dict[str, np.ndarray]
    gold: int


def cases(
    lm: CausalLM, encoder: Encoder, texts: dict[str, str], asked: Sequence[Asked], passages: int
) -> Iterator[Case]:
    for n, one in enumerate(asked):
        article = one.document.split("/")[0]
        others = [name for name in texts if name.split("/")[0] == article and name != one.document]
        rng = random.Random(n)
        names = [one.document, *rng.sample(others, min(passages - 1, len(others)))]
        rng.shuffle(names)
        hits = [Hit(Chunk(document_id=d, start=0, end=len(texts[d]), text=texts[d], source=d), 1.0) for d in names]
        yield case(lm, encoder, one, hits)


def case(lm: CausalLM, encoder: Encoder, one: Asked, hits: Sequence[Hit]) -> Case:
    layout = Layout.of(lm, Query(one.text), hits)
    spans, said, gold = [], [], -1
    for hit, start in zip(hits, layout.passages):
        for span in sentences(hit.chunk.text):
            if hit.chunk.document_id == one.document and span.start <= one.span.start < span.end:
                gold = len(spans)
            tokens = layout.tokens(start + span.start, start + span.end)
            spans.append((tokens.start, tokens.stop))
            said.append(hit.chunk.text[span.start : span.end])
    answer = list(lm.tokenizer(f"{one.answer}.", add_special_tokens=False)["input_ids"])
    prompt = len(layout.ids)
    rows = [layout.tokens(*layout.question), range(prompt, prompt + len(answer)), [prompt - 1]]
    both = compared_weights(lm, [*layout.ids, *answer], rows, layout.neutral(lm, 2))
    sums = [np.stack([w[:, :, a:b].sum(-1) for a, b in spans], -1) for w in (both[0], np.maximum(both[0] - both[1], 0))]
    heads = lm.model.config.get_text_config().num_attention_heads
    shaped = [each.reshape(-1, heads, *each.shape[1:]) for each in sums]
    by = {"question": one.text, "answer": f"{one.text} {one.answer}"}
    vectors, asked = encoder.encode(said), encoder.encode(list(by.values()), role="query")
    cosine = dict(zip(by, asked @ vectors.T))
    return Case(*shaped, {name: bm25(text, said) for name, text in by.items()}, cosine, gold)


def bm25(question: str, said: Sequence[str], k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """Of each sentence, among these sentences."""
    from fovea.rag.tokens import words

    bags = [words(text) for text in said]
    mean = np.mean([len(bag) for bag in bags])
    scores = np.zeros(len(said))
    for word in set(words(question)):
        counts = np.array([bag.count(word) for bag in bags], float)
        idf = np.log(1 + (len(said) - (counts > 0).sum() + 0.5) / ((counts > 0).sum() + 0.5))
        length = np.array([len(bag) for bag in bags]) / mean
        scores += idf * counts * (k1 + 1) / (counts + k1 * (1 - b + b * length))
    return scores


def methods(table: HeadTable) -> dict[str, Callable[[Case], np.ndarray]]:
    def probed(rows: str, neutral: bool = True) -> Callable[[Case], np.ndarray]:
        heads, n = table.strongest(rows, HEADS, near=NEAR), ROWS.index(rows)
        return lambda case: sum((case.beyond if neutral else case.asked)[(*head, n)] for head in heads)

    def combined(rows: str) -> Callable[[Case], np.ndarray]:
        mine = probed(rows)
        return lambda case: largest(mine(case)) + largest(case.cosine[rows])

    found: dict[str, Callable[[Case], np.ndarray]] = {}
    for n, rows in enumerate(ROWS):
        found[f"{rows}: all heads"] = lambda case, n=n: case.asked[:, :, n].mean((0, 1))  # type: ignore[misc]
        found[f"{rows}: last layer"] = lambda case, n=n: case.asked[-1, :, n].mean(0)  # type: ignore[misc]
        found[f"{rows}: all heads, beyond neutral"] = lambda case, n=n: case.beyond[:, :, n].mean((0, 1))  # type: ignore[misc]
        if rows in table.scores:
            found[f"{rows}: {HEADS} probed heads"] = probed(rows, neutral=False)
            found[f"{rows}: {HEADS} probed heads, beyond neutral"] = probed(rows)
    for rows in table.scores:
        found[f"{rows}: BM25"] = lambda case, rows=rows: case.bm25[rows]  # type: ignore[misc]
        found[f"{rows}: MiniLM"] = lambda case, rows=rows: case.cosine[rows]  # type: ignore[misc]
        found[f"{rows}: {HEADS} probed heads, beyond neutral + MiniLM"] = combined(rows)
    return found


def largest(scores: np.ndarray) -> np.ndarray:
    return scores / max(scores.max(), 1e-12)


def rank(scores: np.ndarray, gold: int) -> int:
    """From 0; of equals the worst, so that a method that says nothing finds nothing."""
    return int((np.delete(scores, gold) >= scores[gold]).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    texts, everything = load(args.data)
    middle = (max(a.article for a in everything) + 1) / 2
    half = [a for a in everything if (a.article < middle) == (args.half == "first")]
    random.Random(0).shuffle(half)
    lm, began = load_lm(args.model), time.process_time()
    table = known(lm, args.model)
    seconds = time.process_time() - began
    found, began = [], time.process_time()
    try:
        for each_case in cases(lm, SentenceTransformerEncoder(), texts, half[: args.n], args.passages):
            found.append(each_case)
            print(f"\r{len(found)} of {args.n}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:  # what there is so far is printed
        print(file=sys.stderr)
    each = (time.process_time() - began) / len(found)
    data = f"{args.data.name}, {args.half} half, {args.passages} paragraphs, {args.model}"
    settings = {"passages": args.passages, "model": args.model}
    rows = [Row("looked_at", data, "the table of heads", "process s", seconds, settings=settings)]
    for name, score in methods(table).items():
        ranks = np.array([rank(score(case), case.gold) for case in found])
        for k in (1, 3):
            mean, low, high = interval((ranks < k).astype(float), shares=True)
            rows.append(Row("looked_at", data, name, f"R@{k}", mean, low, high, len(ranks), each, settings))
    chance = float(np.mean([1 / len(case.cosine["question"]) for case in found]))
    rows.append(Row("looked_at", data, "chance", "R@1", chance, n=len(found), settings=settings))
    print(show(rows, as_json=args.json))


if __name__ == "__main__":
    main()
