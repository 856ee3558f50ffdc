"""Several questions about one long text: how long until the first token, reading it anew and having read it once.

    python benchmarks/ask_many.py [--text FILE] [--tokens 6000] [--model smollm2] [--dtype bf16 --dtype int8] [--json]

The text, or made-up prose, is cut to so many tokens of the model and stands as one document in a pipeline's prompt.
`full attention` is the model's own (sdpa), which reads the whole prompt for each question. `read once` is the generator
with `read: documents`: its first question reads the text and keeps the cache, the others go on from memory, or, after
a restart (a generator that holds nothing), from the file. `time_ratio` is full attention's time over this one's, in the
seconds of the processors that this process had; of the questions after the first the median. Answers are greedy;
`answers equal` is the share of them that are full attention's, token for token.
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from statistics import median
from typing import Any

from transformers import DynamicCache

from fovea.pipelines.answering.prompt import messages
from fovea.pipelines.bench.longcontext.prose import prose
from fovea.pipelines.evaluation.measurements import Row, show
from fovea.pipelines.generators.transformers import TransformersGenerator
from fovea.rag.causal_lm import CausalLM, load
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.trace import Trace
from fovea.rag.types import Query

QUESTIONS = (
    "What is the text about?",
    "Who is named in the text?",
    "What happens first in the text?",
    "What advice does the text give?",
    "How does the text end?",
)


@dataclass(frozen=True)
class Took:
    """Until the first token: seconds of processors, and of the clock."""

    process: float
    wall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="a text file; left out, made-up prose")
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", action="append", choices=["fp32", "bf16", "int8", "int4"])
    parser.add_argument("--answer", type=int, default=32, help="tokens of an answer, at most")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger("fovea").setLevel(logging.ERROR)  # answers are cut off on purpose
    lm = load(args.model)
    corpus = MemoryCorpus.of({"text": cut(lm, args.text, args.tokens)}, HashEncoder())
    print(show(measure(lm, corpus, args), as_json=args.json))


def cut(lm: CausalLM, path: Path | None, tokens: int) -> str:
    """As much of the text as has so many tokens, to the end of a sentence or a line."""
    if path is None:
        lengths = accumulate(len(sentence) for sentence in prose(0))
        count = sum(1 for _ in takewhile(lambda length: length < 8 * tokens, lengths))
        text = " ".join(sentence for _, sentence in zip(range(count), prose(0)))
    else:
        text = path.read_text("utf-8")
    ends = lm.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)["offset_mapping"]
    if len(ends) <= tokens:
        return text
    end = ends[tokens][0]
    return text[: max(text.rfind(mark, 0, end) + 1 for mark in ".\n") or end]


def measure(lm: CausalLM, corpus: MemoryCorpus, args: argparse.Namespace) -> Iterator[Row]:
    hits = corpus.nearest(corpus.embed("text"), 1)
    prompts = [lm.tokens(messages(Query(question), hits, corpus=corpus)) for question in QUESTIONS]
    data = f"{args.text.name if args.text else 'prose'}, {len(prompts[0]):,} tokens, {args.model}"
    cache = DynamicCache(config=lm.model.config)
    fresh, _ = timed(lambda: list(lm.stream(prompts[0], 1, cache=cache)))
    expected = full_attention(lm, cache, prompts, args.answer)

    def rows(method: str, took: Took, n: int, settings: dict[str, Any]) -> Iterator[Row]:
        for metric, value in (
            ("process s to first token", took.process),
            ("s to first token", took.wall),
            ("time_ratio", fresh.process / took.process),
            ("time_ratio, wall", fresh.wall / took.wall),
        ):
            yield Row("ask_many", data, method, metric, value, n=n, settings=settings)

    yield from rows("full attention", fresh, 1, {})
    for dtype in args.dtype or ["bf16", "int8"]:
        settings = {"model": args.model, "read": "documents", "memory": {"dtype": dtype}}
        with tempfile.TemporaryDirectory() as folder:

            def generator(limit: int, dtype: str = dtype, folder: str = folder) -> TransformersGenerator:
                memory = {"path": folder, "dtype": dtype}
                return TransformersGenerator(model=args.model, read="documents", memory=memory, max_new_tokens=limit)

            reading, restarted = generator(1), generator(1)
            assert reading.lm is restarted.lm  # a model is loaded once, outside the clock
            began = [first_token(reading, question, corpus, hits) for question in QUESTIONS]
            again = first_token(restarted, QUESTIONS[1], corpus, hits)
            answering = generator(args.answer)
            answers = [answered(answering, question, corpus, hits) for question in QUESTIONS]
            (file,) = Path(folder).glob("*.cache")
            size, tokens = file.stat().st_size, len(answering.once.prefix(hits, corpus))  # type: ignore[union-attr]
        later = Took(median(each.process for each in began[1:]), median(each.wall for each in began[1:]))
        yield from rows(f"read once, {dtype}: first question", began[0], 1, settings)
        yield from rows(f"read once, {dtype}: further question", later, len(began) - 1, settings)
        yield from rows(f"read once, {dtype}: after a restart", again, 1, settings)
        equal = sum(a == b for a, b in zip(answers, expected)) / len(expected)
        for metric, value in (("answers equal", equal), ("bytes a token", size / tokens), ("file MB", size / 1e6)):
            n = len(expected) if metric == "answers equal" else 1
            yield Row("ask_many", data, f"read once, {dtype}", metric, value, n=n, settings=settings)


def timed(work: Any) -> tuple[Took, Any]:
    process, wall = time.process_time(), time.perf_counter()
    found = work()
    return Took(time.process_time() - process, time.perf_counter() - wall), found


def first_token(generator: TransformersGenerator, question: str, corpus: MemoryCorpus, hits: Sequence[Any]) -> Took:
    return timed(lambda: list(generator.stream(Query(question), hits, corpus)))[0]


def answered(generator: TransformersGenerator, question: str, corpus: MemoryCorpus, hits: Sequence[Any]) -> str:
    with Trace().stage("generate"):
        return "".join(generator.stream(Query(question), hits, corpus)).strip()


def full_attention(lm: CausalLM, cache: Any, prompts: Sequence[Sequence[int]], limit: int) -> list[str]:
    """Greedy answers by the model's own attention, over transformers' own cache of what the prompts begin with."""
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts)))
    cache.crop(shared - cache.get_seq_length())
    return ["".join(lm.stream(prompt, limit, cache=copy.deepcopy(cache))).strip() for prompt in prompts]


if __name__ == "__main__":
    main()
